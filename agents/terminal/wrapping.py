"""Lines as wide as a terminal, in its columns: East Asian characters take two, accents none. Pure."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_PARTS = re.compile(r" +|[^ ]+")


def columns(text: str) -> int:
    """How many columns a text takes that has no line ends."""
    return len(text) if text.isascii() else sum(map(_width, text))


@cache
def _width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def wrapped(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    """The lines of a text, each with what stands before it. Nothing is left out. `width` 0: as they are."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        lines += _paragraph(paragraph, width, rest if lines else first, rest)
    return lines


def _paragraph(text: str, width: int, first: str, rest: str) -> list[str]:
    if not width or columns(first) + columns(text) <= width:
        return [first + text]
    lines, line = [], first
    begun = False  # something stands behind the prefix
    for part in _PARTS.findall(text):
        if begun and columns(line) + columns(part) > width:
            lines.append(line)
            line, begun = rest, False
            if part.isspace():
                continue
        while columns(line) + columns(part) > width:
            fits = _fitting(part, width - columns(line))
            lines.append(line + part[:fits])
            line, part = rest, part[fits:]
        line, begun = line + part, begun or bool(part)
    return [*lines, line]


def _fitting(text: str, width: int) -> int:
    """How many characters fit; one at least, so that it comes to an end."""
    taken = 0
    for count, char in enumerate(text):
        taken += _width(char)
        if taken > width:
            return max(count, 1)
    return len(text)
