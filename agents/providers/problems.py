"""What went wrong with a model, as a sentence for the person in the chat.

Errors are told apart by the names of their classes, so that this module imports neither boto3 nor Strands.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


class ModelProblem(Exception):
    """A model cannot answer.

    Attributes:
        code: one of the codes below, or of a provider's own, such as `unknown_provider` or `missing_key`.
        message: what happened and what to do about it, for the chat user; holds no secret and no internals.
        retryable: the same request may well work a little later.
    """

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception pickles only what went to __init__ by position, which would lose retryable.
        return _restore, (self.code, self.message, self.retryable)


def _restore(code: str, message: str, retryable: bool) -> ModelProblem:
    return ModelProblem(code, message, retryable=retryable)


@dataclass(frozen=True)
class _Kind:
    message: str
    names: frozenset[str]  # of exception classes and of AWS error codes, in lower case
    retryable: bool = False


def _kind(message: str, names: str, *, retryable: bool = False) -> _Kind:
    return _Kind(message, frozenset(names.lower().split()), retryable)


KINDS = {
    "missing_credentials": _kind(
        "The model could not be reached, because this server has no valid AWS credentials. "
        "Ask an administrator to set or renew them.",
        "NoCredentialsError PartialCredentialsError CredentialRetrievalError NoAuthTokenError"
        " TokenRetrievalError SSOError SSOTokenLoadError UnauthorizedSSOTokenError LoginError"
        " ProfileNotFound ConfigNotFound ExpiredToken ExpiredTokenException RequestExpired"
        " UnrecognizedClientException InvalidClientTokenId InvalidSignatureException SignatureDoesNotMatch"
        " IncompleteSignature MissingAuthenticationToken MissingAuthenticationTokenException",
    ),
    "no_region": _kind(
        "The model could not be reached, because no AWS region is set. "
        "Ask an administrator to set AWS_DEFAULT_REGION.",
        "NoRegionError InvalidRegionError UnknownRegionError",
    ),
    "access_denied": _kind(
        "This server may not use the model. Ask an administrator to enable it in Amazon Bedrock.",
        "AccessDeniedException AccessDenied UnauthorizedException",
    ),
    "unknown_model": _kind(
        "The model does not exist, or not in this AWS region. "
        "Ask an administrator to check the agent's model.",
        "ResourceNotFoundException",
    ),
    "bad_key": _kind(
        "The model's server did not accept this server's key. Ask an administrator to set a valid one.",
        "AuthenticationError",
    ),
    "not_permitted": _kind(
        "This server's key may not use the model. Ask an administrator to look at what the key may do.",
        "PermissionDeniedError",
    ),
    "no_credit": _kind(
        "The account with the model's provider is used up. Ask an administrator to look at its limits and its credit.",
        "insufficient_quota billing_hard_limit_reached PaymentRequiredError billing_error",
    ),
    "no_such_model": _kind(
        "The model's server knows no such model, or its address is wrong. "
        "Ask an administrator to check the agent's model.",
        "NotFoundError",
    ),
    "throttled": _kind(
        "The model is busy with too many requests. Please try again in a minute.",
        "ModelThrottledException ThrottlingException TooManyRequestsException ServiceQuotaExceededException"
        " ModelNotReadyException RateLimitError OverloadedError overloaded_error rate_limit_error",
        retryable=True,
    ),
    "stream_broken": _kind(
        "The model's answer broke off. Please try again.",
        "ModelStreamErrorException ServiceUnavailableException ModelTimeoutException ModelErrorException"
        " InternalServerException InternalFailure EventStreamError ResponseStreamingError ProtocolError"
        " IncompleteRead ParserError RemoteProtocolError ReadError APIStatusError APIError JSONDecodeError"
        " ResponseError",
        retryable=True,
    ),
    "unreachable": _kind(
        "The model cannot be reached at the moment. Please try again in a minute.",
        "EndpointConnectionError ConnectTimeoutError ReadTimeoutError ConnectionClosedError"
        " ProxyConnectionError SSLError HTTPClientError ConnectionError APIConnectionError TransportError"
        " InternalServerError",
        retryable=True,
    ),
    "max_tokens": _kind(
        "The answer grew longer than the model may write, so it was cut off. Please ask for less at a time.",
        "MaxTokensReachedException",
    ),
    "context_overflow": _kind(
        "This conversation has become too long for the model. Please start a new one.",
        "ContextWindowOverflowException",
    ),
    "bad_parameters": _kind(
        "The model refused the request. Ask an administrator to check the agent's model parameters.",
        "ValidationException ParamValidationError BadRequestError UnprocessableEntityError",
    ),
}
# Bedrock calls many things a ValidationException; these parts of its message tell which model ids it means.
NO_CREDIT = "credit balance is too low"
UNKNOWN_MODEL = ("model identifier is invalid", "throughput isn", "provided model", "model id")


def explain(error: BaseException) -> ModelProblem:
    """The problem behind an error: the first in its chain of causes that has a known name."""
    for each in _chain(error):
        if isinstance(each, ModelProblem):
            return each
        if each.__cause__ and _code_of(each.__cause__) == "no_credit":
            return problem("no_credit")  # Strands calls it throttled, and waiting does not help
        if (code := _code_of(each)) is not None:
            return problem(code)
    kind = type(next(_chain(error))).__name__
    return ModelProblem("model_error", f"The model failed in an unexpected way ({kind}). Please try again.")


def problem(code: str) -> ModelProblem:
    """The problem of a code, with its usual message."""
    return ModelProblem(code, KINDS[code].message, retryable=KINDS[code].retryable)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps, the original of a Strands EventLoopException in place of that."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        original = getattr(current, "original_exception", None)
        if isinstance(original, BaseException):
            current = original
            continue
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _code_of(error: BaseException) -> str | None:
    names = _names(error)
    if NO_CREDIT in str(error).lower():
        return "no_credit"  # comes as any other bad request
    if "validationexception" in names and any(part in str(error).lower() for part in UNKNOWN_MODEL):
        return "unknown_model"
    for name in names:
        for code, kind in KINDS.items():
            if name in kind.names:
                return code
    return None


def _names(error: BaseException) -> list[str]:
    """What the server called it, if it did, then the class and its bases; the most telling first, in lower case."""
    classes = [each.__name__ for each in type(error).__mro__]
    return [name.lower() for name in (*_told(error), *_by_status(error), *classes)]


def _told(error: BaseException) -> Iterator[str]:
    """Codes and types out of the answer: of AWS, of OpenAI and of Anthropic."""
    aws = getattr(error, "response", None)
    inner = aws.get("Error") if isinstance(aws, dict) else None
    body = getattr(error, "body", None)
    for place in (inner, body, body.get("error") if isinstance(body, dict) else None):
        if isinstance(place, dict):
            yield from (str(place[name]) for name in ("Code", "code", "type") if place.get(name))


# Ollama's client has one class for every refusal.
_STATUS = {400: "BadRequestError", 401: "AuthenticationError", 403: "PermissionDeniedError", 404: "NotFoundError",
           429: "RateLimitError", 500: "InternalServerError", 503: "OverloadedError"}  # fmt: skip


def _by_status(error: BaseException) -> list[str]:
    status = getattr(error, "status_code", None)
    return [_STATUS[status]] if type(error).__name__ == "ResponseError" and status in _STATUS else []
