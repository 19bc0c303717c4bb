"""How the desk's figures are counted, from groups of calls and decisions. Pure: insights.py asks the database.

Of each call, its first answer counts: the time to decision ends with the decision that settled it, with a quorum the
last that it took. Median and p90 are nearest ranks: the shortest time within which at least half, or nine tenths, of
the calls were decided. An edit is an approval of arguments that a reviewer changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain
from typing import NamedTuple

from approvals.states import Choice

FAST = timedelta(seconds=2)


class Fate(StrEnum):
    """The first answer to a call that was asked for."""

    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    WAITING = "waiting"


DECIDED = frozenset({Fate.APPROVED, Fate.DENIED})


class Asked(NamedTuple):
    """Calls that were asked for, of one tool and one agent, with one fate. Times are in ms since 1970.

    `early`: they were asked for before the period; `left`: when each of them stopped waiting.
    """

    tool: str
    agent: str
    fate: str
    edited: int
    early: int
    asked: Sequence[int]
    left: Sequence[int | None]


class Judged(NamedTuple):
    """Decisions of one person that count, alike in these; each was made `took` ms after its call was asked for."""

    by: str
    choice: str
    edited: int
    took: Sequence[int]


def percentile(times: Sequence[int], percent: int) -> int | None:
    """The nearest rank in times that are in order; None where there are none."""
    return times[-(-len(times) * percent // 100) - 1] if times else None


class Timed:
    """How long decisions took: `times` in ms, in order."""

    times: list[int]

    @property
    def median(self) -> int | None:
        return percentile(self.times, 50)

    @property
    def p90(self) -> int | None:
        return percentile(self.times, 90)


@dataclass
class Tally(Timed):
    """What became of the calls of one tool, one agent, or all."""

    name: str
    fates: Counter[str] = field(default_factory=Counter)
    edited: int = 0
    times: list[int] = field(default_factory=list)  # ms to the decision, in order

    @property
    def asked(self) -> int:
        return self.fates.total()

    @property
    def decided(self) -> int:
        return len(self.times)

    @property
    def settled(self) -> int:
        """Those that wait no more."""
        return self.asked - self.fates[Fate.WAITING]

    def share(self, fate: Fate) -> float:
        return self.fates[fate] / self.asked if self.asked else 0.0


@dataclass
class ReviewerTally(Timed):
    """What one reviewer decided."""

    name: str
    approved: int = 0
    denied: int = 0
    edited: int = 0
    fast: int = 0  # approvals in less than FAST
    times: list[int] = field(default_factory=list)

    @property
    def decided(self) -> int:
        return self.approved + self.denied


class Moment(NamedTuple):
    """The end of an interval: how many waited then, and how many were asked for since the one before."""

    at: datetime
    asked: int
    waiting: int


def tallies(calls: Iterable[Asked]) -> tuple[Tally, list[Tally], list[Tally]]:
    """All calls together, by tool and by agent; most asked for first."""
    every, tools, agents = Tally(""), dict[str, Tally](), dict[str, Tally]()
    for group in calls:
        times = _times(group) if group.fate in DECIDED else []
        for tally in (
            every,
            tools.setdefault(group.tool, Tally(group.tool)),
            agents.setdefault(group.agent, Tally(group.agent)),
        ):
            tally.fates[group.fate] += len(group.asked)
            tally.times += times
            if group.fate == Fate.APPROVED and group.edited:
                tally.edited += len(group.asked)
    for tally in chain([every], tools.values(), agents.values()):
        tally.times.sort()
    return every, _most_first(tools), _most_first(agents)


def _times(group: Asked) -> list[int]:
    """In order already: lists of many such runs are put in order quickly."""
    pairs = zip(group.asked, group.left, strict=True)
    return sorted(0 if left is None or left < asked else left - asked for asked, left in pairs)


def _most_first(found: Mapping[str, Tally]) -> list[Tally]:
    return sorted(found.values(), key=lambda tally: (-tally.asked, tally.name))


def by_reviewer(decisions: Iterable[Judged]) -> list[ReviewerTally]:
    """Who decided most first."""
    found: dict[str, ReviewerTally] = {}
    fast = FAST // timedelta(milliseconds=1)
    for by, choice, edited, took in decisions:
        tally = found.setdefault(by, ReviewerTally(by))
        tally.times += [max(0, each) for each in took]
        if choice == Choice.DENY:
            tally.denied += len(took)
        else:
            tally.approved += len(took)
            tally.edited += len(took) * edited
            tally.fast += sum(each < fast for each in took)
    for tally in found.values():
        tally.times.sort()
    return sorted(found.values(), key=lambda tally: (-tally.decided, tally.name))


def waiting_over_time(
    asked: Iterable[int], left: Iterable[int | None], waiting: int, start: int, step: int, count: int
) -> list[tuple[int, int]]:
    """For each of `count` intervals: how many were asked for in it, and how many waited at its end.

    `asked`, `left`: when calls were asked for and stopped waiting, in ms; `waiting`: how many wait now. Told backwards
    from now, so that calls from before the period need to be known only where they left in it.
    """
    came = _by_interval(((at - start) // step for at in asked), count)
    went = _by_interval(((at - start) // step for at in left if at is not None), count)
    told = []
    for place in reversed(range(count)):
        told.append((came[place], waiting))
        waiting += went[place] - came[place]
    return told[::-1]


def _by_interval(places: Iterable[int], count: int) -> Counter[int]:
    """How many there are at each place; the last takes what is later, and none what was before."""
    found: Counter[int] = Counter()
    for place, many in Counter(places).items():
        found[min(place, count - 1)] += many
    return found
