"""A stop: while a tool runs, while a worker dies, while others decide and clocks run out."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.conf import settings as nod
from django.core import mail
from django.db import connections
from django.db.models.functions import Now

from agents import driver
from agents.actions import conversations, runs
from agents.models import Run, Session
from agents.states import ACTIVE, RunStatus
from agents.tools.registry import catalogue
from approvals.actions import calls as call_actions
from approvals.actions import decisions
from approvals.errors import Refusal
from approvals.models import Decision, ToolCall
from approvals.states import Choice, Status
from tests.desk import (
    approve,
    asks,
    calls,
    chat,
    claim,
    deny,
    kinds,
    last_run,
    only_call,
    pending,
    ruling,
    say,
    statuses,
    work,
)
from tests.fakes.model import Use

ROUNDS = 12


def at_once(*steps):
    """Each step in a thread of its own, at the same moment; what each of them raised or returned."""
    gate = threading.Barrier(len(steps))

    def take(step):
        try:
            gate.wait(10)
            return step()
        except Exception as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(steps)) as pool:
        return list(pool.map(take, steps))


def only_refusals(ends):
    return [end for end in ends if isinstance(end, BaseException) and not isinstance(end, Refusal)] == []


# --- While a tool runs ---------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_the_next_message_calls_a_running_tool_unknown(transactional_db, model, alice, add_tool):
    """It runs on after the stop. A model that is told "cancelled" would do it again."""

    def slow() -> str:
        """Take a while; meanwhile the person stops it and writes again."""
        runs.stop(Run.objects.get(), "alice")
        conversations.post(Session.objects.get(), "Did you do it?")
        return "done"

    add_tool(slow)
    model.play(Use("slow", {}, id="u1"), "Never.", "I will check.")
    session = say(alice)
    driver.advance(str(last_run(session).pk))
    [asked] = session.messages.filter(role="user").order_by("-seq")[:1]
    [result] = [block["toolResult"] for block in asked.content if "toolResult" in block]
    assert result["content"][0]["text"].startswith("Unknown outcome")
    assert "Do not repeat it" in result["content"][0]["text"]
    assert "before this was done" not in str(asked.content)
    assert statuses(session) == [Status.SUCCEEDED], "what happened is recorded all the same"
    work()
    assert model.told()[0].startswith("Unknown outcome")
    assert last_run(session).status == RunStatus.DONE


@pytest.mark.django_db(transaction=True)
def test_it_closes_what_a_worker_records_after_the_stop(transactional_db, model, alice, add_tool):
    def slow() -> str:
        """Take a while; meanwhile the person stops it."""
        runs.stop(Run.objects.get(), "alice")
        assert Run.objects.get().open_ends
        return "done"

    add_tool(slow)
    model.play(Use("slow", {}), "Never.")
    session = chat(alice)
    assert statuses(session) == [Status.SUCCEEDED]
    assert last_run(session).open_ends
    assert runs.sweep_ends() == 1
    assert not last_run(session).open_ends
    assert runs.sweep_ends() == 0


# --- When the worker dies too --------------------------------------------------------------------------------
@pytest.fixture
def orphan(model, alice, rita):
    """A call that was running when its run was stopped; its worker is dead."""
    model.play(asks(), "I will check.")
    session = chat(alice)
    call = approve(pending(session), rita)
    run = claim(last_run(session))
    ToolCall.objects.update(status=Status.STARTED, epoch=run.epoch, started_at=Now())
    runs.stop(run, "alice")
    return call


def started_ago(call, **ago):
    ToolCall.objects.filter(pk=call.pk).update(started_at=Now() - timedelta(**ago))
    runs.sweep_ends()
    call.refresh_from_db()
    return call.status


def longest():
    return nod.RUN_LEASE.total_seconds() + max(tool.timeout for tool in catalogue().values())


def test_it_leaves_a_call_that_may_still_be_recorded(orphan):
    for seconds in (0, 1, longest() - 3):
        assert started_ago(orphan, seconds=seconds) == Status.STARTED
    assert Run.objects.get().open_ends


def test_it_waits_for_the_slowest_tool(orphan, add_tool):
    def patient() -> str:
        """Take an hour."""
        return "done"

    add_tool(patient, timeout=3600)
    assert started_ago(orphan, seconds=3600) == Status.STARTED
    assert started_ago(orphan, seconds=3700) == Status.UNKNOWN


def test_it_calls_unknown_what_nobody_records_any_more(orphan, model, alice):
    assert started_ago(orphan, seconds=longest() + 1) == Status.UNKNOWN
    assert "worker died" in orphan.why
    assert kinds(call=str(orphan.pk))[-1] == "call.unknown"
    run = Run.objects.get()
    assert (run.status, run.open_ends) == (RunStatus.STOPPED, False)
    assert runs.sweep_ends() == 0
    model.play("Somebody has to look.")
    chat(alice, "Did you send it?", run.session)
    assert model.told()[0].startswith("Unknown outcome")
    assert mail.outbox == []


def test_it_leaves_calls_of_active_runs(model, alice, rita):
    model.play([asks(subject="One"), asks(subject="Two")])
    session = chat(alice)
    approve(calls(session)[0], rita)
    assert runs.sweep_ends() == 0
    assert statuses(session) == [Status.APPROVED, Status.PENDING]


@pytest.mark.parametrize("end", ["stop", "fail"])
def test_it_cancels_what_a_crash_left_of_an_ended_run(model, alice, rita, monkeypatch, end):
    """The process died after the end of the run and before that of its calls."""
    model.play([asks(subject="One"), asks(subject="Two")], "Never.")
    session = chat(alice)
    approve(calls(session)[0], rita)
    if end == "stop":
        assert runs._stop(last_run(session), "alice", *ACTIVE)
    else:
        Run.objects.update(status=RunStatus.QUEUED)
        runs.fail(claim(last_run(session)), "broken", "It broke.")
    assert last_run(session).open_ends
    assert statuses(session) == [Status.APPROVED, Status.PENDING]
    assert runs.sweep_ends() == 1
    assert statuses(session) == [Status.CANCELLED] * 2
    assert kinds(kind="call.cancelled", actor=call_actions.SYSTEM) == ["call.cancelled"] * 2
    assert not last_run(session).open_ends
    assert work() == 0
    assert mail.outbox == []


def test_it_has_no_open_ends_after_a_stop(model, alice):
    model.play(asks())
    session = chat(alice)
    runs.stop(last_run(session), "alice")
    assert not last_run(session).open_ends
    assert statuses(session) == [Status.CANCELLED]


def test_it_comes_back_to_a_call_that_was_approved_during_the_stop(model, alice, rita, monkeypatch):
    """The stop read it as pending; the approval was there first. Nobody else would ever end it."""
    model.play(asks(), "Never.")
    session = chat(alice)
    call = pending(session)
    end_one = call_actions._end_one

    def after_the_approval(row, *args):
        monkeypatch.setattr(call_actions, "_end_one", end_one)
        approve(call, rita)
        return end_one(row, *args)

    monkeypatch.setattr(call_actions, "_end_one", after_the_approval)
    runs.stop(last_run(session), "alice")
    assert Decision.objects.exists()
    runs.sweep_ends()
    assert statuses(session) == [Status.CANCELLED]
    assert not last_run(session).open_ends
    assert mail.outbox == []


# --- Against decisions and clocks ----------------------------------------------------------------------------
def decides(call, by, choice):
    def step():
        decisions.decide(call.pk, by, ruling(call, choice, comment="Because."))

    return step


def settle(session):
    """What the sweeper does within seconds."""
    runs.sweep_ends()
    assert last_run(session).status == RunStatus.STOPPED
    assert not last_run(session).open_ends
    assert set(statuses(session)) <= {Status.CANCELLED, Status.DENIED, Status.EXPIRED}
    assert work() == 0


@pytest.mark.django_db(transaction=True)
def test_it_stops_while_siblings_are_decided(transactional_db, model, alice, rita, remy):
    """A decision locks its call and then the run: a stop that did it the other way round could deadlock."""
    for _ in range(ROUNDS):
        model.play([asks(subject=name) for name in "abcd"], "Never.")
        session = chat(alice)
        run, rows = last_run(session), calls(session)
        people = [rita, remy, rita, remy]
        choices = [Choice.APPROVE, Choice.DENY, Choice.TRUST, Choice.APPROVE]
        ends = at_once(
            lambda run=run: runs.stop(run, "alice"),
            *(decides(*each) for each in zip(rows, people, choices, strict=True)),
        )
        assert only_refusals(ends), ends
        assert ends[0] is True
        settle(session)
    assert mail.outbox == []


@pytest.mark.django_db(transaction=True)
def test_it_stops_while_calls_expire_and_are_decided(transactional_db, model, alice, rita, remy):
    for _ in range(ROUNDS):
        model.play([asks(subject=name) for name in "abc"], "Never.")
        session = chat(alice)
        run, rows = last_run(session), calls(session)
        ToolCall.objects.filter(pk__in=[rows[0].pk, rows[1].pk]).update(expires_at=Now())
        ends = at_once(
            lambda run=run: runs.stop(run, "alice"),
            call_actions.expire_due,
            call_actions.expire_due,
            decides(rows[1], rita, Choice.DENY),
            decides(rows[2], remy, Choice.APPROVE),
            runs.sweep_ends,
        )
        assert only_refusals(ends), ends
        settle(session)
    assert mail.outbox == []


@pytest.mark.django_db(transaction=True)
def test_it_expires_while_siblings_are_decided(transactional_db, model, alice, rita):
    """No stop: whoever settles the last call wakes the run, once."""
    for _ in range(ROUNDS):
        model.play([asks(subject=name) for name in "abc"], "Done.")
        session = chat(alice)
        rows = calls(session)
        ToolCall.objects.filter(pk__in=[rows[0].pk, rows[1].pk]).update(expires_at=Now())
        ends = at_once(
            call_actions.expire_due,
            call_actions.expire_due,
            decides(rows[0], rita, Choice.APPROVE),
            decides(rows[2], rita, Choice.DENY),
        )
        assert only_refusals(ends), ends
        call_actions.expire_due()
        run = last_run(session)
        assert run.status == RunStatus.QUEUED
        assert work() == 1
        assert last_run(session).status == RunStatus.DONE
        assert statuses(session) == [Status.EXPIRED, Status.EXPIRED, Status.DENIED]
    assert mail.outbox == []


@pytest.mark.django_db(transaction=True)
def test_it_denies_and_approves_siblings_at_once(transactional_db, model, alice, rita, remy):
    """Two last decisions: one of them wakes the run, and the approval's window is open."""
    for _ in range(ROUNDS):
        mail.outbox.clear()
        model.play([asks(subject="Yes"), asks(subject="No")], "Done.")
        session = chat(alice)
        yes, no = calls(session)
        ends = at_once(lambda yes=yes: approve(yes, rita) and None, lambda no=no: deny(no, remy) and None)
        assert ends == [None, None]
        assert only_call(session, status=Status.APPROVED).executable_until
        assert work() == 1
        assert [sent.subject for sent in mail.outbox] == ["Yes"]
