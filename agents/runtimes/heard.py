"""The conversation of a run whose loop runs elsewhere: what it says is checked before it counts.

Who runs the loop may be wrong, or hostile. It may say what its model said; what became of a call, Nod knows better.
"""

from __future__ import annotations

from typing import Any

from agents.runtimes import port


class Misheard(Exception):
    """A message that cannot come next."""


class Heard:
    """Messages in turn: what the model says, the results of exactly the calls that it asked for, and so on."""

    def __init__(self, messages: list[port.Message]) -> None:
        self.messages = list(messages)
        self._known: dict[str, dict[str, Any]] = {}

    def know(self, use_id: str, succeeded: bool, content: port.Blocks) -> None:
        """What the ledger says became of a call of the last message."""
        status = "success" if succeeded else "error"
        self._known[use_id] = {"toolUseId": use_id, "status": status, "content": content}

    def hear(self, message: port.Message) -> port.Message:
        """The message as it belongs to the conversation. Raises Misheard."""
        if message["role"] == self._last_role():
            raise Misheard("two of one side")
        if message["role"] == "user":
            message = {"role": "user", "content": self._results(message)}
        self.messages.append(message)
        return message

    def _results(self, message: port.Message) -> port.Blocks:
        results = [block["toolResult"] for block in message["content"]]
        asked = {use["toolUseId"] for use in self._uses()}
        if {result["toolUseId"] for result in results} != asked:
            raise Misheard("results of other calls")
        known, self._known = self._known, {}
        # The loop itself refuses what cannot run, and may say so; that anything was done it may not.
        if any(each["status"] == "success" for each in results if each["toolUseId"] not in known):
            raise Misheard("a result that nobody has recorded")
        return [{"toolResult": known.get(result["toolUseId"], result)} for result in results]

    def answered(self) -> bool:
        """The model has had the last word, and asks for nothing more."""
        return self._last_role() == "assistant" and not self._uses()

    def open_calls(self) -> list[port.ToolUse]:
        """The calls that the last message asks for. Those that share an id are refused there, and never run."""
        uses = self._uses()
        ids = [use["toolUseId"] for use in uses]
        return [
            port.ToolUse(use["toolUseId"], use["name"], use["input"])
            for use in uses
            if isinstance(use["input"], dict) and ids.count(use["toolUseId"]) == 1
        ]

    def _uses(self) -> list[dict[str, Any]]:
        if self._last_role() != "assistant":
            return []
        return [block["toolUse"] for block in self.messages[-1]["content"] if "toolUse" in block]

    def _last_role(self) -> str:
        return str(self.messages[-1]["role"]) if self.messages else ""
