"""Talks to AWS, and says in one sentence what AWS refuses. boto3 is imported when the first call is made."""

from __future__ import annotations

import re
import time
from typing import Any

from hitl_site.agentcore.calls import Call, check, missing, session
from hitl_site.agentcore.trouble import Trouble

ATTEMPTS = 5
NOT_THERE = {"NoSuchEntity", "NoSuchBucket", "NoSuchKey", "NoSuchTagSet", "ResourceNotFoundException"}
CONTROL, RUNTIME = "bedrock-agentcore-control", "bedrock-agentcore"


class NotThere(Exception):
    """What a call is about does not exist."""


class Refused(Trouble):
    """AWS refused a call, with a code of its own."""

    def __init__(self, text: str, code: str, message: str) -> None:
        super().__init__(text)
        self.code = code
        self.message = message


class Aws:
    """Makes calls in one region."""

    dry = False

    def __init__(self, region: str) -> None:
        self.region = region
        self._session: Any = None
        self._clients: dict[str, Any] = {}

    def call(self, service: str, operation: str, /, **parameters: Any) -> dict[str, Any]:
        """Make a call; NotThere when what it is about does not exist, Trouble when it fails otherwise."""
        from botocore import xform_name
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        check(Call(service, operation, parameters))
        try:
            method = getattr(self._client(service), xform_name(operation))
            answer: dict[str, Any] = method(**parameters)
        except ClientError as error:
            raise _refusal(service, operation, error) from None
        except (BotoCoreError, ResponseParserError, ValueError) as error:
            raise Trouble(sentence(error)) from None
        if lacking := missing(service, operation, answer):
            raise Trouble(_odd_answer(f"{lacking} is missing in what it says of {operation}"))
        return answer

    def find(self, service: str, operation: str, /, **parameters: Any) -> dict[str, Any] | None:
        """What a call answers; None when there is no such thing."""
        try:
            return self.call(service, operation, **parameters)
        except NotThere:
            return None

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def partition(self) -> str:
        """aws, aws-cn or aws-us-gov."""
        found: str = session().get_partition_for_region(self.region)
        return found

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            if self._session is None:
                import boto3

                self._session = boto3.session.Session(region_name=self.region, botocore_session=session())
            self._clients[service] = self._session.client(service, config=_options(service))
        return self._clients[service]


def _options(service: str) -> Any:
    """How patient to be. A question to an agent is sent once: a second one might act a second time."""
    from botocore.config import Config

    once = service == RUNTIME
    return Config(
        connect_timeout=10,
        read_timeout=900 if once else 60,
        retries={"mode": "standard", "total_max_attempts": 1 if once else ATTEMPTS},
    )


def default_region() -> str:
    """The region of the environment or the profile, if there is one."""
    from botocore.exceptions import BotoCoreError

    try:
        return session().get_config_variable("region") or ""
    except BotoCoreError as error:
        raise Trouble(sentence(error)) from None


def _refusal(service: str, operation: str, error: Any) -> Exception:
    details = error.response.get("Error", {})
    code, message = str(details.get("Code", "")), one_line(str(details.get("Message", "")))
    if code in NOT_THERE or (service == "s3" and code == "404"):
        return NotThere(message)
    return Refused(_said(service, operation, code, message), code, message)


_EXPIRED = (
    "Your AWS sign-in has run out. Sign in again (such as with `aws sso login`) and repeat the command."
)
_INVALID = (
    "AWS does not know these credentials. Look at AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "or sign in again."
)
_CODES = {
    _EXPIRED: {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"},
    _INVALID: {
        "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "SignatureDoesNotMatch",
        "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken", "InvalidToken", "AuthFailure",
    },
    "AWS finds the clock of this machine wrong. Set it, and repeat the command.": {
        "RequestTimeTooSkewed", "RequestInTheFuture",
    },
    "AWS has too many requests of this account at the moment. Repeat the command in a minute.": {
        "ThrottlingException", "Throttling", "TooManyRequestsException", "SlowDown", "RequestLimitExceeded",
    },
}  # fmt: skip
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403", "AllAccessDisabled"}


def _said(service: str, operation: str, code: str, message: str) -> str:
    for text, codes in _CODES.items():
        if code in codes:
            return text
    if code in _DENIED:
        why = f" ({message})" if message not in ("", "Forbidden") else ""
        return f"AWS does not let you do {service}:{operation}{why}. Ask for that permission, or use another profile."
    return f"AWS refused {service}:{operation}: {message or 'no reason given'} ({code or 'no code'})."


_NO_CREDENTIALS = (
    "There are no AWS credentials. Run `aws configure` or `aws sso login`, or set AWS_PROFILE, "
    "or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
)
_SENTENCES = {
    _NO_CREDENTIALS: {"NoCredentialsError", "PartialCredentialsError", "NoAuthTokenError"},
    _EXPIRED: {
        "TokenRetrievalError", "SSOError", "SSOTokenLoadError", "UnauthorizedSSOTokenError", "CredentialRetrievalError",
        "LoginRefreshRequired", "LoginTokenLoadError", "LoginError",
    },
    "No AWS region is set. Give one with --region.": {"NoRegionError"},
}  # fmt: skip
_FAR = {
    "EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError", "SSLError",
    "ProxyConnectionError", "HTTPClientError", "ConnectionError", "ResponseParserError", "IncompleteReadError",
    "ResponseStreamingError",
}  # fmt: skip


def sentence(error: Exception) -> str:
    """What is wrong when AWS was not even asked, or gave no answer."""
    names = {each.__name__ for each in type(error).__mro__}
    for text, kinds in _SENTENCES.items():
        if names & kinds:
            return text
    if "ProfileNotFound" in names:
        return f"{one_line(str(error))}. Look at AWS_PROFILE and at the profiles of `aws configure list-profiles`."
    if names & _FAR:
        return _odd_answer(str(error))
    return f"AWS could not be asked: {one_line(str(error))}"


def _odd_answer(why: str) -> str:
    return (
        f"AWS did not answer as it should ({one_line(why)}). "
        "Look at the region, the network and AWS_ENDPOINT_URL, if it is set, and repeat the command."
    )


def one_line(text: str) -> str:
    """A message of somebody else in one line of a sensible length, without its last full stop."""
    return re.sub(r"\s+", " ", text).strip().rstrip(".")[:400]
