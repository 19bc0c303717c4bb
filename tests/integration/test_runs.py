"""Runs: claimed by one worker, taken over from a dead one, stopped, given up."""

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from celery import current_app
from django.conf import settings as nod
from django.core import mail
from django.db import connections, transaction
from django.db.models.functions import Now

from agents import driver, tasks, wakeups
from agents.actions import conversations, runs
from agents.errors import Busy
from agents.ledger import LedgerGate
from agents.models import Run
from agents.runtimes.port import ToolUse
from agents.states import RunStatus
from approvals.actions import calls as call_actions
from approvals.actions.verdicts import Request, examine
from approvals.errors import LostClaim
from approvals.models import ToolCall
from approvals.states import Fault, Status
from tests.desk import (
    MAIL,
    approve,
    asks,
    calls,
    chat,
    claim,
    deny,
    die,
    kinds,
    last_run,
    only_call,
    pass_by,
    pending,
    say,
    statuses,
    sweep,
    work,
)
from tests.fakes.model import Meanwhile, Use


@pytest.fixture
def queued(model, alice):
    return last_run(say(alice))


@pytest.fixture
def enqueued(monkeypatch):
    """The ids that workers are woken with."""
    woken = []
    monkeypatch.setattr(runs, "enqueue", lambda run_id: woken.append(str(run_id)))
    return woken


# --- Claims ------------------------------------------------------------------------------------------------
def test_it_is_claimed_once(queued):
    claimed = claim(queued)
    assert (claimed.status, claimed.epoch, claimed.attempts) == (RunStatus.RUNNING, 1, 1)
    assert runs.claim(queued.pk) is None
    queued.refresh_from_db()
    assert queued.epoch == 1


@pytest.mark.django_db(transaction=True)
def test_it_is_claimed_by_one_of_many(transactional_db, queued):
    """The same Celery message, eight times at once."""
    gate = threading.Barrier(8)

    def take(number):
        try:
            gate.wait(10)
            return runs.claim(queued.pk)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        claimed = [run for run in pool.map(take, range(8)) if run]
    assert [run.epoch for run in claimed] == [1]


def test_it_runs_nothing_for_a_message_that_comes_twice(model, alice):
    model.play(Use("get_weather", {}), "Fine.")
    session = chat(alice)
    driver.advance(str(last_run(session).pk))
    tasks.advance(str(last_run(session).pk))
    assert len(calls(session)) == 1
    assert len(model.heard) == 2


def test_it_does_not_wake_a_waiting_run(model, alice):
    model.play(asks())
    run = last_run(chat(alice))
    driver.advance(str(run.pk))
    run.refresh_from_db()
    assert (run.status, run.epoch) == (RunStatus.WAITING, 1)


def test_it_ignores_an_id_that_is_none(db):
    driver.advance("018f0000-0000-7000-8000-000000000000")
    assert not Run.objects.exists()


# --- Leases ------------------------------------------------------------------------------------------------
def test_it_is_taken_over_from_a_dead_worker(queued, model):
    first = claim(queued)
    die(first)
    second = claim(queued)
    assert (second.epoch, second.attempts) == (2, 2)
    assert not runs.still_mine(first)
    assert not runs.beat(first)
    assert runs.beat(second)


def test_it_lets_an_old_worker_write_nothing(queued):
    first = claim(queued)
    die(first)
    claim(queued)
    gate = LedgerGate(first, ("send_email", "get_weather"), first.session.messages.last())
    gate.hear({"role": "assistant", "content": [{"text": "I am late."}]})
    for write in (gate.pause, gate.finish):
        with pytest.raises(LostClaim):
            write({"some": "state"})
    with pytest.raises(LostClaim):
        gate.fail("late", "Too late.")
    with pytest.raises(LostClaim):
        gate._start(ToolUse("late", "get_weather", {"city": "Brno"}))
    assert not ToolCall.objects.exists()
    assert not runs.save_draft(first, "late")
    queued.refresh_from_db()
    assert (queued.status, queued.draft, queued.epoch) == (RunStatus.RUNNING, "", 2)
    assert queued.session.messages.count() == 1
    assert queued.session.state == {}


def test_it_keeps_the_lease_of_a_worker_that_lives(queued, enqueued):
    run = claim(queued)
    die(run)
    assert runs.beat(run)
    assert runs.claim(queued.pk) is None
    assert runs.sweep() == 0


def test_it_never_repeats_what_a_dead_worker_started(model, alice, rita):
    """The worker died between the start and the record of the effect."""
    model.play(asks(), "It went out.")
    session = chat(alice)
    approve(pending(session), rita)
    run = claim(last_run(session))
    started = call_actions.start_approved(
        only_call(session), _request(session, run, only_call(session)), run.epoch
    )
    assert started.status == Status.STARTED
    die(run)
    driver.advance(str(run.pk))
    call = only_call(session)
    assert (call.status, call.fault, mail.outbox) == (Status.UNKNOWN, Fault.WORKER_DIED, [])
    assert "died" in call.why
    assert last_run(session).status == RunStatus.WAITING, "a person has to look"
    assert kinds(call=str(call.pk))[-2:] == ["call.started", "call.unknown"]
    assert work() == 0
    with pytest.raises(LostClaim):
        call_actions.record(started, succeeded=True, result=[{"text": "late"}])
    call.refresh_from_db()
    assert (call.status, call.result) == (Status.UNKNOWN, None)


def _request(session, run, call):
    gate = LedgerGate(run, (call.tool,), session.messages.last())
    from agents.runtimes.port import ToolUse

    return gate._request(ToolUse(call.tool_use_id, call.tool, call.arguments))


def test_it_runs_what_was_approved_but_not_started(model, alice, rita):
    """The worker died between the decision and the start: nothing happened yet, so it happens now."""
    model.play(asks(), "Sent.")
    session = chat(alice)
    approve(pending(session), rita)
    die(claim(last_run(session)))
    driver.advance(str(last_run(session).pk))
    assert statuses(session) == [Status.SUCCEEDED]
    assert len(mail.outbox) == 1


def test_it_is_given_up_after_so_many_attempts(queued, settings, enqueued):
    settings.RUN_MAX_ATTEMPTS = 3
    for _ in range(3):
        die(claim(queued))
    assert runs.claim(queued.pk) is None
    queued.refresh_from_db()
    assert (queued.status, queued.error_code) == (RunStatus.QUARANTINED, "quarantined")
    assert "3 times" in queued.error
    assert runs.sweep() == 0
    assert kinds(session=str(queued.session_id)) == ["run.quarantined"]


@pytest.fixture
def set_aside(model, alice, rita, settings):
    """A run with an approved call that killed its worker too often."""
    settings.RUN_MAX_ATTEMPTS = 1
    model.play(asks(), "It went out.")
    session = chat(alice)
    approve(pending(session), rita)
    die(claim(last_run(session)))
    assert runs.claim(last_run(session).pk) is None
    assert statuses(session) == [Status.APPROVED]
    assert work() == 0
    return session


def test_it_lets_an_administrator_try_a_run_again(set_aside):
    run = last_run(set_aside)
    assert runs.release_from_quarantine(run, "admin")
    assert not runs.release_from_quarantine(run, "admin")
    work()
    assert statuses(set_aside) == [Status.SUCCEEDED]
    assert len(mail.outbox) == 1
    assert kinds(kind__startswith="run.") == ["run.quarantined", "run.released"]


def test_it_stops_a_run_that_was_set_aside(set_aside):
    assert runs.stop(last_run(set_aside), "alice")
    assert statuses(set_aside) == [Status.CANCELLED]
    assert not runs.release_from_quarantine(last_run(set_aside), "admin")
    work()
    assert mail.outbox == []


def test_an_approval_lapses_in_its_time_though_the_run_is_set_aside(model, alice, rita, settings):
    """Also one that came while a worker had the run, or after: nobody approves for whenever an administrator comes."""
    settings.RUN_MAX_ATTEMPTS = 1
    model.play([asks(), asks(to="late@example.com")], "Done.")
    session = chat(alice)
    first, second = calls(session)
    run = last_run(session)
    Run.objects.filter(pk=run.pk).update(status=RunStatus.QUEUED)
    run = claim(run)
    approve(first, rita)
    die(run)
    assert runs.claim(run.pk) is None
    assert not calls(session, executable_until__isnull=False), "the other one is still to be decided"
    approve(second, rita)
    assert len(calls(session, executable_until__isnull=False)) == 2
    pass_by(ToolCall.objects, "executable_until")
    sweep()
    assert statuses(session) == [Status.LAPSED] * 2


def test_an_approval_that_came_before_a_run_was_set_aside_lapses_too(model, alice, rita, settings):
    settings.RUN_MAX_ATTEMPTS = 1
    model.play(asks(), "Done.")
    session = chat(alice)
    Run.objects.update(status=RunStatus.QUEUED)
    run = claim(last_run(session))
    approve(pending(session), rita)
    assert not calls(session, executable_until__isnull=False)
    die(run)
    assert runs.claim(run.pk) is None
    assert calls(session, executable_until__isnull=False)


def test_it_takes_no_message_while_a_run_is_set_aside(set_aside, alice):
    with pytest.raises(Busy):
        say(alice, "Hello?", set_aside)


def test_it_counts_attempts_anew_after_progress(model, alice, rita):
    model.play(asks(), "Sent.")
    session = chat(alice)
    Run.objects.update(attempts=4)
    approve(pending(session), rita)
    assert last_run(session).attempts == 0


# --- The sweeper -------------------------------------------------------------------------------------------
def test_it_finds_what_the_broker_forgot(queued, enqueued):
    assert runs.sweep() == 0, "the message may still be on its way"
    pass_by(Run.objects, "due_at")
    Run.objects.update(due_at=Now() - nod.SWEEP_GRACE * 2)
    assert runs.sweep() == 1
    assert enqueued == [str(queued.pk)]


def test_it_finds_what_a_dead_worker_left(queued, enqueued):
    run = claim(queued)
    assert runs.sweep() == 0
    die(run)
    assert runs.sweep() == 1
    assert enqueued == [str(run.pk)]


def test_it_leaves_waiting_runs_alone(model, alice, enqueued):
    model.play(asks())
    chat(alice)
    Run.objects.update(due_at=Now() - nod.SWEEP_GRACE * 100)
    assert runs.sweep() == 0


def test_what_waits_holds_no_thread(model, alice):
    def threads():
        """Without the one that sends doorbells: the first answer that is slow enough to be streamed starts it."""
        return [each.name for each in threading.enumerate() if each.name != "nod-doorbells"]

    model.play(*[asks()] * 6)
    chat(alice)  # what the first run of a process starts once
    before = threads()
    for _ in range(5):
        pending(chat(alice))
    gc.collect()  # an executor's thread ends once nobody has the executor any more, and takes its moment
    soon = time.monotonic() + 10
    while len(threads()) > len(before) and time.monotonic() < soon:
        time.sleep(0.01)
    assert len(threads()) <= len(before), (threads(), before)


def test_it_expires_what_nobody_decided(model, alice):
    model.play(asks(), "Nobody answered.")
    session = chat(alice)
    assert call_actions.expire_due() == 0
    pass_by(ToolCall.objects, "expires_at")
    sweep()
    assert statuses(session) == [Status.EXPIRED]
    assert kinds(call=str(only_call(session).pk))[-1] == "call.expired"
    assert work() == 1, "the run goes on"
    assert "nobody decided" in model.told()[0]
    assert mail.outbox == []


def test_it_lapses_what_nobody_started(model, alice, rita):
    model.play([asks(subject="One"), asks(subject="Two")], "Too late.")
    session = chat(alice)
    one, two = calls(session)
    approve(one, rita)
    pass_by(ToolCall.objects.filter(pk=one.pk), "executable_until")
    assert call_actions.expire_due() == 1
    assert statuses(session) == [Status.LAPSED, Status.PENDING]
    assert kinds(call=str(one.pk))[-1] == "call.lapsed"
    deny(two, rita)
    work()
    assert mail.outbox == []


def test_it_expires_or_decides_but_not_both(model, alice, rita):
    model.play(asks())
    call = pending(chat(alice))
    approve(call, rita)
    pass_by(ToolCall.objects, "expires_at")
    assert call_actions.expire_due() == 0
    call.refresh_from_db()
    assert call.status == Status.APPROVED


def test_a_decision_wins_over_a_sweeper_that_has_read_the_call_as_due(model, alice, rita, monkeypatch):
    model.play(asks())
    call = pending(chat(alice))
    pass_by(ToolCall.objects, "expires_at")
    end = call_actions._end_one
    ended = []

    def decided_first(found, *args):
        ToolCall.objects.filter(pk=found.pk).update(expires_at=Now() + timedelta(hours=1))
        approve(call, rita)
        pass_by(ToolCall.objects, "expires_at")
        ended.append(end(found, *args))
        return ended[-1]

    monkeypatch.setattr(call_actions, "_end_one", decided_first)
    call_actions.expire_due()
    call.refresh_from_db()
    assert (ended, call.status) == ([False], Status.APPROVED)
    assert "call.expired" not in kinds(call=str(call.pk))


def test_it_expires_nothing_when_the_audit_trail_cannot_be_written(model, alice, monkeypatch):
    model.play(asks())
    session = chat(alice)
    pass_by(ToolCall.objects, "expires_at")

    def broken(*args):
        raise OSError("the disk is full")

    monkeypatch.setattr("approvals.audit.write", broken)
    with pytest.raises(OSError, match="full"):
        call_actions.expire_due()
    assert statuses(session) == [Status.PENDING]
    assert last_run(session).status == RunStatus.WAITING


# --- Wake-ups ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("decide", [approve, deny], ids=["approve", "deny"])
def test_it_is_woken_once_by_the_last_decision(
    model, alice, rita, enqueued, decide, django_capture_on_commit_callbacks
):
    model.play([asks(subject="One"), asks(subject="Two")])
    session = chat(alice)
    with django_capture_on_commit_callbacks(execute=True):
        decide(calls(session)[0], rita)
    assert enqueued == []
    with django_capture_on_commit_callbacks(execute=True):
        decide(calls(session)[1], rita)
    assert enqueued == [str(last_run(session).pk)]


def test_it_survives_a_broker_that_is_down(
    model, alice, caplog, monkeypatch, django_capture_on_commit_callbacks
):
    tried = threading.Semaphore(0)

    def down(*args, **kwargs):
        tried.release()
        raise ConnectionRefusedError("no broker")

    monkeypatch.setattr(wakeups, "_current", None)
    monkeypatch.setattr(current_app, "send_task", down)
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            session = say(alice)
    assert last_run(session).status == RunStatus.QUEUED
    assert tried.acquire(timeout=10) and tried.acquire(timeout=10)
    lines = [record for record in caplog.records if record.name == "nod.wakeups"]
    assert len(lines) == 1, "one line, not a flood"


def test_it_never_waits_for_a_broker_that_hangs(
    model, alice, monkeypatch, django_capture_on_commit_callbacks
):
    hangs = threading.Event()
    monkeypatch.setattr(wakeups, "_current", None)
    monkeypatch.setattr(current_app, "send_task", lambda *args, **kwargs: hangs.wait(30))
    try:
        for _ in range(3):
            with django_capture_on_commit_callbacks(execute=True):
                session = say(alice)
        assert not hangs.is_set()
        assert last_run(session).status == RunStatus.QUEUED
    finally:
        hangs.set()


# --- Stop --------------------------------------------------------------------------------------------------
def test_it_stops_a_waiting_run(model, alice):
    model.play([asks(subject="One"), asks(subject="Two")])
    session = chat(alice)
    assert runs.stop(last_run(session), "alice")
    run = last_run(session)
    assert (run.status, run.lease_until) == (RunStatus.STOPPED, None)
    assert run.finished_at
    assert statuses(session) == [Status.CANCELLED] * 2
    assert kinds(kind="call.cancelled", actor="alice") == ["call.cancelled"] * 2
    assert work() == 0


def test_it_stops_what_was_approved_but_not_started(model, alice, rita):
    model.play(asks())
    session = chat(alice)
    approve(pending(session), rita)
    runs.stop(last_run(session), "alice")
    assert work() == 0
    assert statuses(session) == [Status.CANCELLED]
    assert mail.outbox == []


def test_it_stops_a_queued_run(queued):
    assert runs.stop(queued, "alice")
    assert runs.claim(queued.pk) is None
    queued.refresh_from_db()
    assert queued.status == RunStatus.STOPPED


def test_it_stops_a_running_run(model, alice):
    session = say(alice)
    model.play(Use("get_weather", {}), [Meanwhile(lambda: runs.stop(last_run(session), "alice")), "Never."])
    work()
    run = last_run(session)
    assert (run.status, run.draft) == (RunStatus.STOPPED, "")
    assert statuses(session) == [Status.SUCCEEDED]
    assert "Never." not in str(list(session.messages.values_list("content", flat=True)))


def test_it_stops_once(queued):
    assert runs.stop(queued, "alice")
    assert not runs.stop(queued, "alice")


def test_it_leaves_a_finished_run_finished(model, alice):
    model.play("Hi.")
    run = last_run(chat(alice))
    assert not runs.stop(run, "alice")
    run.refresh_from_db()
    assert run.status == RunStatus.DONE


def test_it_takes_new_messages_after_a_stop(model, alice):
    session = say(alice)
    runs.stop(last_run(session), "alice")
    model.play("Hello again.")
    chat(alice, "Still there?", session)
    assert last_run(session).status == RunStatus.DONE


# --- Retry -------------------------------------------------------------------------------------------------
def test_it_retries_only_what_has_ended(model, alice):
    session = conversations.begin(alice, "assistant")
    with pytest.raises(Busy):
        conversations.retry(session)
    conversations.post(session, "Hello.")
    with pytest.raises(Busy):
        conversations.retry(session)


@pytest.mark.parametrize("status", [RunStatus.STOPPED, RunStatus.FAILED])
def test_it_retries_after_a_failure_or_a_stop_in_a_tool_turn(model, alice, status):
    model.play(asks())
    session = chat(alice)
    runs.stop(last_run(session), "alice")
    Run.objects.update(status=status)
    conversations.retry(session)
    model.play("Then not.")
    work()
    assert "Cancelled" in model.told()[0]
    assert [message.role for message in session.messages.all()] == ["user", "assistant", "user", "assistant"]


# --- Drafts ------------------------------------------------------------------------------------------------
def test_it_saves_what_is_being_written(model, alice, monkeypatch):
    """A page that reloads in the middle of an answer sees what there is."""
    monkeypatch.setattr(driver, "DRAFT_EVERY", 0)
    drafts = []
    session = say(alice)
    look = Meanwhile(lambda: drafts.append(last_run(session).draft))
    model.play(["One, ", look, "two \0 \ud800, ", look, "three."])
    work()
    assert drafts == ["One, ", "One, two \ufffd \ufffd, "]
    assert last_run(session).draft == ""


def test_it_notices_a_stop_at_a_draft(model, alice, monkeypatch):
    monkeypatch.setattr(driver, "DRAFT_EVERY", 0)
    session = say(alice)
    model.play(["One, ", Meanwhile(lambda: runs.stop(last_run(session), "alice")), "two, ", "three."])
    work()
    assert last_run(session).status == RunStatus.STOPPED
    assert session.messages.count() == 1


def test_it_retries_nothing_that_is_done(model, alice):
    model.play("Hi.")
    session = chat(alice)
    with pytest.raises(Busy, match="nothing to try again"):
        conversations.retry(session)
    assert session.runs.count() == 1


def open_windows(**filters):
    """How many approvals may be used now."""
    approved = ToolCall.objects.filter(status=Status.APPROVED, executable_until__gt=Now())
    return approved.filter(**filters).count()


# --- Windows -----------------------------------------------------------------------------------------------
def test_its_windows_open_with_the_last_decision(model, alice, rita):
    """An approval that waits for its sibling is as good after an hour as at once."""
    model.play([asks(subject="One"), asks(subject="Two")], "Done.")
    session = chat(alice)
    one, two = calls(session)
    approve(one, rita)
    one.refresh_from_db()
    assert (one.status, one.executable_until) == (Status.APPROVED, None)
    ToolCall.objects.filter(pk=one.pk).update(decided_at=Now() - timedelta(hours=9))
    assert call_actions.expire_due() == 0
    approve(two, rita)
    assert open_windows(executable_until__gt=Now() + timedelta(minutes=14)) == 2
    assert work() == 1
    assert statuses(session) == [Status.SUCCEEDED] * 2
    assert len(mail.outbox) == 2


@pytest.mark.parametrize("last", ["deny", "expire"])
def test_its_windows_open_however_the_last_one_ends(model, alice, rita, last):
    model.play([asks(subject="One"), asks(subject="Two")], "Done.")
    session = chat(alice)
    one, two = calls(session)
    approve(one, rita)
    if last == "deny":
        deny(two, rita)
    else:
        pass_by(ToolCall.objects.filter(pk=two.pk), "expires_at")
        assert call_actions.expire_due() == 1
    assert open_windows(pk=one.pk) == 1


def test_an_approval_that_nobody_used_lapses(model, alice, rita):
    """No worker came within its window."""
    model.play([asks(subject="One"), asks(subject="Two")], "I see.")
    session = chat(alice)
    for call in calls(session):
        approve(call, rita)
    pass_by(ToolCall.objects, "executable_until")
    assert call_actions.expire_due() == 2
    assert statuses(session) == [Status.LAPSED] * 2
    assert kinds(kind="call.lapsed", actor="system") == ["call.lapsed"] * 2
    work()
    assert mail.outbox == []
    assert last_run(session).status == RunStatus.DONE
    assert "not used in time" in model.told()[0]


def test_a_call_without_a_run_opens_its_window_at_the_decision(alice, rita, desk):
    """An agent that runs elsewhere asks for one call."""
    request = Request(
        session="elsewhere", tool_use_id="u1", tool="send_email", arguments=MAIL, requested_by=alice.pk
    )
    with transaction.atomic():
        call_actions.ask([examine(request)])
    approved = approve(ToolCall.objects.get(), rita)
    assert open_windows(pk=approved.pk) == 1
    pass_by(ToolCall.objects, "executable_until")
    assert call_actions.expire_due() == 1
    approved.refresh_from_db()
    assert approved.status == Status.LAPSED
