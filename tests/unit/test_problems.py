"""Errors of models, told apart and put into words."""

import pickle

import pytest
from botocore import exceptions as boto
from botocore.eventstream import ChecksumMismatch
from strands.types.exceptions import (
    ContextWindowOverflowException,
    EventLoopException,
    MaxTokensReachedException,
    ModelThrottledException,
)
from urllib3.exceptions import ProtocolError

from agents import providers
from agents.providers.problems import KINDS, ModelProblem, explain


def client_error(code, message="no"):
    return boto.ClientError({"Error": {"Code": code, "Message": message}}, "ConverseStream")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (boto.NoCredentialsError(), "missing_credentials"),
        (boto.PartialCredentialsError(provider="env", cred_var="x"), "missing_credentials"),
        (boto.TokenRetrievalError(provider="sso", error_msg="x"), "missing_credentials"),
        (boto.UnauthorizedSSOTokenError(), "missing_credentials"),
        (client_error("ExpiredTokenException"), "missing_credentials"),
        (boto.NoRegionError(), "no_region"),
        (client_error("AccessDeniedException"), "access_denied"),
        (client_error("ValidationException", "The provided model identifier is invalid."), "unknown_model"),
        (client_error("ResourceNotFoundException"), "unknown_model"),
        (client_error("ValidationException"), "bad_parameters"),
        (boto.ParamValidationError(report="x"), "bad_parameters"),
        (client_error("ThrottlingException"), "throttled"),
        (ModelThrottledException("slow down"), "throttled"),
        (client_error("serviceUnavailableException"), "stream_broken"),
        (boto.EventStreamError({"Error": {"Code": "modelStreamErrorException"}}, "x"), "stream_broken"),
        (boto.EventStreamError({"Error": {"Code": "throttlingException"}}, "x"), "throttled"),
        (ChecksumMismatch(1, 2), "stream_broken"),
        (ProtocolError("cut"), "stream_broken"),
        (boto.EndpointConnectionError(endpoint_url="http://x"), "unreachable"),
        (boto.ConnectTimeoutError(endpoint_url="http://x"), "unreachable"),
        (boto.ReadTimeoutError(endpoint_url="http://x"), "unreachable"),
        (ConnectionRefusedError(), "unreachable"),
        (MaxTokensReachedException("x"), "max_tokens"),
        (ContextWindowOverflowException("x"), "context_overflow"),
        (RuntimeError("secret"), "model_error"),
        (client_error("NeverHeardOf"), "model_error"),
    ],
)
def test_explain_names_the_problem(error, code):
    assert explain(error).code == code
    assert explain(EventLoopException(error)).code == code


def test_explain_looks_through_causes():
    try:
        try:
            raise boto.NoCredentialsError
        except boto.NoCredentialsError as error:
            raise RuntimeError("outer") from error
    except RuntimeError as error:
        assert explain(error).code == "missing_credentials"


def test_explain_believes_from_none():
    try:
        try:
            raise boto.NoCredentialsError
        except boto.NoCredentialsError:
            raise RuntimeError("outer") from None
    except RuntimeError as error:
        assert explain(error).code == "model_error"


def test_explain_ends_when_causes_go_round():
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert explain(first).code == "model_error"


def test_explain_passes_a_problem_on():
    problem = ModelProblem("throttled", "Wait.", retryable=True)
    assert explain(EventLoopException(problem)) is problem


def test_no_message_gives_internals_away():
    message = explain(RuntimeError("AKIAIOSFODNN7EXAMPLE")).message
    assert "AKIA" not in message
    assert "RuntimeError" in message


@pytest.mark.parametrize("code", KINDS)
def test_every_message_says_what_to_do(code):
    message = KINDS[code].message
    assert message.endswith(".")
    assert "Ask an administrator" in message or "Please" in message


def test_a_problem_survives_pickling():
    copy = pickle.loads(pickle.dumps(ModelProblem("throttled", "Wait.", retryable=True)))
    assert (copy.code, copy.message, copy.retryable, str(copy)) == ("throttled", "Wait.", True, "Wait.")


def test_an_unknown_provider_is_a_problem():
    with pytest.raises(ModelProblem, match="there is anthropic, bedrock, demo, ollama, openai") as caught:
        providers.build("gpt")
    assert caught.value.code == "unknown_provider"
    assert providers.available() == ["anthropic", "bedrock", "demo", "ollama", "openai"]


def test_a_model_is_built_once():
    providers.forget()
    first = providers.build("demo", "", {"delay_ms": 0})
    assert providers.build("demo", "", {"delay_ms": 0}) is first
    assert providers.build("demo", "", {"delay_ms": 1}) is not first
    providers.forget()
    assert providers.build("demo", "", {"delay_ms": 0}) is not first
