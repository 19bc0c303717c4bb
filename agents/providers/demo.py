"""A scripted model: it needs no account, says that it is no AI, and always answers the same."""

import asyncio
import json
import re
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import Any, TypedDict, TypeVar
from uuid import uuid4

from pydantic import BaseModel
from strands.models import Model
from strands.types.content import Messages
from strands.types.streaming import StreamEvent
from strands.types.tools import ToolSpec

from agents.providers._demo_answer import Answer, answer
from agents.providers._demo_plan import Call, plan
from agents.providers._demo_report import Outcome, report
from agents.providers.parameters import Demo, read

__all__ = ["Answer", "DemoModel", "Outcome", "answer", "build", "plan", "report"]

Output = TypeVar("Output", bound=BaseModel)


class DemoConfig(TypedDict):
    """delay_ms: milliseconds between two words."""

    model_id: str
    delay_ms: int
    context_window_limit: int


def build(model_id: str, parameters: dict[str, Any]) -> "DemoModel":
    """A demo model.

    Raises:
        ModelProblem: a parameter is unknown or out of range.
    """
    chosen = read("demo", parameters)
    assert isinstance(chosen, Demo)
    return DemoModel(model_id or "demo", chosen.delay_ms)


class DemoModel(Model):
    """A Strands model that follows a script. It keeps nothing between calls, so any number may share it."""

    def __init__(self, model_id: str = "demo", delay_ms: int = 10) -> None:
        self._config = DemoConfig(model_id=model_id, delay_ms=delay_ms, context_window_limit=200_000)

    def update_config(self, **model_config: Any) -> None:
        """Refused: all runs share this object."""
        raise NotImplementedError("A demo model does not change; build another one.")

    def get_config(self) -> DemoConfig:
        """The configuration."""
        return self._config

    def structured_output(
        self, output_model: type[Output], prompt: Messages, system_prompt: str | None = None, **kwargs: Any
    ) -> AsyncGenerator[dict[str, Output | Any], None]:
        """Refused: a script cannot fill in just any form."""
        raise NotImplementedError("The demo model gives no structured output.")

    async def stream(
        self,
        messages: Messages,
        tool_specs: list[ToolSpec] | None = None,
        system_prompt: str | None = None,
        *,
        cancel_signal: threading.Event | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[StreamEvent, None]:
        """The events of the next answer, its text word by word. It stops early when the signal is set.

        A script uses no tokens, so it tells of none.
        """
        reply = answer(messages, {spec["name"] for spec in tool_specs or []})
        for event in _events(reply):
            if cancel_signal and cancel_signal.is_set():
                return
            if "contentBlockDelta" in event:
                await asyncio.sleep(self._config["delay_ms"] / 1000)
            yield event


def _events(reply: Answer) -> Iterator[StreamEvent]:
    yield {"messageStart": {"role": "assistant"}}
    yield {"contentBlockStart": {"start": {}}}
    for word in re.findall(r"\s*\S+\s*?", reply.text):
        yield {"contentBlockDelta": {"delta": {"text": word}}}
    yield {"contentBlockStop": {}}
    for call in reply.calls:
        yield from _tool_events(call)
    yield {"messageStop": {"stopReason": "tool_use" if reply.calls else "end_turn"}}


def _tool_events(call: Call) -> Iterator[StreamEvent]:
    name, arguments = call
    text = json.dumps(arguments, ensure_ascii=False)
    yield {"contentBlockStart": {"start": {"toolUse": {"name": name, "toolUseId": f"tooluse_{uuid4().hex}"}}}}
    # In two parts, as real models send it.
    for part in (text[: len(text) // 2], text[len(text) // 2 :]):
        yield {"contentBlockDelta": {"delta": {"toolUse": {"input": part}}}}
    yield {"contentBlockStop": {}}
