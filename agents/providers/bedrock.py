"""Amazon Bedrock, through boto3 and the Converse API."""

import os
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from django.conf import settings
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from strands.models.bedrock import BedrockModel
from strands.types.streaming import StreamEvent

from agents.providers.problems import ModelProblem, explain, problem
from agents.tools._arguments import sentences

DEFAULT_MODEL_ID = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
ENDPOINTS = ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL")  # boto3 reads both by itself
LOCAL_REGION = "us-east-1"  # for another server than AWS, which does not care
CONNECT_TIMEOUT = 5  # seconds
READ_TIMEOUT = 60  # seconds without a byte


class Parameters(BaseModel):
    """What an administrator may set for a Bedrock model; what is left out is up to the model."""

    model_config = ConfigDict(extra="forbid", strict=True)

    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]+$")] | None = None
    read_timeout: Annotated[int, Field(ge=1, le=300)] = READ_TIMEOUT
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    stop_sequences: list[str] | None = None
    streaming: bool | None = None
    context_window_limit: Annotated[int, Field(ge=1)] | None = None
    guardrail_id: str | None = None
    guardrail_version: str | None = None
    service_tier: str | None = None
    additional_request_fields: dict[str, Any] | None = None


class WholeAnswers(BedrockModel):
    """A Bedrock model that refuses an answer which just stops; Strands takes such a one for complete."""

    async def stream(self, *args: Any, **kwargs: Any) -> AsyncGenerator[StreamEvent, None]:
        """The events of the answer, as of `BedrockModel.stream`.

        Raises:
            ModelProblem: the connection ended before the answer did.
        """
        complete = False
        async for event in super().stream(*args, **kwargs):
            complete = complete or "messageStop" in event
            yield event
        cancelled = kwargs.get("cancel_signal")
        if not complete and not (cancelled and cancelled.is_set()):
            raise problem("stream_broken")


def build(model_id: str, parameters: dict[str, Any]) -> BedrockModel:
    """A Bedrock model.

    Raises:
        ModelProblem: a parameter is wrong, or the region or the credentials are missing.
    """
    chosen = _read(parameters)
    session = _session(chosen.region)
    given = chosen.model_dump(exclude={"region", "read_timeout"}, exclude_none=True)
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
        model_id=model_id or settings.NOD_MODEL_ID or DEFAULT_MODEL_ID,
        **given,
    )


def _read(parameters: dict[str, Any]) -> Parameters:
    try:
        return Parameters.model_validate(parameters)
    except ValidationError as error:
        text = sentences(error).replace("argument", "parameter")
        raise ModelProblem("bad_parameters", f"The model's parameters are wrong. {text}") from None


def _session(region: str | None) -> boto3.Session:
    try:
        region = region or boto3.Session().region_name or os.environ.get("AWS_REGION") or _local_region()
        if region is None:
            raise problem("no_region")
        session = boto3.Session(region_name=region)
        # Checked here, since a client remembers that it has none, and the model is kept.
        if not os.environ.get("AWS_BEARER_TOKEN_BEDROCK") and session.get_credentials() is None:
            raise problem("missing_credentials")
    except BotoCoreError as error:
        raise explain(error) from error
    return session


def _local_region() -> str | None:
    return LOCAL_REGION if any(os.environ.get(name) for name in ENDPOINTS) else None
