"""The agent's side of the conversation as it comes: its words, the tools that it calls, what these gave."""

from __future__ import annotations

from typing import Any

from agents.actions import questions
from agents.runtimes import port
from agents.terminal.screen import Flow, Screen
from approvals.presentation import summary
from approvals.visible import one_line

RESULT = 200  # characters of a tool's result; the chat in the browser has all of it


class Transcript:
    """Of one run. It may be heard live, piece by piece, or be read from the rows that a worker leaves."""

    def __init__(self, screen: Screen, tools: dict[str, str]) -> None:
        """`tools`: their names, by the ids of their uses; an earlier run's may be answered in this one."""
        self._screen, self._tools = screen, tools
        self._flow = Flow(screen)
        self._written = ""  # of the message that is being written
        self._said = ""  # the last message; its draft stays in its run for a while
        self._hushed = False

    def hear(self, event: port.Event) -> None:
        """An event of the driver's, in the thread of its loop."""
        match event:
            case port.Text(text):
                self._add(text)
            case port.Said(message):
                self.said(message)

    def draft(self, text: str) -> None:
        """The message that is being written elsewhere, as far as it has come."""
        if text.startswith(self._written) and not self._said.startswith(text):
            self._add(text[len(self._written) :])

    def said(self, message: dict[str, Any]) -> None:
        """A whole message; what of it was shown is not shown again."""
        if message["role"] == "assistant":
            self._said = "".join(block["text"] for block in message["content"] if "text" in block)
            self._rest(self._said)
        self.end()
        for block in message["content"]:
            if "toolUse" in block and not self._hushed:
                self._use(block["toolUse"])
            elif "toolResult" in block and not self._hushed:
                self._result(block["toolResult"])

    def end(self) -> None:
        """What comes next is not of this message."""
        if not self._hushed:
            self._flow.end()
        self._written = ""

    def note(self, text: str) -> None:
        """A line of Nod's own in between, where no word is being written."""
        if not self._written and not self._hushed:
            self._screen.line(text, "dim")

    def hush(self) -> None:
        """It was stopped: whatever still comes is not shown."""
        self.end()
        self._hushed = True

    def _add(self, text: str) -> None:
        self._written += text
        if not self._hushed:
            self._flow.add(text)

    def _rest(self, whole: str) -> None:
        if not whole.startswith(self._written):
            self.end()
        self._add(whole[len(self._written) :])

    def _use(self, use: dict[str, Any]) -> None:
        name, given = one_line(str(use.get("name", ""))), use.get("input")
        self._tools[str(use.get("toolUseId"))] = name
        if name != questions.TOOL:
            told = one_line(summary(given))
            self._screen.line(f"{name}: {told}" if told else name, "dim", first="  • ", rest="    ")
        elif isinstance(given, dict) and given.get("breakout_of_loop"):
            self._screen.line(str(given.get("message", "")), first="  ")

    def _result(self, result: dict[str, Any]) -> None:
        name = self._tools.get(str(result.get("toolUseId")), "")
        if not name or name == questions.TOOL:
            return
        sign, style = ("✓", "green") if result.get("status") == "success" else ("✗", "yellow")
        texts = [block["text"] for block in result.get("content", []) if isinstance(block.get("text"), str)]
        told = one_line("\n".join(texts)[: 4 * RESULT])
        told = told if len(told) <= RESULT else f"{told[: RESULT - 1]}…"
        self._screen.line(f"{name}: {told}", style, first=f"  {sign} ", rest="    ")
