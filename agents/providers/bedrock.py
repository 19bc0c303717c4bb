"""Amazon Bedrock, through boto3 and the Converse API."""

import os
from collections.abc import AsyncGenerator
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ProfileNotFound
from django.conf import settings
from strands.models.bedrock import BedrockModel
from strands.models.model import CacheConfig
from strands.types.streaming import StreamEvent

from agents.providers import places
from agents.providers.parameters import Bedrock, read
from agents.providers.problems import ModelProblem, explain, problem

DEFAULT_MODEL_ID = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
ENDPOINTS = ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL")  # boto3 reads both by itself
LOCAL_REGION = "us-east-1"  # for another server than AWS, which does not care
CONNECT_TIMEOUT = 5  # seconds
GUARDRAIL_WORDS = 300  # characters of what a guardrail says itself


class WholeAnswers(BedrockModel):
    """A Bedrock model that refuses an answer which just stops, or which a guardrail has taken.

    Strands takes the first for complete, and the second for an answer.
    """

    async def stream(self, *args: Any, **kwargs: Any) -> AsyncGenerator[StreamEvent, None]:
        """The events of the answer, as of `BedrockModel.stream`.

        Raises:
            ModelProblem: the connection ended before the answer did, or a guardrail stopped it.
        """
        complete = taken = False
        said = ""
        async for event in super().stream(*args, **kwargs):
            complete = complete or "messageStop" in event
            taken = (
                taken or "redactContent" in event
            )  # Strands' sign of a block; what was only masked is an answer
            if len(said) < GUARDRAIL_WORDS:
                said += event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")
            yield event
        cancelled = kwargs.get("cancel_signal")
        if taken:
            raise guarded(said)
        if not complete and not (cancelled and cancelled.is_set()):
            raise problem("stream_broken")


def guarded(said: str) -> ModelProblem:
    """A guardrail blocked what the user wrote or what the model answered. `said`: its own words for that."""
    words = " ".join(said.split())[:GUARDRAIL_WORDS]
    quoted = f" It says: “{words}”" if words else ""
    return ModelProblem(
        "guardrail",
        f"A guardrail stopped this: something in your message, or in the answer to it, is not allowed here.{quoted} "
        "Please write your message differently (Edit), or start a new chat.",
    )


def build(model_id: str, parameters: dict[str, Any]) -> BedrockModel:
    """A Bedrock model.

    Raises:
        ModelProblem: a parameter is wrong, the region or the credentials are missing, or the two do not fit.
    """
    chosen = read("bedrock", parameters)
    assert isinstance(chosen, Bedrock)
    model_id = model_id or _default_id()
    session = _session(chosen.region, chosen.profile)
    # another server than AWS does not care where it is said to be
    places.check(model_id, chosen.region or (None if _local_region() else session.region_name))
    return WholeAnswers(
        boto_session=session,
        boto_client_config=Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=chosen.read_timeout,
            # The runtime tries again what can be tried again; here the worker would only hang.
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=50,
            tcp_keepalive=True,
        ),
        model_id=model_id,
        **_given(chosen),
    )


def _default_id() -> str:
    elsewhere = settings.NOD_MODEL_PROVIDER not in (
        "bedrock",
        "demo",
    )  # then NOD_MODEL_ID is a model of that one
    return (not elsewhere and settings.NOD_MODEL_ID) or DEFAULT_MODEL_ID


def _given(chosen: Bedrock) -> dict[str, Any]:
    """The parameters, as Strands calls them."""
    own = {"region", "profile", "read_timeout", "thinking", "cache"}
    given = chosen.model_dump(exclude=own, exclude_none=True)
    if chosen.thinking:
        thinking = chosen.thinking.model_dump(exclude_none=True)
        given["additional_request_fields"] = {
            **(chosen.additional_request_fields or {}),
            "thinking": thinking,
        }
    if chosen.cache:
        # five minutes is what Bedrock takes by itself, and not every model knows another time
        lifetime = None if chosen.cache == "5m" else chosen.cache
        given["cache_config"] = CacheConfig(strategy="anthropic", ttl=lifetime, tools_ttl=True)
    return given


def _session(region: str | None, profile: str | None) -> boto3.Session:
    try:
        found = boto3.Session(profile_name=profile).region_name or os.environ.get("AWS_REGION")
        region = region or found or _local_region()
        if region is None:
            raise problem("no_region")
        session = boto3.Session(region_name=region, profile_name=profile)
        # Checked here, since a client remembers that it has none, and the model is kept.
        if not os.environ.get("AWS_BEARER_TOKEN_BEDROCK") and session.get_credentials() is None:
            raise problem("missing_credentials")
    except ProfileNotFound as error:
        raise _no_profile(profile or os.environ.get("AWS_PROFILE", "")) from error
    except BotoCoreError as error:
        raise explain(error) from error
    return session


def _no_profile(name: str) -> ModelProblem:
    return ModelProblem(
        "missing_credentials",
        f"The workers have no AWS profile “{name}”. Ask an administrator to add it to their AWS configuration, "
        "or to name another one.",
    )


def _local_region() -> str | None:
    return LOCAL_REGION if any(os.environ.get(name) for name in ENDPOINTS) else None
