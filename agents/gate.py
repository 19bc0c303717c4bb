"""Nod's Strands intervention handler. It only reads: proceed, refuse, or interrupt with a reason.

Strands' own HumanInTheLoop is not used: it looks trust up before a recorded "no", keys an approval by the
tool-use id alone, and lets tools grant themselves trust (docs/decisions/0002-own-gate.md).
"""

from __future__ import annotations

from typing import Any

from strands.hooks.events import BeforeToolCallEvent
from strands.interventions import InterventionHandler, Proceed, Transform

from agents.runtimes import port


class NodGate(InterventionHandler):
    """Asks the job's gate before each tool call of one run."""

    name = "nod:gate"

    def __init__(self, gate: port.Gate) -> None:
        self._gate = gate

    async def before_tool_call(self, event: BeforeToolCallEvent, **kwargs: Any) -> Proceed | Transform:
        answer = await self._answer(event)
        if isinstance(answer, port.Ask):
            event.interrupt(self.name, reason=answer.reason)
        if isinstance(answer, port.Refuse):
            return Transform(apply=_cancel_with(answer.text))
        return Proceed()

    async def _answer(self, event: BeforeToolCallEvent) -> port.Proceed | port.Refuse | port.Ask:
        use = event.tool_use
        if _count(event.agent.messages[-1], use["toolUseId"]) > 1:
            return port.Refuse("Invalid call: two calls of one message share an id. Nothing was done.")
        if not isinstance(use["input"], dict):
            return port.Refuse("Invalid arguments: they have to be one JSON object. Nothing was done.")
        return await self._gate.verdict(port.ToolUse(use["toolUseId"], use["name"], use["input"]))


def _cancel_with(text: str) -> Any:
    def apply(event: Any) -> None:
        event.cancel_tool = text

    return apply


def _count(message: Any, tool_use_id: str) -> int:
    return sum(
        block["toolUse"]["toolUseId"] == tool_use_id for block in message["content"] if "toolUse" in block
    )
