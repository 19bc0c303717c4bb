"""Calls whose outcome nobody knows, and decisions that are taken back."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.core import mail
from django.db.models.functions import Now

from agents import driver
from agents.actions import runs
from agents.models import Run
from agents.states import RunStatus
from agents.tools.registry import idempotency_key
from approvals.actions import calls as call_actions
from approvals.actions import decisions, undoing
from approvals.actions import trust as trust_actions
from approvals.errors import (
    AlreadyDecided,
    CommentRequired,
    NotAReviewer,
    NotFound,
    SelfApproval,
    Stale,
    TooEarly,
    TooLate,
)
from approvals.models import AuditEntry, Decision, Tool, ToolCall, ToolPolicy, TrustGrant
from approvals.permissions import CHAT_USERS
from approvals.policy import REVIEWERS
from approvals.states import Choice, Fault, Outcome, Status
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
    pending,
    settle,
    statuses,
    trust,
    work,
)
from tests.fakes.model import Use


def start_and_die(session):
    """A worker claims the run and its approved calls, and dies before the effect is known."""
    run = claim(last_run(session))
    for call in calls(session, status=Status.APPROVED):
        ToolCall.objects.filter(pk=call.pk).update(status=Status.STARTED, epoch=run.epoch)
    die(run)
    driver.advance(str(run.pk))


@pytest.fixture
def unknown(model, alice, rita):
    model.play(asks(), "As you say.")
    session = chat(alice)
    approve(pending(session), rita)
    start_and_die(session)
    return only_call(session, status=Status.UNKNOWN)


def run_of(call):
    return Run.objects.get(pk=call.run)


# --- Settling ------------------------------------------------------------------------------------------
def test_it_waits_for_a_person(unknown):
    assert run_of(unknown).status == RunStatus.WAITING
    assert unknown.fault == Fault.WORKER_DIED
    assert work() == 0
    assert runs.sweep() == 0


def test_it_happened(unknown, rita, model):
    settle(unknown, rita, Outcome.HAPPENED, "It is in the sent folder.")
    work()
    unknown.refresh_from_db()
    assert unknown.status == Status.SUCCEEDED
    assert mail.outbox == []
    assert "rita checked: it happened. It is in the sent folder." in model.told()[0]
    assert run_of(unknown).status == RunStatus.DONE
    assert kinds(call=str(unknown.pk))[-2:] == ["call.unknown", "call.settled"]


def test_it_runs_again(unknown, rita, model):
    settle(unknown, rita, Outcome.RUN_AGAIN, "")
    work()
    unknown.refresh_from_db()
    assert unknown.status == Status.SUCCEEDED
    assert [(one.to, one.body) for one in mail.outbox] == [(["dev@example.com"], "On Thursday.")]
    assert run_of(unknown).status == RunStatus.DONE
    assert [one.by.username for one in Decision.objects.order_by("pk")] == ["rita", "rita"]
    assert kinds(call=str(unknown.pk))[-5:] == [
        "decision.made",
        "call.approved",
        "call.settled",
        "call.started",
        "call.succeeded",
    ]


def test_it_is_given_up(unknown, rita, model):
    settle(unknown, rita, Outcome.GIVE_UP, "Nobody can tell.")
    work()
    unknown.refresh_from_db()
    assert unknown.status == Status.FAILED
    assert mail.outbox == []
    assert "gave it up" in model.told()[0]
    assert "Do not try it again" in model.told()[0]


@pytest.mark.parametrize("outcome", [Outcome.HAPPENED, Outcome.GIVE_UP])
def test_it_wants_a_note(unknown, rita, outcome):
    with pytest.raises(CommentRequired):
        settle(unknown, rita, outcome, " \u200b ")
    unknown.refresh_from_db()
    assert unknown.status == Status.UNKNOWN


def test_it_is_settled_once(unknown, rita, remy):
    settle(unknown, rita, Outcome.HAPPENED)
    with pytest.raises(AlreadyDecided, match="rita settled this before you") as caught:
        settle(unknown, remy, Outcome.RUN_AGAIN)
    assert caught.value.extra["decided_by"] == "rita"
    work()
    assert mail.outbox == []


def test_it_is_not_run_again_while_it_may_still_be_running(unknown, rita, settings):
    """A worker that stood still may wake up in the middle of the tool."""
    patience = timedelta(seconds=Tool.objects.get(name="send_email").timeout) + settings.EFFECT_GRACE
    started = ToolCall.objects.filter(pk=unknown.pk)
    started.update(started_at=Now() - patience + timedelta(seconds=5))
    with pytest.raises(TooEarly, match="It may still be running"):
        settle(unknown, rita, Outcome.RUN_AGAIN)
    assert only_status(unknown) == Status.UNKNOWN
    started.update(started_at=Now() - patience - timedelta(seconds=1))
    settle(unknown, rita, Outcome.RUN_AGAIN)
    assert only_status(unknown) == Status.APPROVED


def only_status(call):
    return ToolCall.objects.values_list("status", flat=True).get(pk=call.pk)


def test_it_is_settled_as_it_was_seen(unknown, rita):
    unknown.version -= 1
    with pytest.raises(Stale):
        settle(unknown, rita, Outcome.RUN_AGAIN)


def test_it_is_settled_by_those_who_may_decide(unknown, alice, bob):
    with pytest.raises(NotFound):
        settle(unknown, bob, Outcome.RUN_AGAIN)
    with pytest.raises(NotAReviewer):
        settle(unknown, alice, Outcome.RUN_AGAIN)
    refused = AuditEntry.objects.filter(kind="decision.refused", call=str(unknown.pk)).order_by("seq")
    assert [(entry.actor, entry.data["code"]) for entry in refused] == [
        ("bob", "not_found"),
        ("alice", "not_a_reviewer"),
    ]


def test_who_may_not_undo_is_written_down(model, alice, rita):
    model.play(asks(), "As you say.")
    session = chat(alice)
    approve(pending(session), rita)
    call = only_call(session)
    with pytest.raises(NotAReviewer):
        undoing.undo(call.pk, alice, call.version)
    refused = AuditEntry.objects.get(kind="decision.refused")
    assert (refused.actor, refused.data["choice"]) == ("alice", "undo")


def test_it_is_not_settled_by_who_asked_for_it(model, rita, remy):
    rita.groups.add(Group.objects.get(name=CHAT_USERS))
    model.play(asks(), "As you say.")
    session = chat(rita)
    approve(pending(session), remy)
    start_and_die(session)
    with pytest.raises(SelfApproval):
        settle(only_call(session), rita, Outcome.RUN_AGAIN)


def test_it_settles_an_allowed_call_too(model, alice, rita, add_tool):
    sent = []

    def ping(to: str) -> str:
        """Send a sign of life.

        Args:
            to: Where to.
        """
        sent.append(to)
        return "pong"

    add_tool(ping)
    model.play(Use("ping", {"to": "here"}), "Done.")
    session = chat(alice)
    assert sent == ["here"]
    ToolCall.objects.update(status=Status.STARTED, finished_at=None)
    call = only_call(session)
    call_actions.mark_unknown(call, Fault.WORKER_DIED)
    settle(only_call(session), rita, Outcome.HAPPENED)
    assert statuses(session) == [Status.SUCCEEDED]


def test_it_runs_nothing_again_for_a_run_that_has_ended(unknown, rita):
    runs.stop(run_of(unknown), "alice")
    with pytest.raises(TooLate):
        settle(unknown, rita, Outcome.RUN_AGAIN)
    unknown.refresh_from_db()
    assert unknown.status == Status.UNKNOWN
    assert Decision.objects.count() == 1
    settle(unknown, rita, Outcome.HAPPENED)


def test_it_heeds_a_block_when_it_runs_again(unknown, rita):
    settle(unknown, rita, Outcome.RUN_AGAIN)
    ToolPolicy.objects.create(name="Stop the mail", tool="*", effect="block")
    work()
    unknown.refresh_from_db()
    assert (unknown.status, unknown.fault, mail.outbox) == (Status.LAPSED, Fault.BLOCKED, [])


def test_siblings_wait_for_the_unknown_one(model, alice, rita):
    model.play([asks(to="a@example.com"), asks(to="b@example.com")], "Both.")
    session = chat(alice)
    for call in calls(session):
        approve(call, rita)
    start_and_die(session)
    first, second = calls(session)
    settle(first, rita, Outcome.RUN_AGAIN)
    assert work() == 0
    settle(second, rita, Outcome.HAPPENED)
    work()
    assert [one.to for one in mail.outbox] == [["a@example.com"]]
    assert last_run(session).status == RunStatus.DONE


# --- What may be repeated ---------------------------------------------------------------------------------
@pytest.fixture
def keys(model, alice, add_tool):
    """The keys with which an idempotent tool ran. Its worker has died before the result was stored."""
    found = []

    def put(value: str) -> str:
        """Put.

        Args:
            value: What.
        """
        found.append(idempotency_key())
        return "put"

    add_tool(put, idempotent=True)
    model.play(Use("put", {"value": "x"}), "Done.")
    session = chat(alice)
    call = only_call(session)
    ToolCall.objects.filter(pk=call.pk).update(status=Status.STARTED, finished_at=None, result=None)
    Run.objects.filter(pk=call.run).update(status=RunStatus.RUNNING, attempts=1, epoch=call.epoch)
    session.messages.filter(seq__gt=call.turn).delete()
    die(run_of(call))
    model.play("Done.")
    return found


def test_it_starts_an_idempotent_call_again_with_the_same_key(keys):
    call = ToolCall.objects.get()
    driver.advance(call.run)
    call.refresh_from_db()
    assert call.status == Status.SUCCEEDED
    assert keys == [call.pk.hex] * 2
    assert kinds(call=str(call.pk), kind="call.started") == ["call.started"] * 2


def test_it_does_not_start_again_what_is_idempotent_no_more(keys, monkeypatch):
    """An administrator takes it back between the claim of the run and the start of the call."""
    call = ToolCall.objects.get()

    def take_back(point, session):
        if point == "claimed":
            Tool.objects.filter(name="put").update(idempotent=False)

    monkeypatch.setattr(driver, "reach", take_back)
    driver.advance(call.run)
    call.refresh_from_db()
    assert (call.status, call.fault, len(keys)) == (Status.UNKNOWN, Fault.WORKER_DIED, 1)


# --- Undo -------------------------------------------------------------------------------------------------
@pytest.fixture
def two(model, alice):
    model.play([asks(to="a@example.com"), asks(to="b@example.com")], "Done.")
    return chat(alice)


@pytest.mark.parametrize("choice", [Choice.APPROVE, Choice.DENY, Choice.TRUST])
def test_it_undoes_a_decision(two, rita, remy, choice):
    first, second = calls(two)
    decided = decisions.decide(
        first.pk, rita, decisions.Ruling(choice, first.version, first.digest, comment="Because.")
    )
    undoing.undo(first.pk, rita, decided.version)
    first.refresh_from_db()
    assert (first.status, first.decided_at, first.version) == (Status.PENDING, None, 3)
    assert first.decision() is None
    assert not TrustGrant.objects.filter(TrustGrant.live()).exists()
    deny(first, remy)
    approve(second, remy)
    work()
    assert [one.to for one in mail.outbox] == [["b@example.com"]]
    assert "decision.undone" in kinds(call=str(first.pk))


def test_it_takes_an_edit_back_too(two, rita):
    first = calls(two)[0]
    decided = approve(first, rita, arguments={**MAIL, "to": "c@example.com"})
    assert decided.arguments["to"] == "c@example.com"
    undone = undoing.undo(first.pk, rita, decided.version)
    assert (undone.arguments, undone.proposed, undone.digest) == (first.arguments, None, first.digest)


def test_it_undoes_before_a_worker_has_come(model, alice, rita):
    model.play(asks(), "Done.")
    session = chat(alice)
    decided = approve(pending(session), rita)
    assert last_run(session).status == RunStatus.QUEUED
    undoing.undo(decided.pk, rita, decided.version)
    assert last_run(session).status == RunStatus.WAITING
    assert work() == 0
    approve(pending(session), rita)
    work()
    assert len(mail.outbox) == 1


def test_it_undoes_while_a_worker_has_the_run(model, alice, rita, monkeypatch):
    """The worker has claimed the run; it comes to the call after the undo."""
    model.play(asks(), "Done.")
    session = chat(alice)
    decided = approve(pending(session), rita)
    prepare = driver._prepare

    def undone_meanwhile(run):
        prepared = prepare(run)
        undoing.undo(decided.pk, rita, decided.version)
        return prepared

    monkeypatch.setattr(driver, "_prepare", undone_meanwhile)
    driver.advance(str(last_run(session).pk))
    assert mail.outbox == []
    assert (last_run(session).status, statuses(session)) == (RunStatus.WAITING, [Status.PENDING])


def test_it_does_not_undo_what_has_run(model, alice, rita):
    model.play(asks(), "Done.")
    session = chat(alice)
    decided = approve(pending(session), rita)
    work()
    with pytest.raises(TooLate):
        undoing.undo(decided.pk, rita, decided.version)
    assert statuses(session) == [Status.SUCCEEDED]


def test_it_does_not_undo_a_denial_the_model_has_heard_of(model, alice, rita):
    model.play(asks(), "Well then.")
    session = chat(alice)
    denied = deny(pending(session), rita)
    work()
    with pytest.raises(TooLate):
        undoing.undo(denied.pk, rita, denied.version)
    assert statuses(session) == [Status.DENIED]


def test_it_does_not_undo_a_denial_that_a_worker_is_about_to_tell(model, alice, rita, monkeypatch):
    model.play(asks(), "Well then.")
    session = chat(alice)
    denied = deny(pending(session), rita)
    prepare = driver._prepare

    def undo_meanwhile(run):
        with pytest.raises(TooLate, match="has been told"):
            undoing.undo(denied.pk, rita, denied.version)
        return prepare(run)

    monkeypatch.setattr(driver, "_prepare", undo_meanwhile)
    work()
    assert statuses(session) == [Status.DENIED]
    assert last_run(session).status == RunStatus.DONE


def test_it_does_not_undo_a_denial_of_an_earlier_turn(model, alice, rita):
    model.play(asks(), asks(subject="Then this?"), "Done.")
    session = chat(alice)
    denied = deny(pending(session), rita)
    work()
    with pytest.raises(TooLate, match="has been told"):
        undoing.undo(denied.pk, rita, denied.version)
    assert statuses(session) == [Status.DENIED, Status.PENDING]


def test_it_runs_again_though_the_trust_was_revoked_that_started_it(model, alice, rita):
    """The person who says so decides anew."""
    model.play(asks(), "Sent.", asks(subject="Again"), "Done.")
    session = chat(alice)
    trust(pending(session), rita)
    work()
    chat(alice, "Again.", session)
    call = calls(session)[1]
    assert call.trust_id
    ToolCall.objects.filter(pk=call.pk).update(
        status=Status.UNKNOWN, groups=f"|{REVIEWERS}|", version=2, finished_at=None, result=None
    )
    Run.objects.filter(pk=call.run).update(status=RunStatus.WAITING)
    session.messages.filter(seq__gt=call.turn).delete()
    trust_actions.revoke(call.trust_id, session.key, rita)
    call.refresh_from_db()
    ToolCall.objects.filter(pk=call.pk).update(started_at=Now() - timedelta(hours=1))
    settle(call, rita, Outcome.RUN_AGAIN)
    model.play("Done.")
    work()
    assert statuses(session) == [Status.SUCCEEDED] * 2
    assert len(mail.outbox) == 3


def test_it_undoes_no_decision_of_others(two, rita, remy):
    decided = approve(calls(two)[0], rita)
    with pytest.raises(TooLate, match="Only rita"):
        undoing.undo(decided.pk, remy, decided.version)


def test_it_undoes_only_what_was_seen(two, rita):
    decided = approve(calls(two)[0], rita)
    with pytest.raises(TooLate):
        undoing.undo(decided.pk, rita, decided.version - 1)
