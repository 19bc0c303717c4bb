"""The page of the desk's figures. It changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from approvals import charts, insights
from approvals.charts import Part
from approvals.fields import storable
from approvals.figures import FAST, Fate, Moment, ReviewerTally, Tally
from approvals.insights import STEPS, Insights, Question
from approvals.requests import Request, reviewer
from approvals.states import Outcome

USUAL = 30  # days
DRAWN = 10  # rows of a chart; its table has all
LISTED = 200  # rows of a table
SETTLED = {
    Outcome.HAPPENED.value: "it had happened",
    Outcome.RUN_AGAIN.value: "run again",
    Outcome.GIVE_UP.value: "given up",
}


@never_cache
@require_safe
def page(request: Request) -> HttpResponse:
    """The figures of a period, of the calls that the person sees."""
    reviewer(request)
    asked = _question(request)
    found = insights.ask(asked)
    return render(request, "insights.html", {**_choices(asked, found), **_figures(found)})


def _question(request: Request) -> Question:
    days = request.GET.get("days", "")
    tool, agent = (storable(request.GET.get(name, "").strip()) for name in ("tool", "agent"))
    wanted = int(days) if days in {str(each) for each in STEPS} else USUAL
    return Question(request.user, wanted, timezone.now(), tool, agent)


def _choices(asked: Question, found: Insights) -> dict[str, Any]:
    kept = urlencode({name: value for name, value in (("tool", asked.tool), ("agent", asked.agent)) if value})
    return {
        "question": asked,
        "periods": [(days, f"?days={days}{'&' if kept else ''}{kept}") for days in STEPS],
        "tools": sorted({*found.all_tools, asked.tool} - {""}),
        "agents": sorted({*found.all_agents, asked.agent} - {""}),
    }


def _figures(found: Insights) -> dict[str, Any]:
    return {
        "every": TallyRow(found.every, found.every.p90 or 0),
        "dimensions": [
            _dimension("tool", "By tool", found.tools),
            _dimension("agent", "By agent", found.agents),
        ],
        "reviewers": _reviewers(found.reviewers),
        "over_time": _over_time(found.moments),
        "fast_seconds": int(FAST.total_seconds()),
        "trust_uses": found.trust_uses,
        "trust_total": sum(uses for _, uses in found.trust_uses),
        "unknown": found.unknown,
        "settled": [(words, found.unknown.outcomes[key]) for key, words in SETTLED.items()],
    }


# --- Rows -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class TallyRow:
    """A tool, an agent or all calls, as the page says it."""

    tally: Tally
    longest: int

    @property
    def name(self) -> str:
        return self.tally.name or "no agent named"

    @property
    def median(self) -> str:
        return lasted(self.tally.median)

    @property
    def p90(self) -> str:
        return lasted(self.tally.p90)

    @property
    def waiting(self) -> int:
        return self.tally.fates[Fate.WAITING]

    @property
    def shares(self) -> list[tuple[str, int, str]]:
        """What, how many, and of how many in a hundred; edits are among the approved."""
        told = [(fate.value, self.tally.fates[fate]) for fate in Fate]
        told.insert(1, ("edited", self.tally.edited))
        return [(name, number, percent(number, self.tally.asked)) for name, number in told]

    @property
    def ends(self) -> list[tuple[str, int, str]]:
        """How those ended that wait no more."""
        told = [(name, number) for name, number, _ in self.shares if name != Fate.WAITING]
        return [(name, number, percent(number, self.tally.settled)) for name, number in told]

    @property
    def approved(self) -> str:
        return percent(self.tally.fates[Fate.APPROVED], self.tally.settled)

    @property
    def rates(self) -> SafeString:
        number, edited = self.tally.asked or 1, self.tally.edited
        parts = [
            Part("approved", (self.tally.fates[Fate.APPROVED] - edited) / number),
            Part("edited", edited / number),
            *(Part(fate.value, self.tally.fates[fate] / number) for fate in list(Fate)[1:]),
        ]
        said = ", ".join(f"{share} {name}" for name, count, share in self.shares if count)
        return charts.stack(parts, f"{self.name}: {said}")

    @property
    def times(self) -> SafeString | str:
        return _times(self.name, self.tally.median, self.tally.p90, self.longest)


@dataclass(frozen=True)
class ReviewerRow:
    """A reviewer, as the page says it."""

    tally: ReviewerTally
    longest: int

    @property
    def median(self) -> str:
        return lasted(self.tally.median)

    @property
    def p90(self) -> str:
        return lasted(self.tally.p90)

    @property
    def approved(self) -> str:
        return percent(self.tally.approved, self.tally.decided)

    @property
    def denied(self) -> str:
        return percent(self.tally.denied, self.tally.decided)

    @property
    def fast(self) -> str:
        return percent(self.tally.fast, self.tally.approved)

    @property
    def rates(self) -> SafeString:
        one, number = self.tally, self.tally.decided or 1
        parts = [
            Part("approved", (one.approved - one.edited) / number),
            Part("edited", one.edited / number),
            Part("denied", one.denied / number),
        ]
        return charts.stack(parts, f"{one.name}: {self.approved} approved, {self.denied} denied")

    @property
    def times(self) -> SafeString | str:
        return _times(self.tally.name, self.tally.median, self.tally.p90, self.longest)


def _times(name: str, median: int | None, p90: int | None, longest: int) -> SafeString | str:
    if median is None or p90 is None:
        return ""
    return charts.times(median, p90, longest, f"{name}: median {lasted(median)}, p90 {lasted(p90)}")


def _longest(found: Sequence[Tally | ReviewerTally]) -> int:
    return max((each.p90 for each in found if each.p90 is not None), default=0)


def _dimension(key: str, title: str, found: list[Tally]) -> dict[str, Any]:
    longest = _longest(found[:DRAWN])
    rows = [TallyRow(tally, longest) for tally in found[:LISTED]]
    return {
        "key": key,
        "title": title,
        "rows": rows,
        "drawn": rows[:DRAWN],
        "timed": [row for row in rows[:DRAWN] if row.tally.decided],
        "left_out": max(0, len(found) - DRAWN),
        "ruler": charts.ruler(longest),
    }


def _reviewers(found: list[ReviewerTally]) -> dict[str, Any]:
    longest = _longest(found[:DRAWN])
    rows = [ReviewerRow(tally, longest) for tally in found[:LISTED]]
    quick = sorted((row for row in rows if row.tally.fast), key=lambda row: -row.tally.fast)
    return {
        "rows": rows,
        "drawn": rows[:DRAWN],
        "quick": quick[:DRAWN],
        "fast": sum(each.fast for each in found),
        "left_out": max(0, len(found) - DRAWN),
        "ruler": charts.ruler(longest),
    }


def _over_time(moments: list[Moment]) -> dict[str, Any]:
    waited = [moment.waiting for moment in moments]
    came = [moment.asked for moment in moments]
    most, now = max(waited), waited[-1]
    return {
        "moments": moments[::-1],
        "first": moments[0].at,
        "last": moments[-1].at,
        "most_waiting": most,
        "most_asked": max(came),
        "waiting": charts.area(
            waited, f"Calls that waited as each interval ended: at most {most:,}, {now:,} at the end"
        ),
        "asked": charts.columns(
            came, f"Calls asked for: {sum(came):,}, at most {max(came):,} in an interval"
        ),
    }


# --- Words ------------------------------------------------------------------------------------------------
def lasted(ms: int | None) -> str:
    """As "1.4 s", "42 s", "3.5 min"; a dash where there is nothing to say."""
    if ms is None:
        return "–"
    for size, unit in ((charts.DAY, "days"), (charts.HOUR, "h"), (charts.MINUTE, "min")):
        if ms >= size:
            return f"{ms / size:.1f} {unit}"
    return f"{ms / 1000:.1f} s" if ms < 10 * charts.SECOND else f"{ms // 1000} s"


def percent(part: int, whole: int) -> str:
    """As "85%"; what is more than nothing and less than all is never said to be that."""
    if not whole:
        return "–"
    if 0 < part < whole:
        return f"{min(99, max(1, round(100 * part / whole)))}%"
    return f"{100 * part // whole}%"
