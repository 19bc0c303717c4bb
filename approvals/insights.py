"""The desk's figures: how long decisions take, what is decided, by whom. Reads only; what it counts is said here.

A period holds the calls that were asked for in it. Of each, its first answer counts: the time to decision ends with
the decision that settled it, with a quorum the last that it took. Decisions that were undone do not count, nor what
people said later about an outcome that was unknown. Median and p90 are nearest ranks: the shortest time within which
at least half, or nine tenths, of the calls were decided. An edit is an approval of arguments that a reviewer changed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import chain
from typing import Any, NamedTuple

from django.contrib.auth.models import User
from django.db.models import (
    BigIntegerField,
    Case,
    CharField,
    Count,
    ExpressionWrapper,
    Func,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)

from approvals import permissions
from approvals.models import AuditEntry, Decision, ToolCall, TrustGrant
from approvals.states import Choice, Effect, Outcome, Status

STEPS = {7: timedelta(hours=3), 30: timedelta(hours=12), 90: timedelta(days=1)}
"""How many days a period may have, and how far apart the moments are for which it says how much waited."""

FAST = timedelta(seconds=2)
AT_ONCE = 500  # ids in one query


class Fate(StrEnum):
    """The first answer to a call that was asked for."""

    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    WAITING = "waiting"


DECIDED = frozenset({Fate.APPROVED, Fate.DENIED})


class Asked(NamedTuple):
    """One call that was asked for. Times are in ms since 1970; `left`: when it stopped waiting."""

    tool: str
    agent: str
    fate: str
    edited: int
    asked: int
    left: int | None


class Judged(NamedTuple):
    """One decision that counts, `took` ms after the call was asked for."""

    by: str
    choice: str
    edited: int
    took: int


# --- Counting: pure -----------------------------------------------------------------------------------------
def percentile(times: Sequence[int], percent: int) -> int | None:
    """The nearest rank in times that are in order; None where there are none."""
    return times[-(-len(times) * percent // 100) - 1] if times else None


@dataclass
class Tally:
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
    def median(self) -> int | None:
        return percentile(self.times, 50)

    @property
    def p90(self) -> int | None:
        return percentile(self.times, 90)

    @property
    def settled(self) -> int:
        """Those that wait no more."""
        return self.asked - self.fates[Fate.WAITING]

    def share(self, fate: Fate) -> float:
        return self.fates[fate] / self.asked if self.asked else 0.0


@dataclass
class ReviewerTally:
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

    @property
    def median(self) -> int | None:
        return percentile(self.times, 50)

    @property
    def p90(self) -> int | None:
        return percentile(self.times, 90)


class Moment(NamedTuple):
    """The end of an interval: how many waited then, and how many were asked for since the one before."""

    at: datetime
    asked: int
    waiting: int


def tallies(calls: Iterable[Asked]) -> tuple[Tally, list[Tally], list[Tally]]:
    """All calls together, by tool and by agent; most asked for first."""
    groups: dict[tuple[str, str, str, int], list[int]] = defaultdict(list)
    for tool, agent, fate, edited, asked, left in calls:
        groups[tool, agent, fate, edited].append(0 if left is None else max(0, left - asked))
    every, tools, agents = Tally(""), dict[str, Tally](), dict[str, Tally]()
    for (tool, agent, fate, edited), times in groups.items():
        for tally in (every, tools.setdefault(tool, Tally(tool)), agents.setdefault(agent, Tally(agent))):
            tally.fates[fate] += len(times)
            if fate in DECIDED:
                tally.times += times
            if fate == Fate.APPROVED and edited:
                tally.edited += len(times)
    for tally in chain([every], tools.values(), agents.values()):
        tally.times.sort()
    return every, _most_first(tools), _most_first(agents)


def _most_first(found: Mapping[str, Tally]) -> list[Tally]:
    return sorted(found.values(), key=lambda tally: (-tally.asked, tally.name))


def by_reviewer(decisions: Iterable[Judged]) -> list[ReviewerTally]:
    """Who decided most first."""
    found: dict[str, ReviewerTally] = {}
    fast = FAST // timedelta(milliseconds=1)
    for by, choice, edited, took in decisions:
        tally = found.get(by) or found.setdefault(by, ReviewerTally(by))
        tally.times.append(max(0, took))
        if choice == Choice.DENY:
            tally.denied += 1
        else:
            tally.approved += 1
            tally.edited += edited
            tally.fast += took < fast
    for tally in found.values():
        tally.times.sort()
    return sorted(found.values(), key=lambda tally: (-tally.decided, tally.name))


def waiting_over_time(
    calls: Iterable[tuple[int, int | None]], waiting: int, start: int, step: int, count: int
) -> list[tuple[int, int]]:
    """For each of `count` intervals: how many were asked for in it, and how many waited at its end.

    `calls`: when each was asked for and stopped waiting, in ms; `waiting`: how many wait now. Told backwards from
    now, so that calls from before the period need to be known only where they left in it.
    """
    came, went = [0] * count, [0] * count
    for asked, left in calls:
        if asked >= start:
            came[min((asked - start) // step, count - 1)] += 1
        if left is not None and left >= start:
            went[min((left - start) // step, count - 1)] += 1
    told = []
    for arrived, gone in zip(reversed(came), reversed(went), strict=True):
        told.append((arrived, waiting))
        waiting += gone - arrived
    return told[::-1]


# --- Asking the database ------------------------------------------------------------------------------------
class AsItIs(BigIntegerField):  # type: ignore[type-arg]
    """A whole number that comes as one: Django would convert each of them once more, which takes a third longer."""

    def get_internal_type(self) -> str:
        return "AsItIs"


class Millis(Func):
    """A moment in ms since 1970, as a whole number. Django's own difference takes SQLite ten times as long."""

    output_field = AsItIs()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "CAST(ROUND((julianday(%(expressions)s) - 2440587.5) * 86400000) AS INTEGER)"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "ROUND(EXTRACT(EPOCH FROM %(expressions)s) * 1000)::bigint"
        return self.as_sql(compiler, connection, template=template, **context)


def _first_decision() -> Any:
    """When a call was decided, also where an unknown outcome was decided about later."""
    first = Decision.objects.filter(call=OuterRef("pk"), round=1, undone_at=None).order_by().values("call")
    return Case(When(round=1, then="decided_at"), default=Subquery(first.annotate(at=Max("at")).values("at")))


_FATE = Case(
    When(status=Status.PENDING, then=Value(Fate.WAITING.value)),
    When(status=Status.EXPIRED, then=Value(Fate.EXPIRED.value)),
    When(decided_at=None, then=Value(Fate.CANCELLED.value)),
    When(status=Status.DENIED, then=Value(Fate.DENIED.value)),
    default=Value(Fate.APPROVED.value),
    output_field=CharField(),
)
_EDITED = Case(When(proposed=None, then=Value(0)), default=Value(1), output_field=AsItIs())
_LEFT = Case(
    When(decided_at__isnull=False, then=Millis(_first_decision())),
    When(status__in=(Status.EXPIRED, Status.CANCELLED), then=Millis("finished_at")),
    output_field=AsItIs(),
)


@dataclass(frozen=True)
class Question:
    """Whose figures, and which."""

    user: User
    days: int
    now: datetime
    tool: str = ""
    agent: str = ""

    @property
    def start(self) -> datetime:
        return self.now - timedelta(days=self.days)

    def visible(self) -> QuerySet[ToolCall]:
        """The asked calls that the person sees."""
        asked = Q(effect__in=(Effect.ASK, Effect.ALWAYS_ASK))
        return permissions.visible_calls(self.user).filter(asked).order_by()

    def narrowed(self) -> QuerySet[ToolCall]:
        return self.visible().filter(**self.filters())

    @property
    def narrow(self) -> bool:
        return bool(self.tool or self.agent)

    def fits(self, call: Asked) -> bool:
        return self.tool in ("", call.tool) and self.agent in ("", call.agent)

    def filters(self) -> dict[str, str]:
        return {name: value for name, value in (("tool", self.tool), ("agent", self.agent)) if value}


@dataclass(frozen=True)
class Unknown:
    """Effects of which nobody knew whether they had happened, and what became of that."""

    total: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)  # by Outcome
    open: int = 0


@dataclass(frozen=True)
class Insights:
    """All figures of a period."""

    every: Tally
    tools: list[Tally]
    agents: list[Tally]
    reviewers: list[ReviewerTally]
    moments: list[Moment]
    trust_uses: list[tuple[str, int]]  # by tool
    unknown: Unknown
    all_tools: list[str]  # to choose from
    all_agents: list[str]


def ask(question: Question) -> Insights:
    """Two passes over the period's calls, and a few small queries."""
    calls, start = list(_calls(question)), _millis(question.start)
    asked = [call for call in calls if call.asked >= start]
    fitting = [call for call in calls if question.fits(call)] if question.narrow else calls
    every, tools, agents = tallies(call for call in fitting if call.asked >= start)
    return Insights(
        every=every,
        tools=tools,
        agents=agents,
        reviewers=by_reviewer(_judged(question)),
        moments=_moments(question, fitting),
        trust_uses=_trust_uses(question),
        unknown=_unknown(question),
        all_tools=sorted({call.tool for call in asked}),
        all_agents=sorted({call.agent for call in asked} - {""}),
    )


def _calls(question: Question) -> Iterator[Asked]:
    """Those that were asked for in the period, and those from before that stopped waiting in it."""
    start = question.start
    ended = Q(status__in=(Status.EXPIRED, Status.CANCELLED), finished_at__gte=start)
    calls = question.visible().filter(Q(requested_at__gte=start) | Q(decided_at__gte=start) | ended)
    rows = calls.values_list("tool", "agent", _FATE, _EDITED, Millis("requested_at"), _LEFT)
    return map(Asked._make, rows.iterator(chunk_size=5000))


def _judged(question: Question) -> Iterator[Judged]:
    names = dict(User.objects.values_list("pk", "username"))
    calls = question.narrowed().filter(requested_at__gte=question.start)
    made = calls.filter(decisions__undone_at=None, decisions__round=1, decisions__by__isnull=False)
    took = ExpressionWrapper(Millis("decisions__at") - Millis("requested_at"), AsItIs())
    rows = made.values_list("decisions__by", "decisions__choice", _EDITED, took)
    for by, *rest in rows.iterator(chunk_size=5000):
        yield Judged(names[by], *rest)


def _moments(question: Question, calls: Iterable[Asked]) -> list[Moment]:
    step = STEPS[question.days]
    told = waiting_over_time(
        ((call.asked, call.left) for call in calls),
        question.narrowed().filter(status=Status.PENDING).count(),
        _millis(question.start),
        step // timedelta(milliseconds=1),
        timedelta(days=question.days) // step,
    )
    return [
        Moment(question.start + step * (place + 1), came, waits) for place, (came, waits) in enumerate(told)
    ]


def _millis(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _trust_uses(question: Question) -> list[tuple[str, int]]:
    """How many calls ran without being asked for, by leave of trust that the person sees."""
    grants = TrustGrant.objects.filter(expires_at__gte=question.start).order_by()
    given = list(grants.values_list("pk", flat=True))
    asked = permissions.visible_calls(question.user).order_by()
    counted: Counter[str] = Counter()
    for at in range(0, len(given), AT_ONCE):
        seen = set(
            asked.filter(decisions__grant__in=given[at : at + AT_ONCE]).values_list("decisions__grant")
        )
        uses = ToolCall.objects.filter(trust__in=[grant for (grant,) in seen], **question.filters())
        uses = uses.filter(requested_at__gte=question.start).order_by()
        counted.update(dict(uses.values_list("tool").annotate(uses=Count("pk"))))
    return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))


def _unknown(question: Question) -> Unknown:
    """From the audit trail, since a call that was settled shows no trace of it."""
    entries = AuditEntry.objects.filter(at__gte=question.start)
    told = dict.fromkeys(entries.filter(kind="call.unknown").order_by("seq").values_list("call", flat=True))
    ids = list(told)
    seen: dict[str, str] = {}
    calls = permissions.visible_calls(question.user).filter(**question.filters()).order_by()
    for at in range(0, len(ids), AT_ONCE):
        found = calls.filter(pk__in=ids[at : at + AT_ONCE]).values_list("pk", "status")
        seen |= {str(pk): status for pk, status in found}
    settled: dict[str, str] = {}
    for call, data in entries.filter(kind="call.settled").order_by("seq").values_list("call", "data"):
        if call in seen:
            settled[call] = str(data.get("outcome", ""))
    outcomes = Counter(outcome for outcome in settled.values() if outcome in Outcome.values)
    return Unknown(len(seen), outcomes, sum(status == Status.UNKNOWN for status in seen.values()))
