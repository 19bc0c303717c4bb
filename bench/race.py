"""Eight reviewers decide the same calls at once: one must win each, and nobody may meet an error."""

from __future__ import annotations

from collections import Counter

from bench.deciders import deciders
from bench.stats import Row, quantiles

REVIEWERS = 8


def measure(kind: str, calls: int) -> Row:
    """How it ended, by what the deciders were told and by what the ledger says; ms for each decision."""
    with deciders(kind) as site:
        said, seconds = site.decide(calls, REVIEWERS, same=True)
        ledger = site.count()
    outcomes = sum((Counter(one["outcomes"]) for one in said), Counter[str]())
    won, told = outcomes.pop("won", 0), outcomes.pop("told", 0)
    return {
        "calls": calls,
        "winners": won,
        "losers told who": told,
        "errors": sum(outcomes.values()),
        **ledger,
        "a second": round(calls * REVIEWERS / seconds),
        **quantiles([took for one in said for took in one["ms"]]),
    }
