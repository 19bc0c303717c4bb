"""What a command prints while it works."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

WIDTH = 10


class Progress:
    """One line a step. What changes while one waits is rewritten in place on a terminal, else a line a change."""

    def __init__(self, write: Callable[[str], object], *, live: bool = False) -> None:
        self._write = write
        self._live = live
        self._open = False  # the cursor stands at the end of a line that will be rewritten
        self._last = ""
        self._since = 0.0

    def step(self, what: str, text: str) -> None:
        """A step that is done; it takes the place of what told that it was under way."""
        if self._open:
            self._write("\r\x1b[K")
        self._open, self._last = False, ""
        self._write(f"{what:<{WIDTH}}{text}\n")

    def line(self, text: str = "") -> None:
        self.close()
        self._write(f"{text}\n")

    def text(self, text: str) -> None:
        """A piece of something longer."""
        self.close()
        self._write(text)

    def waiting(self, what: str, text: str) -> None:
        """How something stands that takes its time."""
        changed = (what, text) != (self._last[:WIDTH].rstrip(), self._last[WIDTH:])
        if changed and not self._last.startswith(f"{what:<{WIDTH}}"):
            self._since = time.monotonic()
        self._last = f"{what:<{WIDTH}}{text}"
        if self._live:
            line = f"{self._last} ({time.monotonic() - self._since:.0f} s)"
            # A line that wraps could not be rewritten.
            self._write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}")
            self._open = True
        elif changed:
            self._write(f"{self._last}\n")

    def close(self) -> None:
        """End a line that was being rewritten."""
        if self._open:
            self._write("\n")
        self._open, self._last = False, ""
