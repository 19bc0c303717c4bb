"""Ollama, on OLLAMA_HOST or the parameter `host`. It takes no key; OLLAMA_API_KEY goes to OLLAMA_HOST alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from agents.providers import keys
from agents.providers.parameters import Ollama, read
from agents.providers.problems import problem
from agents.providers.remote import CONNECT_TIMEOUT, missing_library, model_of, tls
from agents.providers.whole import sendable, whole

try:
    import ollama
    from strands.models.ollama import OllamaModel
except ImportError:
    raise missing_library("ollama") from None
import httpx
from strands.types.streaming import StreamEvent

KEY = "OLLAMA_API_KEY"


class WholeAnswers(OllamaModel):
    """Strands makes a client for each question; what it does not look at is looked at here."""

    def _format_request_message_contents(self, role: str, content: Any) -> list[dict[str, Any]]:
        if "reasoningContent" in content:
            return []  # of another model that this chat began with
        return super()._format_request_message_contents(role, content)

    def format_chunk(self, event: dict[str, Any]) -> StreamEvent:
        if event["chunk_type"] == "metadata":
            return _metadata(event["data"])
        if event["chunk_type"] == "content_delta" and event["data"] is None:
            event = {**event, "data": ""}  # a call without a word beside it
        return super().format_chunk(event)

    async def stream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[StreamEvent, None]:
        """The events of the answer, as of `OllamaModel.stream`, with the text before the calls that follow it.

        Raises:
            ModelProblem: the connection ended before the answer did.
        """
        writing = False
        async for event in whole(
            super().stream(sendable(messages), *args, **kwargs), kwargs.get("cancel_signal")
        ):
            if writing and "toolUse" in event.get("contentBlockStart", {}).get("start", {}):
                yield {"contentBlockStop": {}}
                writing = False
            writing = writing or "text" in event.get("contentBlockDelta", {}).get("delta", {})
            yield event


def _metadata(last: ollama.ChatResponse) -> StreamEvent:
    """Of the answer's last part. Raises ModelProblem where it is not the end."""
    if not last.done:
        raise problem("stream_broken")
    read_, written = (
        last.prompt_eval_count or 0,
        last.eval_count or 0,
    )  # a prompt that it had in mind is not counted
    usage = {"inputTokens": read_, "outputTokens": written, "totalTokens": read_ + written}
    return {"metadata": {"usage": usage, "metrics": {"latencyMs": (last.total_duration or 0) // 1_000_000}}}  # type: ignore[typeddict-item]


def build(model_id: str, parameters: dict[str, Any]) -> OllamaModel:
    """A model that Ollama serves.

    Raises:
        ModelProblem: a parameter is wrong, or the model's id is missing.
    """
    chosen = read("ollama", parameters)
    assert isinstance(chosen, Ollama)
    names = {
        "max_tokens",
        "temperature",
        "top_p",
        "stop_sequences",
        "keep_alive",
        "options",
        "context_window_limit",
    }
    key = keys.read(KEY)
    # The client would take the key from the environment by itself, for whatever host.
    headers = {"authorization": f"Bearer {'none' if chosen.host else key}"} if key else {}
    return WholeAnswers(
        chosen.host,
        ollama_client_args={
            "timeout": httpx.Timeout(chosen.read_timeout, connect=CONNECT_TIMEOUT),
            "headers": headers,
            "verify": tls(),
            "limits": httpx.Limits(max_keepalive_connections=0),  # nobody closes the client
        },
        model_id=model_of("ollama", model_id),
        **chosen.model_dump(include=names, exclude_none=True),
    )
