"""Lines that a person types, with what readline knows: editing, history, and a line that is offered once more."""

from __future__ import annotations

import readline


class Lines:
    """Messages are kept for the arrow keys until the end, answers to questions are not; neither is stored."""

    def __init__(self) -> None:
        readline.set_auto_history(False)
        readline.parse_and_bind("tab: self-insert")  # else it completes names of files
        self._kept = ""

    def keep(self, text: str) -> None:
        """The next line begins with this text: it was not sent."""
        self._kept = text

    def read(self, prompt: str) -> str:
        kept, self._kept = self._kept, ""
        readline.set_startup_hook((lambda: readline.insert_text(kept)) if kept else None)
        try:
            line = input(prompt)
        finally:
            readline.set_startup_hook(None)
        if prompt.endswith("> ") and line.strip():
            readline.add_history(line)
        return line
