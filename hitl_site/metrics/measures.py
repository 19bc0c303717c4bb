"""What is measured, and what it costs: open calls and runs have indexes; counts of all there ever was are kept."""

from __future__ import annotations

import platform
import threading
import time
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from importlib import metadata

import django
import redis
from django.conf import settings
from django.db.models import Count, F, Max, Min, QuerySet
from django.db.models.functions import Now

from agents.models import Run
from agents.states import RunStatus
from agents.sweeper import SWEPT
from approvals.hub import listeners
from approvals.models import AuditEntry, Decision, ToolCall
from approvals.states import Choice, Status
from hitl_site.metrics.exposition import Metric, by, gauge

KEPT = 30.0  # seconds, at least, for counts that take long
SHARE = 50  # they are made anew at most this often: they take 2 % of the time
LATE = timedelta(seconds=30)  # the sweeper comes every few seconds
LATELY = timedelta(hours=1)
SAMPLE = 1000  # decisions
OPEN = (Status.PENDING, Status.APPROVED, Status.ALLOWED, Status.STARTED, Status.UNKNOWN)
QUANTILES = (0.5, 0.9, 0.99)


def measured() -> Iterator[Metric]:
    """All metrics, as of now."""
    yield build()
    yield from calls()
    yield from lately()
    yield from runs()
    last = AuditEntry.objects.aggregate(last=Max("seq"))["last"] or 0
    yield Metric("nod_audit_entries_total", "counter", "Number of the last audit entry.", [({}, last)])
    yield gauge(
        "nod_listeners", "Open WebSockets, and API requests that wait, of this web process.", listeners()
    )
    yield from sweeper()


def build() -> Metric:
    labels = {
        "version": _version(),
        "python": platform.python_version(),
        "django": django.get_version(),
        "strands": metadata.version("strands-agents"),
    }
    return Metric("nod_build_info", "gauge", "Always 1; the labels say what runs.", [(labels, 1)])


@cache
def _version() -> str:
    with (settings.BASE_DIR / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def calls() -> Iterator[Metric]:
    counts = _ever("calls", ToolCall.objects.all(), "status")
    now = {status: ToolCall.objects.filter(status=status).count() for status in OPEN}
    found = {status.value: now.get(status, counts.get(status, 0)) for status in Status}
    yield by("status", "nod_calls", "Tool calls in the ledger, by where they stand.", found)
    pending = ToolCall.objects.filter(status=Status.PENDING)
    yield gauge(
        "nod_calls_pending_oldest_seconds",
        "For how long the oldest call has waited for people; 0 when none waits.",
        _age(pending, "requested_at"),
    )
    over = Now() - LATE
    overdue = (
        pending.filter(expires_at__lt=over).count()
        + ToolCall.objects.filter(status=Status.APPROVED, executable_until__lt=over).count()
        + ToolCall.objects.filter(status=Status.ALLOWED, executable_until__lt=over).count()
    )
    yield gauge("nod_calls_overdue", "Calls that a sweeper should have ended 30 s ago.", overdue)
    made = _ever("decisions", Decision.objects.filter(undone_at=None), "choice")
    yield by(
        "choice",
        "nod_decisions",
        "Decisions that count, by what was decided.",
        {choice.value: made.get(choice, 0) for choice in Choice},
    )


def _age(rows: QuerySet[ToolCall], field: str) -> float:
    found = rows.aggregate(oldest=Min(field), now=Max(Now()))
    return max((found["now"] - found["oldest"]).total_seconds(), 0) if found["oldest"] else 0


def lately() -> Iterator[Metric]:
    decided = ToolCall.objects.filter(decided_at__gt=Now() - LATELY).order_by("-decided_at")
    times = decided.values_list(F("decided_at") - F("requested_at"), flat=True)[:SAMPLE]
    waits = sorted(wait.total_seconds() for wait in times)
    yield by(
        "quantile",
        "nod_decision_wait_seconds",
        "From the call to its decision, of the last 1,000 that were decided in the last hour.",
        {str(each): waits[int(each * (len(waits) - 1))] for each in QUANTILES} if waits else {},
    )
    yield gauge(
        "nod_decisions_last_hour", "Calls that were decided in the last hour.", decided.order_by().count()
    )


def runs() -> Iterator[Metric]:
    counts = _ever("runs", Run.objects.all(), "status")
    yield by(
        "status",
        "nod_runs",
        "Runs of Nod's own agents, by where they stand.",
        {status.value: counts.get(status, 0) for status in RunStatus},
    )
    due = Run.objects.filter(status=RunStatus.QUEUED)
    yield gauge("nod_runs_due", "Runs that wait for a worker.", due.count())
    dead = Run.objects.filter(status=RunStatus.RUNNING, lease_until__lt=Now() - LATE)
    overdue = due.filter(due_at__lt=Now() - LATE).count() + dead.count()
    yield gauge("nod_runs_overdue", "Runs that a worker should have taken up 30 s ago.", overdue)


def sweeper() -> Iterator[Metric]:
    """Nothing of it where Redis is away, but for that."""
    url = settings.REDIS_URL
    try:
        with redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
            swept = client.get(SWEPT)
    except (redis.RedisError, OSError):
        yield gauge("nod_redis_up", "Whether Redis answers.", 0)
        return
    yield gauge("nod_redis_up", "Whether Redis answers.", 1)
    if swept:
        yield gauge(
            "nod_sweeper_last_run_timestamp_seconds",
            "When a worker last looked for what is due, in seconds since 1970.",
            float(swept),
        )


_kept: dict[str, tuple[float, dict[str, int]]] = {}
_lock = threading.Lock()  # two scrapes at once count once


def _ever(
    name: str, rows: QuerySet[ToolCall] | QuerySet[Decision] | QuerySet[Run], field: str
) -> dict[str, int]:
    """How many there are of each, counted anew now and then: that reads the whole table."""
    with _lock:
        until, counts = _kept.get(name, (0.0, {}))
        began = time.monotonic()
        if began >= until:
            found = rows.order_by().values_list(field).annotate(count=Count("pk"))
            counts = {str(value): count for value, count in found}
            took = time.monotonic() - began
            _kept[name] = time.monotonic() + max(KEPT, took * SHARE), counts
        return counts


def forget() -> None:
    """Count anew the next time."""
    _kept.clear()
