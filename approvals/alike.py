"""Waiting calls that are the same but for one short argument, so that they can be looked at and decided together."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from approvals.deception import deceptive
from approvals.models import ToolCall

MOST = 50  # calls decided together; their ids fit into an address
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
        kinds[_kind(call) if _simple(call) and call.pk not in apart else call.pk].append(call)
    found = [bunch for same in kinds.values() for bunch in _split(same)]
    places = {call.pk: place for place, call in enumerate(calls)}
    return sorted(found, key=lambda bunch: places[bunch.calls[0].pk])


def alike(calls: Sequence[ToolCall]) -> Bunch | None:
    """These calls as one bunch; None when they do not belong together."""
    whole = bunches(calls)
    return whole[0] if len(whole) == 1 else None


def _simple(call: ToolCall) -> bool:
    """One person's plain yes is enough, and a glance at it does not deceive."""
    asks_for_more = call.quorum > 1 or call.term("confirm") or call.term("justify")
    return isinstance(call.arguments, dict) and not asks_for_more and call.proposed is None


def _kind(call: ToolCall) -> tuple[Any, ...]:
    """What has to be the same, besides the arguments: what asks, for whom, why, and on which terms."""
    terms = json.dumps(call.terms, sort_keys=True)
    asked = (call.tool, call.provider, call.definition, call.agent, call.requested_by_id)
    return (
        *asked,
        call.policy,
        call.effect,
        call.risk,
        call.groups,
        terms,
        call.status,
        tuple(sorted(call.arguments)),
    )


def _split(calls: list[ToolCall]) -> list[Bunch]:
    """The largest bunch, then the largest of the rest, and so on."""
    if len(calls) == 1:
        return [Bunch((calls[0],))]
    texts = {
        call.pk: {name: json.dumps(value, sort_keys=True) for name, value in call.arguments.items()}
        for call in calls
    }
    tricky = [call for call in calls if deceptive(call.arguments)]
    found = [Bunch((call,)) for call in tricky]
    left = [call for call in calls if call not in tricky]
    while left:
        bunch = _largest(left, texts)
        found.append(bunch)
        taken = {call.pk for call in bunch.calls}
        left = [call for call in left if call.pk not in taken]
    return found


def _largest(calls: list[ToolCall], texts: dict[Any, dict[str, str]]) -> Bunch:
    best = Bunch((calls[0],))
    for differs in ("", *sorted(calls[0].arguments)):
        same: dict[tuple[str, ...], list[ToolCall]] = defaultdict(list)
        for call in calls:
            if not differs or _short(call.arguments[differs]):
                same[tuple(text for name, text in sorted(texts[call.pk].items()) if name != differs)].append(
                    call
                )
        for together in same.values():
            if len(together) > len(best.calls):
                best = Bunch(tuple(together[:MOST]), differs)
    return best


def _short(value: Any) -> bool:
    return isinstance(value, str | int | float) and len(str(value)) <= SHORT


def _texts(arguments: dict[str, Any]) -> dict[str, str]:
    return {name: json.dumps(value, sort_keys=True) for name, value in arguments.items()}
