"""Text for terminals, logs and other places that are no HTML: what could deceive or steer them stands as its code."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from approvals.deception import tricks

TAB = "    "


@dataclass(frozen=True)
class Piece:
    """A part of a text. `odd`: it stands for one character that does not look like what it is."""

    text: str
    odd: bool = False


def visible(text: str) -> str:
    """The text with each deceptive character as ‹U+202E›. No control character is left but the end of a line."""
    return "".join(piece.text for piece in pieces(text))


def pieces(text: str) -> Iterator[Piece]:
    """The same, in parts."""
    text = text.replace("\r\n", "\n").replace("\t", TAB)
    last = 0
    for trick in tricks(text):
        yield Piece(_printed(text[last : trick.at]))
        yield Piece(f"‹{trick.code} {trick.char}›" if trick.alike else f"‹{trick.code}›", odd=True)
        last = trick.at + 1
    yield Piece(_printed(text[last:]))


def _printed(text: str) -> str:
    """A net below the one of `tricks`: whatever steers a terminal is a control character."""
    return "".join(
        char if char == "\n" or unicodedata.category(char) != "Cc" else f"‹U+{ord(char):04X}›"
        for char in text
    )


def one_line(text: str) -> str:
    return " ".join(visible(text).split())
