"""OpenAI, and every server that speaks its chat completions: vLLM, llama.cpp, gateways.

The key comes from OPENAI_API_KEY or OPENAI_API_KEY_FILE, and goes to the server that the environment names
(OPENAI_BASE_URL, else OpenAI's own) and to no other: whoever may set an agent's base_url must not get to see it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

from agents.providers import keys
from agents.providers.parameters import OpenAI, read
from agents.providers.problems import problem
from agents.providers.remote import CONNECT_TIMEOUT, missing_library, model_of, tls
from agents.providers.whole import sendable, whole

try:
    import openai
    from strands.models.openai import OpenAIModel
except ImportError:
    raise missing_library("openai") from None
from strands.types.streaming import StreamEvent

KEY = "OPENAI_API_KEY"
OWN_URL = "https://api.openai.com/v1"
NO_KEY = "none"  # the client insists on one
# What a server that only an agent names gets to see. The client adds what the environment has for the other one:
# OPENAI_ORG_ID, OPENAI_PROJECT_ID, and OPENAI_CUSTOM_HEADERS, in which the key of a gateway may stand.
PLAIN = frozenset(
    ("accept", "accept-encoding", "connection", "content-length", "content-type", "host", "user-agent")
)
UNSAID = "end_turn"  # Strands' word where the server gave no reason for the end


class WholeAnswers(OpenAIModel):
    """What servers that resemble OpenAI's do otherwise is put right here."""

    def __init__(self, base_url: str | None, read_timeout: int, **config: Any) -> None:
        super().__init__(**config)
        self._base_url, self._read_timeout = base_url, read_timeout
        self._resolve_client_args()

    def _resolve_client_args(self) -> dict[str, Any]:
        """Strands makes a client of this for each question: connections belong to one event loop."""
        named = (os.environ.get("OPENAI_BASE_URL") or OWN_URL).rstrip("/")
        trusted = self._base_url in (None, named)
        key = keys.needed(KEY) if trusted and named == OWN_URL else trusted and keys.read(KEY)
        timeout = openai.Timeout(self._read_timeout, connect=CONNECT_TIMEOUT)
        hooks = {"request": [] if trusted else [_keep_plain]}
        return {
            "base_url": self._base_url or named,
            "api_key": key or NO_KEY,
            "max_retries": 0,
            "timeout": timeout,
            "http_client": openai.DefaultAsyncHttpxClient(verify=tls(), timeout=timeout, event_hooks=hooks),
        }

    def format_request(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        request = super().format_request(*args, **kwargs)
        if not request["tools"]:
            del request["tools"]  # OpenAI refuses an empty list
        return request

    def format_chunk(self, event: dict[str, Any], **kwargs: Any) -> StreamEvent:
        if event["chunk_type"] == "message_stop" and event["data"] == UNSAID:
            raise problem("stream_broken")
        chunk = super().format_chunk(event, **kwargs)
        if "contentBlockStart" in chunk and (use := chunk["contentBlockStart"]["start"].get("toolUse")):
            # Some servers give no id, or the same one in each turn; in a session an id stands for one call.
            use["toolUseId"] = f"call_{uuid4().hex}"
        if "metadata" in chunk:
            usage = chunk["metadata"]["usage"]  # what came from the cache is counted once
            cached = usage.get("cacheReadInputTokens", 0) + usage.get("cacheWriteInputTokens", 0)
            usage["inputTokens"] -= cached
        return chunk

    async def stream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[StreamEvent, None]:
        """The events of the answer, as of `OpenAIModel.stream`.

        Raises:
            ModelProblem: the connection ended before the answer did.
        """
        async for event in whole(
            super().stream(sendable(messages), *args, **kwargs), kwargs.get("cancel_signal")
        ):
            yield event


async def _keep_plain(request: Any) -> None:
    for name in request.headers.keys() - PLAIN:
        del request.headers[name]
    request.headers["authorization"] = f"Bearer {NO_KEY}"


def build(model_id: str, parameters: dict[str, Any]) -> OpenAIModel:
    """A model behind OpenAI's API.

    Raises:
        ModelProblem: a parameter is wrong, or the key or the model's id is missing.
    """
    chosen = read("openai", parameters)
    assert isinstance(chosen, OpenAI)
    names = {"max_tokens", "max_completion_tokens", "temperature", "top_p", "reasoning_effort"}
    params = chosen.model_dump(include=names, exclude_none=True)
    if chosen.stop_sequences:
        params["stop"] = chosen.stop_sequences
    if chosen.additional_request_fields:
        params["extra_body"] = chosen.additional_request_fields
    config = {"stream": chosen.streaming, "context_window_limit": chosen.context_window_limit}
    return WholeAnswers(
        chosen.base_url,
        chosen.read_timeout,
        model_id=model_of("openai", model_id),
        params=params,
        **{name: value for name, value in config.items() if value is not None},
    )
