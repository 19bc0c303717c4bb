"""What an edit changes, argument by argument: the old text struck, the new one marked, what deceives marked in both."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from django.utils.safestring import SafeString, mark_safe

from approvals.deception import warning
from approvals.digest import canonical
from approvals.presentation import Marked
from approvals.secrecy import hide

# How many lines or words are compared one by one; comparing takes the square of that.
MOST_LINES = 4000
MOST_WORDS = 400

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_WORD = re.compile(r"\s*[^\s\w]|\s*\w+|\s+")

Step = tuple[bool, int, int, int, int]  # the same?, from and to in the old text, from and to in the new


@dataclass(frozen=True)
class Change:
    """One argument that is not what it was."""

    name: str
    html: SafeString
    note: str  # changed; or added or left out
    warning: str = ""


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """The arguments that differ, in the order of the new ones. Hidden values stay hidden."""
    names = [*after, *(name for name in before if name not in after)]
    return [_change(name, before, after) for name in names if _differs(name, before, after)]


def _differs(name: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    if name not in before or name not in after:
        return True
    return canonical(before[name]) != canonical(after[name])


def _change(name: str, before: dict[str, Any], after: dict[str, Any]) -> Change:
    old, new = (hide(name, side[name])[0] if name in side else "" for side in (before, after))
    texts = _texts(old, new)
    note = "changed" if name in before else "added"
    html = compared(*texts)
    if texts[0] == texts[1]:
        html = mark_safe(f"{html} <ins>(another value, hidden too)</ins>")  # compared() has escaped it
    return Change(name, html, note if name in after else "left out", warning(texts[1]))


def _texts(old: Any, new: Any) -> tuple[str, str]:
    """Both sides in the same form: as text, a list of lines, or JSON."""
    sides = (old, new)
    if all(isinstance(side, str) for side in sides):
        return old, new
    if all(isinstance(side, list) and all(_is_line(item) for item in side) for side in sides):
        return "\n".join(old), "\n".join(new)
    first, second = ("" if side == "" else json.dumps(side, indent=2, ensure_ascii=False) for side in sides)
    return first, second


def _is_line(item: Any) -> bool:
    return isinstance(item, str) and "\n" not in item


def compared(before: str, after: str) -> SafeString:
    """One text: what is gone in <del>, what is new in <ins>."""
    old, new = Marked(before), Marked(after)
    parts: list[str] = []
    for same, old_from, old_to, new_from, new_to in _steps(before, after):
        if same:
            parts.append(new.part(new_from, new_to))
            continue
        if old_to > old_from:
            parts.append(f"<del>{old.part(old_from, old_to)}</del>")
        if new_to > new_from:
            parts.append(f"<ins>{new.part(new_from, new_to)}</ins>")
    return mark_safe("".join(parts))  # every part comes from Marked


def _steps(before: str, after: str) -> Iterator[Step]:
    """By lines first; the lines that differ by words, where these are not too many."""
    lines = _tokens(_LINE, before), _tokens(_LINE, after)
    if max(map(len, lines)) > MOST_LINES:
        yield before == after, 0, len(before), 0, len(after)
        return
    for same, a, b, c, d in _matched(before, after, *lines):
        words = _tokens(_WORD, before, a, b), _tokens(_WORD, after, c, d)
        if same or not all(0 < len(side) <= MOST_WORDS for side in words):
            yield same, a, b, c, d
        else:
            yield from _matched(before, after, *words)


def _tokens(
    pattern: re.Pattern[str], text: str, start: int = 0, end: int | None = None
) -> list[re.Match[str]]:
    return list(pattern.finditer(text, start, len(text) if end is None else end))


def _matched(before: str, after: str, old: list[re.Match[str]], new: list[re.Match[str]]) -> Iterator[Step]:
    matcher = SequenceMatcher(None, [each.group() for each in old], [each.group() for each in new])
    for tag, a, b, c, d in matcher.get_opcodes():
        yield tag == "equal", *_places(old, a, b, len(before)), *_places(new, c, d, len(after))


def _places(tokens: list[re.Match[str]], first: int, last: int, end: int) -> tuple[int, int]:
    """Where the tokens from first to last stand in their text."""
    if first == last:
        return end, end
    return tokens[first].start(), tokens[last - 1].end()
