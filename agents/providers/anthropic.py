"""Anthropic's own API. The key comes from ANTHROPIC_API_KEY or ANTHROPIC_API_KEY_FILE."""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator
from typing import Any

from agents.providers import keys
from agents.providers.parameters import ANTHROPIC_MAX_TOKENS, Anthropic, read
from agents.providers.problems import problem
from agents.providers.remote import CONNECT_TIMEOUT, missing_library, model_of, tls
from agents.providers.whole import sendable, whole

try:
    import anthropic
    from strands.models.anthropic import AnthropicModel
except ImportError:
    raise missing_library("anthropic") from None
from strands.models.model import CacheConfig
from strands.types.streaming import StreamEvent

KEY = "ANTHROPIC_API_KEY"
MALFORMED = "Unable to parse tool parameter JSON"


class WholeAnswers(AnthropicModel):
    """Makes its client anew for each question, since a connection belongs to the event loop that opened it."""

    def __init__(self, read_timeout: int, **config: Any) -> None:
        self._read_timeout = read_timeout
        super().__init__(client_args=self._client_args(), **config)

    def _client_args(self) -> dict[str, Any]:
        timeout = anthropic.Timeout(self._read_timeout, connect=CONNECT_TIMEOUT)
        # one try: the user can ask for another, and here the worker would only hang
        return {
            "api_key": keys.needed(KEY),
            "auth_token": None,
            "max_retries": 0,
            "timeout": timeout,
            "http_client": anthropic.DefaultAsyncHttpxClient(verify=tls(), timeout=timeout),
        }

    async def stream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[StreamEvent, None]:
        """The events of the answer, as of `AnthropicModel.stream`.

        Raises:
            ModelProblem: the connection ended before the answer did.
        """
        async with anthropic.AsyncAnthropic(**self._client_args()) as client:
            once = copy.copy(self)
            once.client = client
            events = super(WholeAnswers, once).stream(sendable(messages), *args, **kwargs)
            try:
                async for event in whole(events, kwargs.get("cancel_signal")):
                    yield event
            except ValueError as error:
                if MALFORMED in str(error):  # the client reads the arguments of calls, and gives up
                    raise problem("stream_broken") from error
                raise


def build(model_id: str, parameters: dict[str, Any]) -> AnthropicModel:
    """A model of Anthropic.

    Raises:
        ModelProblem: a parameter is wrong, or the key or the model's id is missing.
    """
    chosen = read("anthropic", parameters)
    assert isinstance(chosen, Anthropic)
    params = chosen.model_dump(include={"stop_sequences", "thinking"}, exclude_none=True)
    # the client does not know these by name in every version
    if sampling := chosen.model_dump(include={"temperature", "top_p", "top_k"}, exclude_none=True):
        params["extra_body"] = sampling
    config: dict[str, Any] = {"params": params, "context_window_limit": chosen.context_window_limit}
    if chosen.cache:
        config["cache_config"] = CacheConfig(strategy="anthropic", ttl=chosen.cache, tools_ttl=True)
    return WholeAnswers(
        chosen.read_timeout,
        model_id=model_of("anthropic", model_id),
        max_tokens=chosen.max_tokens or ANTHROPIC_MAX_TOKENS,
        **{name: value for name, value in config.items() if value is not None},
    )
