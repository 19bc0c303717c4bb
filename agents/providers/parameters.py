"""What an administrator may set for a model, checked where it is saved and again where the model is built.

No provider's library is imported here: the web processes check parameters too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from agents.providers import places
from agents.providers.problems import ModelProblem
from agents.tools._arguments import sentences

READ_TIMEOUT = 60  # seconds without a byte
ANTHROPIC_MAX_TOKENS = 8192  # Anthropic's own API takes no request without a limit
LEAST_TOP_P = 0.95  # that goes with thinking

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Lifetime = Literal["5m", "1h"]


def _address(text: str) -> str:
    try:
        parts = urlsplit(text)
        whole = parts.hostname and parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:
        whole = False
    if not whole or "@" in text or parts.query or parts.fragment:
        raise ValueError(
            "should be an address without a name or a key in it, such as http://127.0.0.1:8080/v1"
        )
    return text.rstrip("/")


# What would take the place of what Nod sends; tools that the provider runs by itself would pass every policy by.
NODS_OWN = frozenset(
    (
        "container",
        "functions",
        "function_call",
        "mcp_servers",
        "messages",
        "model",
        "plugins",
        "stream",
        "stream_options",
    )
    + ("system", "tool_choice", "tool_config", "toolConfig", "tools", "web_search_options")
)


def _further(fields: dict[str, Any]) -> dict[str, Any]:
    if taken := sorted(NODS_OWN & fields.keys()):
        raise ValueError(
            f"should leave out {', '.join(taken)}: what a model is asked, and with which tools, is Nod's to say"
        )
    return fields


Further = Annotated[dict[str, Any], AfterValidator(_further)]
Address = Annotated[str, AfterValidator(_address)]


class Parameters(BaseModel):
    """What all of them take; what is left out is up to the model."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Remote(Parameters):
    """What those at the other end of a wire take."""

    read_timeout: Annotated[int, Field(ge=1, le=300)] = READ_TIMEOUT
    max_tokens: Positive | None = None
    context_window_limit: Positive | None = None


class Thinking(BaseModel):
    """Extended thinking: with a budget, or as much as the model thinks fit."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["enabled", "adaptive"] = "enabled"
    budget_tokens: Annotated[int, Field(ge=1024)] | None = None

    @model_validator(mode="after")
    def _budget(self) -> Self:
        if self.type == "enabled" and self.budget_tokens is None:
            raise ValueError('thinking needs budget_tokens, at least 1024, or {"type": "adaptive"}')
        if self.type == "adaptive" and self.budget_tokens is not None:
            raise ValueError("adaptive thinking takes no budget_tokens; leave them out")
        return self


class Claude(Remote):
    """What Anthropic's models take, wherever they run."""

    temperature: Share | None = None
    top_p: Share | None = None
    stop_sequences: list[str] | None = None
    thinking: Thinking | None = None
    cache: Lifetime | None = None

    def most(self) -> int | None:
        """Tokens that the model may write."""
        return self.max_tokens

    @model_validator(mode="after")
    def _fits_thinking(self) -> Self:
        if self.thinking is None:
            return self
        if self.temperature not in (None, 1):
            raise ValueError("temperature and thinking do not go together; leave temperature out")
        if self.top_p is not None and self.top_p < LEAST_TOP_P:
            raise ValueError(f"with thinking, top_p has to be {LEAST_TOP_P} or more; leave it out")
        budget, most = self.thinking.budget_tokens, self.most()
        if budget is not None and most is not None and budget >= most:
            raise ValueError(
                f"thinking.budget_tokens is {budget}, and the whole answer may have {most} (max_tokens): "
                "give more max_tokens or a smaller budget"
            )
        return self


class Demo(Parameters):
    delay_ms: int = Field(default=10, ge=0, le=10_000)


class Bedrock(Claude):
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]+$")] | None = None
    profile: Annotated[str, Field(pattern=r"^[^\s\[\]]{1,100}$")] | None = None
    streaming: bool | None = None
    guardrail_id: Annotated[str, Field(min_length=1)] | None = None
    guardrail_version: Annotated[str, Field(pattern=r"^([1-9][0-9]{0,7}|DRAFT)$")] | None = None
    guardrail_trace: Literal["enabled", "disabled", "enabled_full"] | None = None
    guardrail_latest_message: bool | None = None
    service_tier: str | None = None
    additional_request_fields: Further | None = None

    @model_validator(mode="after")
    def _whole_guardrail(self) -> Self:
        if (self.guardrail_id is None) != (self.guardrail_version is None):
            raise ValueError("a guardrail needs both guardrail_id and guardrail_version, such as 1 or DRAFT")
        if self.guardrail_id is None and (self.guardrail_trace or self.guardrail_latest_message):
            raise ValueError("there is no guardrail; give guardrail_id and guardrail_version too")
        return self

    @model_validator(mode="after")
    def _thinking_once(self) -> Self:
        fields = self.additional_request_fields or {}
        if "thinking" in fields:
            raise ValueError("thinking is a parameter of its own; take it out of additional_request_fields")
        if self.thinking and "top_k" in fields:
            raise ValueError("top_k and thinking do not go together; leave top_k out")
        return self


class Anthropic(Claude):
    top_k: Positive | None = None

    def most(self) -> int:
        return self.max_tokens or ANTHROPIC_MAX_TOKENS

    @model_validator(mode="after")
    def _no_top_k(self) -> Self:
        if self.thinking and self.top_k:
            raise ValueError("top_k and thinking do not go together; leave top_k out")
        return self


class OpenAI(Remote):
    base_url: Address | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Share | None = None
    max_completion_tokens: Positive | None = None
    stop_sequences: list[str] | None = None
    reasoning_effort: Annotated[str, Field(pattern=r"^[a-z]{1,20}$")] | None = None
    streaming: bool | None = None
    additional_request_fields: Further | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if self.max_tokens and self.max_completion_tokens:
            raise ValueError("give max_tokens or max_completion_tokens, not both")
        return self


class Ollama(Remote):
    host: Address | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Share | None = None
    stop_sequences: list[str] | None = None
    keep_alive: Annotated[str, Field(pattern=r"^-?[0-9]+[smh]?$")] | None = None
    options: dict[str, Any] | None = None


KINDS: dict[str, type[Parameters]] = {
    "demo": Demo,
    "bedrock": Bedrock,
    "anthropic": Anthropic,
    "openai": OpenAI,
    "ollama": Ollama,
}


def read(provider: str, parameters: Mapping[str, Any]) -> Parameters:
    """The parameters of a provider.

    Raises:
        ModelProblem: one is unknown or out of range, or two do not go together.
    """
    try:
        return KINDS[provider].model_validate(dict(parameters))
    except ValidationError as error:
        text = sentences(error).replace("argument", "parameter")
        if any("key" in str(part).lower() for part in parameters if part not in KINDS[provider].model_fields):
            text += " Keys stand in the environment of the workers, never here (docs/models.md)."
        raise ModelProblem("bad_parameters", f"The model's parameters are wrong. {text}") from None


def check(provider: str, model_id: str, parameters: Mapping[str, Any]) -> None:
    """All that can be said of a model without asking anybody.

    Raises:
        ModelProblem: `bad_parameters`, or `wrong_region` for a model id that its region does not have.
    """
    chosen = read(provider, parameters)
    if isinstance(chosen, Bedrock):
        places.check(model_id, chosen.region)
        _check_vendor(model_id, chosen)


def _check_vendor(model_id: str, chosen: Bedrock) -> None:
    if not model_id or model_id.startswith("arn:") or places.is_claude(model_id):
        return
    for name in ("thinking", "cache"):
        if getattr(chosen, name) is not None:
            raise ModelProblem(
                "bad_parameters",
                f"The model's parameters are wrong. {name} is for Anthropic's models; {model_id} is none. "
                "Leave it out.",
            )
