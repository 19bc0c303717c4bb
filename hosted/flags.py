"""The notebook's gate: a tool of `PROTECTED` runs when the request's flag for it is true, and never otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.runtimes import port
from agents.tools.registry import InvalidArguments, Tool

FREE = frozenset({"get_weather"})  # whatever is not in here needs its flag
HANDOFF = "handoff_to_user"
REQUIRED = (
    "Execution of '{tool}' requires human approval. Re-invoke with approvals['{tool}']=true to proceed."
)
DENIED = "The request to execute '{tool}' was denied by the user. No action was taken."
TIMED_OUT = "'{tool}' took too long. Nobody knows whether it was done."


class FlagGate:
    """The port's gate over the flags of one invocation, which no other invocation sees."""

    def __init__(self, tools: Mapping[str, Tool], flags: Mapping[str, Any]) -> None:
        self.lost: Exception | None = None
        self.acted = False  # some tool has begun: what the model heard of it must not be forgotten
        self.handed_over: dict[str, str] = {}
        """Where the loop stopped: call's id to what its user is told."""
        self._tools, self._flags = tools, flags
        self._results: dict[str, dict[str, Any]] = {}

    async def verdict(self, use: port.ToolUse) -> port.Proceed | port.Refuse | port.Ask:
        try:
            tool = self._tools[use.name]
            arguments = tool.validate(use.arguments)
        except (KeyError, InvalidArguments) as error:
            return self._refuse(use, f"Invalid arguments: {error}")
        if use.name == HANDOFF:
            return self._hand_over(use, arguments["message"])
        if use.name in FREE or self._flags.get(use.name) is True:
            return port.Proceed()
        return self._hand_over(use, (DENIED if use.name in self._flags else REQUIRED).format(tool=use.name))

    def _refuse(self, use: port.ToolUse, text: str) -> port.Refuse:
        self._results[use.id] = {"toolUseId": use.id, "status": "error", "content": [{"text": text}]}
        return port.Refuse(text)

    def _hand_over(self, use: port.ToolUse, message: str) -> port.Ask:
        self.handed_over[use.id] = message
        self._results[use.id] = {"toolUseId": use.id, "status": "success", "content": [{"text": message}]}
        return port.Ask({"message": message})

    async def start(self, use: port.ToolUse) -> port.Started:
        self.acted = True
        tool = self._tools[use.name]
        return port.Started(arguments=tool.validate(use.arguments), timeout=tool.timeout, handle=use)

    async def record(self, started: port.Started, *, succeeded: bool, content: port.Blocks) -> None:
        use_id, status = started.handle.id, "success" if succeeded else "error"
        self._results[use_id] = {"toolUseId": use_id, "status": status, "content": content}

    async def lose(self, started: port.Started, *, timed_out: bool) -> port.Ask:
        return self._hand_over(started.handle, TIMED_OUT.format(tool=started.handle.name))

    def result(self, use_id: str) -> dict[str, Any]:
        """The tool result for the model."""
        missing = {"toolUseId": use_id, "status": "error", "content": [{"text": "Nothing was done."}]}
        return self._results.get(use_id, missing)
