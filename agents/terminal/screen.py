"""Where the chat's words go. All of them pass through here, so that nothing that others wrote steers the terminal."""

from __future__ import annotations

import os
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from django.db import connections

from agents.terminal.wrapping import columns, wrapped
from approvals.visible import pieces, visible

MOST_COLUMNS = 100  # longer lines are hard to read
LEAST_COLUMNS = 20
STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36", "odd": "7"}


class Leave(Exception):
    """Whoever is asked has gone: Ctrl-C, Ctrl-D, or the end of the input."""


class Screen:
    """`read`: asks a person for a line; None where nobody sits at it. `wide`: lines are wrapped."""

    def __init__(
        self, out: TextIO, read: Callable[[str], str] | None, *, colour: bool = False, wide: bool = False
    ) -> None:
        self._out, self._read = out, read
        self._colour, self._wide = colour, wide

    @property
    def interactive(self) -> bool:
        return self._read is not None

    @property
    def columns(self) -> int:
        """As it is now: windows are resized. 0: nothing is wrapped."""
        if not self._wide:
            return 0
        try:
            found = os.get_terminal_size(self._out.fileno()).columns or 80
        except (OSError, ValueError):
            found = 80
        return max(LEAST_COLUMNS, min(found - 1, MOST_COLUMNS))

    # --- Out -------------------------------------------------------------------------------------------
    def line(self, text: str = "", style: str = "", *, first: str = "", rest: str | None = None) -> None:
        """One paragraph or several, wrapped. `first` and `rest` stand before the first line and the others."""
        rest = first if rest is None else rest
        shown = wrapped(visible(text), self.columns, first, rest)
        self._write("".join(f"{self._styled(line, style)}\n" for line in shown))

    def raw(self, text: str, style: str = "") -> None:
        """A piece of a line. The caller has wrapped it."""
        odd = "".join(
            self._styled(piece.text, "odd" if piece.odd else style) for piece in pieces(text) if piece.text
        )
        self._write(odd)

    def made_visible(self, text: str) -> None:
        """What `visible` gave: marked once is enough."""
        self._write(text)

    def _styled(self, text: str, style: str) -> str:
        return f"\033[{STYLES[style]}m{text}\033[0m" if self._colour and style and text else text

    def _write(self, text: str) -> None:
        """Where nobody reads any more, the agent goes on all the same."""
        with suppress(OSError):
            self._out.write(text)
            self._out.flush()

    # --- In --------------------------------------------------------------------------------------------
    def ask(self, prompt: str, *, fresh: bool = False) -> str:
        """One line. `fresh`: what was typed before the question stood there is no answer to it. Raises Leave."""
        if self._read is None:
            raise Leave
        give_back()
        if fresh:
            forget_typed()
        try:
            return self._read(visible(prompt))
        except (EOFError, KeyboardInterrupt):
            self._write("\n")
            raise Leave from None


def give_back() -> None:
    """Whoever waits for a person holds no connection."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


def forget_typed() -> None:
    """Drop what is in the terminal's input."""
    with suppress(termios.error, OSError):
        termios.tcflush(0, termios.TCIFLUSH)


class Flow:
    """A text that comes in pieces, wrapped as it comes. A word is shown once it is whole: what deceives shows in it."""

    LONGEST = 40  # characters that wait for the end of their word

    def __init__(self, screen: Screen, indent: str = "  ") -> None:
        self._screen, self._indent = screen, indent
        self._at = 0  # columns of this line that are taken
        self._word = ""
        self._blank = ""

    def add(self, text: str) -> None:
        for char in text:
            if char in " \t\n":
                self._flush()
                self._end_line() if char == "\n" else self._space()
            elif char == "\r":
                self._word += char  # with the line end after it, it is none of a word
            else:
                self._word += char
                if len(self._word) >= self.LONGEST:
                    self._flush()

    def end(self) -> None:
        self._flush()
        if self._at:
            self._screen.raw("\n")
        self._at, self._blank = 0, ""

    def _space(self) -> None:
        self._blank += " "

    def _end_line(self) -> None:
        self._screen.raw("\n")
        self._at, self._blank = 0, ""

    def _flush(self) -> None:
        word, self._word = self._word.removesuffix("\r"), ""
        if not word:
            return
        needs, width = columns(visible(word)), self._screen.columns
        if width and self._at > len(self._indent) and self._at + len(self._blank) + needs > width:
            self._end_line()
        if not self._at:
            self._put(self._indent)
        self._put(self._blank)
        self._blank = ""
        if width and self._at + needs > width:  # longer than a line
            lines = wrapped(visible(word), width, " " * self._at, self._indent)
            self._screen.made_visible("\n".join(lines)[self._at :])
            self._at = columns(lines[-1])
        else:
            self._screen.raw(word)
            self._at += needs

    def _put(self, blank: str) -> None:
        self._screen.raw(blank)
        self._at += len(blank)
