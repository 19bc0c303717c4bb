"""The desk's figures: how long decisions take, what is decided, by whom. Reads only; figures.py says what counts.

A period holds the calls that were asked for in it. Decisions that were undone do not count, nor what people said
later about an outcome that was unknown.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from django.contrib.auth.models import User
from django.db.models import (
    Aggregate,
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
    TextField,
    Value,
    When,
)

from approvals import permissions
from approvals.figures import (
    Asked,
    Fate,
    Judged,
    Moment,
    ReviewerTally,
    Tally,
    by_reviewer,
    tallies,
    waiting_over_time,
)
from approvals.models import AuditEntry, Decision, ToolCall, TrustGrant
from approvals.states import Effect, Outcome, Status

STEPS = {7: timedelta(hours=3), 30: timedelta(hours=12), 90: timedelta(days=1)}
"""How many days a period may have, and how far apart the moments are for which it says how much waited."""

AT_ONCE = 500  # ids in one query


class AsItIs(BigIntegerField):  # type: ignore[type-arg]
    """A whole number that comes as one: Django would convert each of them once more, which takes a third longer."""

    def get_internal_type(self) -> str:
        return "AsItIs"


class Numbers(TextField):  # type: ignore[type-arg]
    """A list of whole numbers, as JSON."""

    def from_db_value(self, value: str, *asked: Any) -> list[int | None]:
        found: list[int | None] = json.loads(value)
        return found


class Millis(Func):
    """A moment in ms since 1970, as a whole number. Django's own difference takes SQLite ten times as long."""

    output_field = AsItIs()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "CAST(ROUND((julianday(%(expressions)s) - 2440587.5) * 86400000) AS INTEGER)"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "ROUND(EXTRACT(EPOCH FROM %(expressions)s) * 1000)::bigint"
        return self.as_sql(compiler, connection, template=template, **context)


class Listed(Aggregate):
    """All of a group's numbers in one text: a row for each of 100,000 calls took three times as long."""

    output_field = Numbers()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, function="json_group_array", **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="json_agg(%(expressions)s)::text", **context)


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

    def fits(self, group: Asked) -> bool:
        return self.tool in ("", group.tool) and self.agent in ("", group.agent)

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
    calls = list(_calls(question))
    fitting = [group for group in calls if question.fits(group)]
    every, tools, agents = tallies(group for group in fitting if not group.early)
    return Insights(
        every=every,
        tools=tools,
        agents=agents,
        reviewers=by_reviewer(_judged(question)),
        moments=_moments(question, fitting),
        trust_uses=_trust_uses(question),
        unknown=_unknown(question),
        all_tools=sorted({group.tool for group in calls if not group.early}),
        all_agents=sorted({group.agent for group in calls if not group.early} - {""}),
    )


def _calls(question: Question) -> Iterator[Asked]:
    """Those that were asked for in the period, and those from before that stopped waiting in it."""
    start = question.start
    ended = Q(status__in=(Status.EXPIRED, Status.CANCELLED), finished_at__gte=start)
    calls = question.visible().filter(Q(requested_at__gte=start) | Q(decided_at__gte=start) | ended)
    early = Case(When(requested_at__lt=start, then=Value(1)), default=Value(0), output_field=AsItIs())
    groups = calls.values_list("tool", "agent", _FATE, _EDITED, early)
    return map(Asked._make, groups.annotate(asked=Listed(Millis("requested_at")), left=Listed(_LEFT)))


def _judged(question: Question) -> Iterator[Judged]:
    names = dict(User.objects.values_list("pk", "username"))
    calls = question.narrowed().filter(requested_at__gte=question.start)
    made = calls.filter(decisions__undone_at=None, decisions__round=1, decisions__by__isnull=False)
    took = ExpressionWrapper(Millis("decisions__at") - Millis("requested_at"), AsItIs())
    groups = made.values_list("decisions__by", "decisions__choice", _EDITED).annotate(took=Listed(took))
    for by, *rest in groups:
        yield Judged(names[by], *rest)


def _moments(question: Question, calls: list[Asked]) -> list[Moment]:
    step = STEPS[question.days]
    told = waiting_over_time(
        chain.from_iterable(group.asked for group in calls),
        chain.from_iterable(group.left for group in calls),
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
