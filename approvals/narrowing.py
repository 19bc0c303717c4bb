"""From the arguments of a call to conditions that hold for calls like it: where a narrower policy begins. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from approvals.conditions import ConditionFailed, Context, holds

MOST_ARGUMENTS = 20  # of a call that are looked at
SHORT = 80  # characters of a text that a policy may name
LONGEST_INTEGER = 2**53
_ADDRESS = re.compile(r"[^@,;\s<>\"]+@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")
_PATH = re.compile(r"(/?(?:[\w.-]+/)+)[\w.-]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Narrowing:
    """A condition in CEL, and what it means: "to is an address at example.com". `breadth`: 0 holds for the fewest."""

    condition: str
    words: str
    breadth: int


def narrowings(arguments: Any) -> list[Narrowing]:
    """Conditions that hold for these arguments, the narrowest first; each was tried on them."""
    if not isinstance(arguments, dict):
        return []
    context = Context({"args": arguments})
    some = [item for item in arguments.items() if item[0].isprintable()][:MOST_ARGUMENTS]
    found = (each for name, value in some for each in _of(name, value))
    return sorted((each for each in found if _true(each.condition, context)), key=lambda each: each.breadth)


def _of(name: str, value: Any) -> Iterator[Narrowing]:
    place = f"args.{name}" if _NAME.fullmatch(name) else f"args[{_literal(name)}]"
    if isinstance(value, str):
        yield from _of_text(name, place, value)
    elif isinstance(value, bool) or value is None:
        yield Narrowing(f"{place} == {json.dumps(value)}", f"{name} is {json.dumps(value)}", 0)
    elif isinstance(value, int | float) and abs(value) < LONGEST_INTEGER:
        yield Narrowing(f"{place} <= {value}", f"{name} is at most {value:,}", 1)
    elif isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        yield from _of_texts(name, place, value)


def _of_text(name: str, place: str, text: str) -> Iterator[Narrowing]:
    if len(text) <= SHORT and text.isprintable():
        yield Narrowing(f"{place} == {_literal(text)}", f"{name} is {text}", 0)
    if domain := _domain(text):
        yield Narrowing(f"{place}.{_at(domain)}", f"{name} is an address at {domain}", 1)
    if folder := _folder(text):
        yield Narrowing(_below(place, folder), f"{name} is below {folder}", 1)


def _of_texts(name: str, place: str, texts: list[str]) -> Iterator[Narrowing]:
    if len(domains := {_domain(text) for text in texts}) == 1 and (domain := domains.pop()):
        yield Narrowing(f"{place}.all(one, one.{_at(domain)})", f"all of {name} are addresses at {domain}", 1)
    if len(folders := {_folder(text) for text in texts}) == 1 and (folder := folders.pop()):
        yield Narrowing(f"{place}.all(one, {_below('one', folder)})", f"all of {name} are below {folder}", 1)


def _domain(text: str) -> str:
    """Of a text that is one address and nothing else."""
    found = _ADDRESS.fullmatch(text)
    return found[1].lower() if found else ""


def _at(domain: str) -> str:
    """One address, not a list of which the last one is at the domain."""
    escaped = domain.replace(".", "[.]")
    return f'lowerAscii().matches("^[^@,; <>]+@{escaped}$")'


def _folder(text: str) -> str:
    found = _PATH.fullmatch(text)
    return found[1] if found and ".." not in text else ""


def _below(place: str, folder: str) -> str:
    return f'{place}.startsWith({_literal(folder)}) && !{place}.contains("..")'


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _true(condition: str, context: Context) -> bool:
    try:
        return holds(condition, context)
    except ConditionFailed:
        return False
