"""Waiting calls that are the same but for one short argument, so that they can be looked at and decided together."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from approvals.models import ToolCall
from approvals.presentation import warns
from approvals.secrecy import secrets_in

MOST = 50  # calls decided together; their ids fit into an address
NAMES = 32  # arguments a call may have
LONG = 20_000  # characters of all arguments, as JSON
SHORT = 200  # characters of the argument that may differ


@dataclass(frozen=True)
class Bunch:
    """Calls that belong together. `differs`: the argument that is not the same in all; empty where none is."""

    calls: tuple[ToolCall, ...]
    differs: str = ""


def bunches(calls: Iterable[ToolCall], apart: Container[Any] = ()) -> list[Bunch]:
    """All of these calls, those that are alike in one bunch, each bunch where its first call was.

    `apart`: the keys of calls that stay by themselves.
    """
    calls = list(calls)
    kinds: dict[Any, list[ToolCall]] = defaultdict(list)
    for call in calls:
        plain = call.pk not in apart and _takes_one_plain_yes(call) and _content(call) is not None
        kinds[_kind(call) if plain else call.pk].append(call)
    found = [bunch for same in kinds.values() for bunch in _split(same)]
    places = {call.pk: place for place, call in enumerate(calls)}
    return sorted(found, key=lambda bunch: places[bunch.calls[0].pk])


def alike(calls: Sequence[ToolCall]) -> Bunch | None:
    """These calls as one bunch; None when they do not belong together."""
    whole = bunches(calls)
    return whole[0] if len(whole) == 1 else None


def _takes_one_plain_yes(call: ToolCall) -> bool:
    asks_for_more = call.quorum > 1 or call.term("confirm") or call.term("justify")
    return not asks_for_more and call.proposed is None


def _kind(call: ToolCall) -> tuple[Any, ...]:
    """What has to be the same, besides the arguments: what asks, for whom, why, and on which terms."""
    asked = (call.tool, call.provider, call.definition, call.agent, call.requested_by_id)
    judged = (
        call.policy,
        call.why,
        call.effect,
        call.risk,
        call.groups,
        json.dumps(call.terms, sort_keys=True),
    )
    return (*asked, *judged, call.status, tuple(sorted(call.arguments)))


_known: dict[str, dict[str, int] | None] = {}  # by digest; lists are made anew at each doorbell
MOST_KNOWN = 10_000


def _content(call: ToolCall) -> dict[str, int] | None:
    """A number for each argument; None for what a glance is not enough for: much, masked, or deceptive."""
    if call.digest not in _known:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[call.digest] = _numbers(call.arguments)
    return _known[call.digest]


def _numbers(arguments: Any) -> dict[str, int] | None:
    if not isinstance(arguments, dict) or len(arguments) > NAMES:
        return None
    texts = {name: json.dumps(value, sort_keys=True) for name, value in arguments.items()}
    if sum(map(len, texts.values())) > LONG or secrets_in(arguments) or warns(arguments):
        return None
    return {name: int.from_bytes(sha256(f"{name}\0{text}".encode()).digest()) for name, text in texts.items()}


def _split(calls: list[ToolCall]) -> list[Bunch]:
    """The largest group that is the same but for one argument, then the largest of the rest, and so on."""
    groups = _groups(calls) if len(calls) > 1 else {}
    found, taken = [], set()
    for (differs, _), members in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0][0])):
        left = [call for call in members if call.pk not in taken][:MOST]
        if len(left) > 1:
            found.append(Bunch(tuple(left), differs))
            taken |= {call.pk for call in left}
    return found + [Bunch((call,)) for call in calls if call.pk not in taken]


def _groups(calls: list[ToolCall]) -> dict[tuple[str, int], list[ToolCall]]:
    """By the argument that is left out, and by all others: their numbers in one."""
    groups: dict[tuple[str, int], list[ToolCall]] = defaultdict(list)
    for call in calls:
        numbers = _content(call) or {}
        total = sum(numbers.values())
        groups["", total].append(call)
        for name, number in numbers.items():
            if _short(call.arguments[name]):
                groups[name, total - number].append(call)
    return {key: _truly(key[0], members) for key, members in groups.items() if len(members) > 1}


def _truly(differs: str, members: list[ToolCall]) -> list[ToolCall]:
    """Those that are the same as the first but for that argument: a sum of hashes alone proves nothing."""
    first = {**members[0].arguments, differs: None}
    return [call for call in members if {**call.arguments, differs: None} == first]


def _short(value: Any) -> bool:
    return isinstance(value, str | int | float) and len(str(value)) <= SHORT
