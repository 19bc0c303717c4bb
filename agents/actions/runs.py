"""The life of a run: queued, claimed by a worker, waiting, finished. Workers hold a lease, never a lock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import DurationField, Exists, F, Q, UUIDField
from django.db.models.functions import Now

from agents import wakeups
from agents.actions import questions
from agents.models import Message, Question, Run
from agents.states import ACTIVE, QuestionStatus, RunStatus
from agents.tools.registry import catalogue
from approvals import audit, events
from approvals.actions import calls
from approvals.commits import unsynced
from approvals.errors import LostClaim, TooLate
from approvals.fields import storable
from approvals.models import Tool, ToolCall
from approvals.prepared import Select, Slot, Update
from approvals.states import UNSETTLED, Fault, Status

STOPPED = "The run was stopped or taken over."
OPEN = (Status.PENDING, Status.APPROVED, Status.STARTED)
_PK = Slot("pk", UUIDField())
_CALLS_OF = Slot("calls_of")  # the run as its calls know it
COSTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "model_ms")
_COSTS = {name: Slot(name) for name in COSTS}
_LEASE = Slot("lease", DurationField())


def enqueue_on_commit(run_id: Any) -> None:
    transaction.on_commit(lambda: enqueue(run_id))


def enqueue(run_id: Any) -> None:
    """Wake a worker. The message may be lost: the sweeper finds what is due."""
    wakeups.wake(str(run_id))


def claim(run_id: Any) -> Run | None:
    """Take a run that is due or whose worker died: the epoch goes up, a lease begins. None if it is not to be had.

    Calls that a dead worker had started become UNKNOWN here: they are never repeated by guess, unless their
    tool may be. A run that broke off too often is set aside.
    """
    with unsynced():
        run = _take(run_id)
    if run is None or run.attempts <= settings.RUN_MAX_ATTEMPTS:
        return run
    quarantine(run)
    return None


def _take(run_id: Any) -> Run | None:
    if not _TAKE(pk=run_id, claim=uuid4().hex, lease=settings.RUN_LEASE):
        return None
    run: Run = _TAKEN.first(pk=run_id)
    if run.attempts > 1:
        _settle_broken_off(run)
    return run


_TAKE = Update(
    lambda: Run.objects.filter(
        Q(status=RunStatus.QUEUED) | Q(status=RunStatus.RUNNING, lease_until__lt=Now()), pk=_PK
    ),
    status=RunStatus.RUNNING,
    claim=Slot("claim"),
    epoch=F("epoch") + 1,
    attempts=F("attempts") + 1,
    lease_until=Now() + _LEASE,
    draft="",
)
_TAKEN = Select(lambda: Run.objects.select_related("session__agent").filter(pk=_PK))


@audit.audited()
def _settle_broken_off(run: Run) -> None:
    """What the last worker had started: what may be repeated is left for this one to start again."""
    started = ToolCall.objects.filter(run=str(run.pk), status=Status.STARTED)
    repeatable = Tool.objects.filter(idempotent=True).values("name")
    for call in started.exclude(tool__in=repeatable):
        calls.mark_unknown(call, Fault.WORKER_DIED)


@audit.audited()
def quarantine(run: Run) -> None:
    """Set a run aside that broke off too often. An administrator lets it try again, or its user stops it."""
    why = f"This run broke off {settings.RUN_MAX_ATTEMPTS} times and was set aside. An administrator has to look."
    _end_claim(run, RunStatus.QUARANTINED, _SET_ASIDE, error=why)
    for call in ToolCall.objects.filter(run=str(run.pk), status=Status.STARTED):
        calls.mark_unknown(call, Fault.WORKER_DIED)
    _let_windows_run(str(run.pk))
    audit.record("run.quarantined", calls.SYSTEM, session=str(run.session_id), run=str(run.pk))


@audit.audited(durable=True)
def release_from_quarantine(run: Run, actor: str) -> bool:
    """Let a run that was set aside try again. False when it is not set aside any more."""
    updated = Run.objects.filter(pk=run.pk, status=RunStatus.QUARANTINED).update(
        status=RunStatus.QUEUED, due_at=Now(), attempts=0, error_code="", error=""
    )
    if updated:
        audit.record("run.released", actor, session=str(run.session_id), run=str(run.pk))
        enqueue_on_commit(run.pk)
        _ring(run)
    return bool(updated)


def release(run: Run, *, counted: bool, at_once: bool) -> None:
    """Give the run back after a fault of the database: `counted` as an attempt of the run's, or not.

    Not `at_once` where a person has something to do first, as in the middle of a deploy: then its lease runs out.
    """
    lease_until = Now() if at_once else Now() + settings.RUN_LEASE
    _mine(run).update(lease_until=lease_until, attempts=F("attempts") - (0 if counted else 1))


def beat(run: Run) -> bool:
    """Renew the lease; False when the run is not this worker's any more."""
    return bool(_BEAT(**_held(run), lease=settings.RUN_LEASE))


def still_mine(run: Run) -> bool:
    return bool(_STILL_MINE(**_held(run)))


def check_epoch(run: Run) -> None:
    """Lock the run for the rest of the caller's transaction, and renew the lease: a tool is about to start.

    What the model has cost so far is stored with it. Raises LostClaim when the run is not mine.
    """
    if not _STEP(**_held(run), lease=settings.RUN_LEASE, **_cost(run)):
        raise LostClaim(STOPPED)


def keep_cost(run: Run) -> None:
    """What the model has cost, where a person stopped the run before its worker could store that with a step."""
    cost = _cost(run)
    if any(cost.values()):
        stopped = Run.objects.filter(
            pk=run.pk, claim=run.claim, epoch=run.epoch + 1, status=RunStatus.STOPPED
        )
        stopped.update(**cost)


def _cost(run: Run) -> dict[str, int]:
    return {name: getattr(run, name) for name in COSTS}


def save_draft(run: Run, text: str) -> bool:
    return bool(_mine(run).update(draft=storable(text)))


def wait(run: Run) -> None:
    """In the caller's transaction: nothing holds a worker from here on."""
    _end_claim(run, RunStatus.WAITING, _WAIT)


def finish(run: Run) -> None:
    check_epoch(run)  # locked before its calls are looked at: a person may be letting one of them run again
    _end_claim(run, RunStatus.DONE, _DONE, calls_of=str(run.pk))


@audit.audited()
def fail(run: Run, code: str, message: str) -> None:
    """End a run with a sentence for the person who asked. Call `tie_up` after the commit."""
    _end_claim(run, RunStatus.FAILED, _FAIL, code=code, error=storable(message))


def give_up(run: Run, actor: str) -> bool:
    """End a run that was set aside. False when it is not set aside any more."""
    if not _stop(run, actor, RunStatus.QUARANTINED):
        return False
    tie_up(run.pk, actor)
    return True


def stop(run: Run, actor: str) -> bool:
    """Stop an active run at once: its worker finds the epoch gone, its open calls are cancelled."""
    if not _stop(run, actor, *ACTIVE):
        return False
    tie_up(run.pk, actor)
    return True


@audit.audited(durable=True)
def _stop(run: Run, actor: str, *statuses: RunStatus) -> bool:
    updated = Run.objects.filter(pk=run.pk, status__in=statuses).update(
        status=RunStatus.STOPPED, epoch=F("epoch") + 1, lease_until=None, finished_at=Now(), open_ends=True
    )
    if updated:
        audit.record("run.stopped", actor, session=str(run.session_id), run=str(run.pk))
        _ring(run)
    return bool(updated)


def tie_up(run_id: Any, actor: str = calls.SYSTEM) -> None:
    """Cancel what an ended run has not started, each call in a transaction of its own.

    Never together with the run: a decision locks its call and then the run, so that the other order could
    deadlock on PostgreSQL. What a crash leaves out here, the sweeper does.
    """
    mine = ToolCall.objects.filter(run=str(run_id))
    calls.cancel(mine, actor)
    questions.cancel(run_id, actor)
    if not mine.filter(status__in=OPEN).exists():  # an approval may have come first: the sweep cancels it
        Run.objects.filter(pk=run_id).update(open_ends=False)


def wake_if_decided(run_id: str) -> None:
    """In the caller's transaction: a waiting run whose calls are all decided, and whose questions are answered, is due.

    The lock makes two decisions on two calls of one run see each other: the later one wakes it. It is taken whatever
    the run is doing: a worker that is just putting it to sleep has to see the decision, or be seen by it.
    """
    status = _locked_status(run_id)
    if status == RunStatus.QUARANTINED:
        _let_windows_run(run_id)
    if status != RunStatus.WAITING:
        return
    if not _WAKE(pk=run_id, calls_of=run_id):
        return
    calls.open_windows(run_id)
    enqueue_on_commit(run_id)


def _let_windows_run(run_id: str) -> None:
    """In the caller's transaction: what is approved lapses in its time, though the run was set aside."""
    if not _unsettled(run_id).exists() and not _open_questions(run_id).exists():
        calls.open_windows(run_id)


def _unsettled(run_id: Any) -> Any:
    return ToolCall.objects.filter(run=run_id, status__in=UNSETTLED)


def _open_questions(run_id: Any) -> Any:
    return Question.objects.filter(run_id=run_id, status=QuestionStatus.OPEN)


_WAKE = Update(
    lambda: Run.objects.filter(~Exists(_unsettled(_CALLS_OF)), ~Exists(_open_questions(_PK)), pk=_PK),
    status=RunStatus.QUEUED,
    due_at=Now(),
    attempts=0,
)


def _locked_status(run_id: str) -> str | None:
    """In the caller's transaction: where the run stands, until the commit."""
    status: str | None = _STATUS.first(pk=run_id)
    return status


_STATUS = Select(lambda: Run.objects.select_for_update().filter(pk=_PK).order_by().values_list("status"))


def put_back(call: ToolCall) -> None:
    """In the caller's transaction: a decision on this call of a run is undone, so the run waits again.

    A worker that has the run already finds the call pending when it comes to it. Raises TooLate where the model
    has been told what became of the call, or is about to be, or the run has ended.
    """
    status = _locked_status(call.run)
    told = Message.objects.filter(run_id=call.run, seq__gt=call.turn).exists()
    if told or (status == RunStatus.RUNNING and call.status == Status.DENIED):
        raise TooLate("It is too late to undo this: the agent has been told.")
    if status in (RunStatus.QUEUED, RunStatus.WAITING):
        Run.objects.filter(pk=call.run).update(status=RunStatus.WAITING)
        calls.close_windows(call.run)  # what was approved beside it waits with it
    elif status != RunStatus.RUNNING:
        raise TooLate("It is too late to undo this: the agent has gone on meanwhile.")


def require_active(run_id: str) -> None:
    """In the caller's transaction. Raises TooLate when the run has ended: nothing would take its calls up."""
    if _locked_status(run_id) not in ACTIVE:
        raise TooLate(
            "The agent's run has ended, so nothing can run again. Say what happened, or give it up."
        )


def sweep(limit: int = 200) -> int:
    """Enqueue what is due and unclaimed, and what a dead worker left. Returns how many."""
    late = Q(status=RunStatus.QUEUED, due_at__lt=Now() - settings.SWEEP_GRACE)
    dead = Q(status=RunStatus.RUNNING, lease_until__lt=Now())
    found = list(Run.objects.filter(late | dead).order_by("due_at").values_list("pk", flat=True)[:limit])
    # Other sweepers leave these alone for a while: a busy broker gets each of them once.
    Run.objects.filter(pk__in=found, status=RunStatus.QUEUED).update(due_at=Now())
    for run_id in found:
        enqueue(run_id)
    return len(found)


def sweep_ends(limit: int = 200) -> int:
    """Settle what ended runs left open: cancel what waits, call UNKNOWN what nobody records any more.

    Returns how many runs. A started call gets the time that its tool may take, and a lease on top.
    """
    longest = timedelta(seconds=max(tool.timeout for tool in catalogue().values()))
    over = Now() - settings.RUN_LEASE - longest
    found = list(Run.objects.filter(open_ends=True).values_list("pk", flat=True)[:limit])
    for run_id in found:
        for call in ToolCall.objects.filter(run=str(run_id), status=Status.STARTED, started_at__lt=over):
            calls.mark_unknown(call, Fault.WORKER_DIED)
        tie_up(run_id)
    return len(found)


def _mine(run: Run) -> Any:
    return _rows(**_held(run))


def _held(run: Run) -> dict[str, Any]:
    """What a worker has a run by."""
    return {"pk": run.pk, "epoch": run.epoch, "claim": run.claim}


def _rows(**held: Any) -> Any:
    return Run.objects.filter(**held, status=RunStatus.RUNNING)


def _held_rows() -> Any:
    return _rows(pk=_PK, epoch=Slot("epoch"), claim=Slot("claim"))


_BEAT = Update(_held_rows, lease_until=Now() + _LEASE)
_STEP = Update(_held_rows, lease_until=Now() + _LEASE, **_COSTS)
_STILL_MINE = Select(lambda: _held_rows().order_by().values_list("status"))


def _end_claim(run: Run, status: RunStatus, ending: Update, **values: Any) -> None:
    if not ending(**_held(run), status=status, steps=run.steps, **_cost(run), **values):
        raise LostClaim(STOPPED)
    run.status = status
    _ring(run)


def _ending(**changes: Any) -> Update:
    ended = {"status": Slot("status"), "lease_until": None, "attempts": 0, "steps": Slot("steps")}
    return Update(_held_rows, **ended, **_COSTS, **changes)


_WAIT = _ending(draft="")
_DONE = _ending(
    finished_at=Now(), draft="", open_ends=Exists(ToolCall.objects.filter(run=_CALLS_OF, status__in=OPEN))
)
_FAIL = _ending(finished_at=Now(), open_ends=True, error_code=Slot("code"), error=Slot("error"))
_SET_ASIDE = _ending(draft="", error_code="quarantined", error=Slot("error"))


def _ring(run: Run) -> None:
    events.ring(events.session_topic(str(run.session_id)), "changed")
