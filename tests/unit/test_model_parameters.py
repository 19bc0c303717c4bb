"""What may be set for a model, and where its id says that it is."""

import pytest

from agents.providers import parameters, places
from agents.providers.problems import ModelProblem

CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
ARN = f"arn:aws:bedrock:eu-central-1:111122223333:inference-profile/eu.{CLAUDE}"


@pytest.mark.parametrize(
    ("model_id", "region"),
    [
        (f"us.{CLAUDE}", "eu-central-1"),
        (f"eu.{CLAUDE}", "us-east-1"),
        (f"apac.{CLAUDE}", "eu-west-1"),
        (f"us.{CLAUDE}", "us-gov-west-1"),
        (f"us-gov.{CLAUDE}", "us-east-1"),
        (ARN, "us-east-1"),
    ],
)
def test_a_model_of_another_region_is_a_problem(model_id, region):
    with pytest.raises(ModelProblem, match=region) as caught:
        places.check(model_id, region)
    assert caught.value.code == "wrong_region"


@pytest.mark.parametrize(
    ("model_id", "region"),
    [
        (f"us.{CLAUDE}", "us-west-2"),
        (f"us.{CLAUDE}", "ca-central-1"),
        (f"us-gov.{CLAUDE}", "us-gov-west-1"),
        (f"global.{CLAUDE}", "eu-west-1"),
        (f"jp.{CLAUDE}", "ap-northeast-1"),
        (f"us.{CLAUDE}", None),
        (CLAUDE, "eu-west-1"),
        ("eu-profile-0123456789", "us-east-1"),
        (ARN, "eu-central-1"),
        (ARN, None),
    ],
)
def test_a_model_of_its_own_region_is_none(model_id, region):
    places.check(model_id, region)


@pytest.mark.parametrize("arn", ["arn:aws:s3:::bucket", "arn:", "arn:aws:bedrock"])
def test_an_arn_of_something_else_is_a_problem(arn):
    with pytest.raises(ModelProblem, match="not one of Amazon Bedrock"):
        places.check(arn, None)


# --- What does not go together -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"thinking": {"budget_tokens": 2000}, "temperature": 0.2},
            "temperature and thinking do not go together",
        ),
        ({"thinking": {"budget_tokens": 2000}, "top_p": 0.5}, "top_p has to be 0.95 or more"),
        ({"thinking": {"budget_tokens": 2000}, "max_tokens": 2000}, "more max_tokens or a smaller budget"),
        ({"thinking": {"budget_tokens": 100}}, "thinking.budget_tokens"),
        ({"thinking": {}}, "thinking needs budget_tokens"),
        ({"thinking": {"type": "adaptive", "budget_tokens": 2000}}, "takes no budget_tokens"),
        (
            {"thinking": {"budget_tokens": 2000}, "additional_request_fields": {"top_k": 5}},
            "top_k and thinking",
        ),
        ({"additional_request_fields": {"thinking": {}}}, "a parameter of its own"),
        ({"guardrail_id": "g"}, "needs both guardrail_id and guardrail_version"),
        ({"guardrail_version": "1"}, "needs both guardrail_id and guardrail_version"),
        ({"guardrail_trace": "enabled"}, "there is no guardrail"),
        ({"cache": "2h"}, "cache"),
        ({"profile": "a b"}, "profile"),
        ({"aws_secret_access_key": "x"}, "Keys stand in the environment"),
    ],
)
def test_it_refuses_what_does_not_go_together(given, words):
    with pytest.raises(ModelProblem, match=words) as caught:
        parameters.read("bedrock", given)
    assert caught.value.code == "bad_parameters"


@pytest.mark.parametrize("provider", ["bedrock", "anthropic"])
def test_it_takes_thinking_of_both_kinds(provider):
    for thinking in ({"budget_tokens": 1024}, {"type": "adaptive"}):
        parameters.check(
            provider, "", {"thinking": thinking, "max_tokens": 2000, "top_p": 0.95, "temperature": 1}
        )


@pytest.mark.parametrize(
    ("provider", "given"),
    [
        ("openai", {"max_tokens": 5, "max_completion_tokens": 5}),
        ("openai", {"base_url": "ftp://example.com"}),
        ("openai", {"additional_request_fields": {"web_search_options": {}}}),
        ("bedrock", {"additional_request_fields": {"tools": [{"type": "bash"}]}}),
        ("openai", {"base_url": "https://example.com/v1?key=1"}),
        ("openai", {"base_url": "https://[::1/v1"}),
        ("ollama", {"host": "localhost"}),
        ("anthropic", {"top_k": 3, "thinking": {"type": "adaptive"}}),
        ("anthropic", {"thinking": {"budget_tokens": 8192}}),
    ],
)
def test_it_refuses_this_too(provider, given):
    with pytest.raises(ModelProblem, match="parameters are wrong"):
        parameters.check(provider, "", given)
