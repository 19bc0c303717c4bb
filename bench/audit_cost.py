"""What the audit trail costs a decision: the same with and without it, in turns, on the same database.

"without" leaves out the storing of the entries, with their chain; the rest of the decision is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from bench.deciders import deciders
from bench.stats import Row


def measure(kind: str, rounds: int = 5, calls: int = 200, crowd: int = 8) -> list[Row]:
    """A row for one reviewer alone and one for `crowd` at once, each with sessions of their own."""
    with deciders(kind) as site:
        found: dict[tuple[int, bool], list[tuple[list[Any], float]]] = {}
        for _ in range(rounds):
            for people in (1, crowd):
                for audit in (True, False):
                    took = site.decide(calls, people, same=False, audit=audit)
                    found.setdefault((people, audit), []).append(took)
    return [_row(people, found[people, True], found[people, False], calls) for people in (1, crowd)]


def _row(people: int, with_it: Sequence[Any], without: Sequence[Any], calls: int) -> Row:
    ms, ms_without = _ms(with_it), _ms(without)
    return {
        "reviewers": people,
        "ms": round(ms, 2),
        "ms without": round(ms_without, 2),
        "cost ms": round(ms - ms_without, 2),
        "share": f"{(ms - ms_without) / ms:.0%}",
        "a second": round(calls / median(seconds for _, seconds in with_it)),
        "a second without": round(calls / median(seconds for _, seconds in without)),
    }


def _ms(rounds: Sequence[Any]) -> float:
    """The median over rounds of each round's median decision."""
    return float(median(median(took for one in said for took in one["ms"]) for said, _ in rounds))
