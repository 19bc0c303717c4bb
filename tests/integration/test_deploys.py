"""The tools, the agent or the database change while a run is under way: what is in the ledger stays true."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core import mail
from django.db import (
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    connection,
    connections,
    transaction,
)
from django.db.models.functions import Now

from agents import driver, ledger
from agents.actions import conversations, runs
from agents.models import Run
from agents.states import RunStatus
from agents.tools import registry
from approvals.actions import undoing
from approvals.models import Tool, ToolCall, ToolPolicy, TrustGrant
from approvals.states import Effect, Fault, Outcome, Status
from tests.desk import (
    PAST,
    approve,
    asks,
    calls,
    chat,
    claim,
    die,
    last_run,
    pending,
    settle,
    statuses,
    trust,
    work,
)
from tests.fakes.model import Use


@pytest.fixture
def ran(add_tool):
    """What the tool `put` was called with, an allowed tool with an effect."""
    found = []

    def put(value: str) -> str:
        """Put.

        Args:
            value: What.
        """
        found.append(value)
        return "It was put."

    add_tool(put)
    return found


def another_put(monkeypatch, ran):
    """A deploy gives the tool one more parameter."""

    def put(value: str, mode: str = "plain") -> str:
        """Put.

        Args:
            value: What.
            mode: How.
        """
        ran.append(value)
        return "It was put."

    made = registry.tool()(put)
    monkeypatch.setitem(registry.catalogue(), "put", made)


def take_off(agent, name):
    agent.tools.remove(Tool.objects.get(name=name))


# --- What ran before the deploy ------------------------------------------------------------------------------
@pytest.fixture
def half_done(model, alice, ran):
    """`put` has run, the mail beside it waits."""
    model.play([Use("put", {"value": "x"}), asks()], "Done.")
    session = chat(alice)
    assert statuses(session) == [Status.SUCCEEDED, Status.PENDING]
    return session


def told_the_truth(session, rita, model, ran):
    approve(pending(session), rita)
    work()
    assert ran == ["x"]
    assert len(mail.outbox) == 1
    assert "It was put." in model.told()[0]
    assert last_run(session).status == RunStatus.DONE


def test_what_has_run_is_told_though_the_tool_takes_more_now(half_done, rita, model, ran, monkeypatch):
    another_put(monkeypatch, ran)
    told_the_truth(half_done, rita, model, ran)


def test_what_has_run_is_told_though_the_agent_lost_the_tool(half_done, rita, model, ran, agent):
    take_off(agent, "put")
    told_the_truth(half_done, rita, model, ran)


def test_what_has_run_is_told_though_the_tool_is_gone(half_done, rita, model, ran, monkeypatch):
    monkeypatch.delitem(registry.catalogue(), "put")
    told_the_truth(half_done, rita, model, ran)


@pytest.mark.parametrize("idempotent", [True, False], ids=["idempotent", "once only"])
@pytest.mark.parametrize("gone", [True, False], ids=["gone", "changed"])
def test_an_unknown_outcome_waits_for_a_person_all_the_same(
    half_done, rita, model, ran, monkeypatch, gone, idempotent
):
    """The deploy itself may have killed the worker in the middle of the tool."""
    Tool.objects.filter(name="put").update(idempotent=idempotent)
    put = calls(half_done)[0]
    approve(pending(half_done), rita)
    run = claim(last_run(half_done))
    ToolCall.objects.filter(pk=put.pk).update(status=Status.STARTED, epoch=run.epoch, result=None)
    die(run)
    if gone:
        monkeypatch.delitem(registry.catalogue(), "put")
    else:
        another_put(monkeypatch, ran)
    driver.advance(str(run.pk))
    assert [call.status for call in calls(half_done)][0] == Status.UNKNOWN
    assert last_run(half_done).status == RunStatus.WAITING
    settle(calls(half_done)[0], rita, Outcome.HAPPENED)
    work()
    assert "it happened" in model.told()[0]
    assert ran == ["x"]
    assert len(mail.outbox) == 1


# --- What was approved before the deploy -----------------------------------------------------------------------
@pytest.mark.parametrize("how", ["lost by the agent", "gone from the code"])
def test_an_approval_for_a_tool_that_is_gone_lapses(model, alice, rita, agent, monkeypatch, how):
    model.play(asks(), "I see.")
    session = chat(alice)
    approve(pending(session), rita)
    if how == "lost by the agent":
        take_off(agent, "send_email")
    else:
        monkeypatch.delitem(registry.catalogue(), "send_email")
    work()
    [call] = calls(session)
    assert (call.status, call.fault, mail.outbox) == (Status.LAPSED, Fault.DEFINITION, [])
    assert "Nothing was done" in model.told()[0]
    assert last_run(session).status == RunStatus.DONE


def test_an_approval_counts_that_came_in_the_place_of_another(model, alice, rita, monkeypatch):
    """The worker has read the call with the first; that is undone and given anew before it comes to the start."""
    model.play(asks(), "Done.")
    session = chat(alice)
    call = trust(pending(session), rita)

    def undo_and_approve(point, key):
        if point == "starting" and call.decisions.count() == 1:
            undoing.undo(call.pk, rita, call.version)
            call.refresh_from_db()
            approve(call, rita)

    monkeypatch.setattr(ledger, "reach", undo_and_approve)
    work()
    assert statuses(session) == [Status.SUCCEEDED]
    assert len(mail.outbox) == 1


# --- Started again ---------------------------------------------------------------------------------------------
@pytest.fixture
def left_started(model, alice, rita, add_tool):
    """An idempotent tool that was started and whose worker died; policies allowed it, or trust."""

    def leave(effect):
        found = []

        def put(value: str) -> str:
            """Put.

            Args:
                value: What.
            """
            found.append(value)
            return "put"

        add_tool(put, effect=effect, idempotent=True)
        model.play(Use("put", {"value": "first"}), "Done.")
        session = chat(alice)
        if effect == Effect.ASK:
            trust(pending(session), rita)
            work()
            model.play(Use("put", {"value": "second"}), "Done.")
            chat(alice, "Again.", session)
        call = calls(session)[-1]
        assert call.status == Status.SUCCEEDED
        ToolCall.objects.filter(pk=call.pk).update(status=Status.STARTED, finished_at=None, result=None)
        Run.objects.filter(pk=call.run).update(status=RunStatus.RUNNING, attempts=1, epoch=call.epoch)
        session.messages.filter(seq__gt=call.turn).delete()
        die(Run.objects.get(pk=call.run))
        model.play("Done.")
        found.clear()
        return call, found

    return leave


def test_what_trust_had_started_is_not_started_again_after_a_revoke(left_started, rita):
    from approvals.actions import trust as trust_actions

    call, ran_again = left_started(Effect.ASK)
    trust_actions.revoke(call.trust_id, call.session, rita)
    driver.advance(call.run)
    call.refresh_from_db()
    assert (call.status, ran_again) == (Status.UNKNOWN, [])


@pytest.mark.parametrize(
    ("started_by", "now", "status"),
    [
        (Effect.ALLOW, Effect.ASK, Status.UNKNOWN),
        (Effect.ALLOW, Effect.BLOCK, Status.UNKNOWN),
        (Effect.ASK, Effect.ALWAYS_ASK, Status.UNKNOWN),
        (Effect.ASK, Effect.ASK, Status.SUCCEEDED),
    ],
)
def test_policies_count_when_it_is_started_again(left_started, started_by, now, status):
    """Trust that has ended since, but was not revoked, still covers what it had started."""
    call, ran_again = left_started(started_by)
    TrustGrant.objects.update(expires_at=Now() - PAST)
    ToolPolicy.objects.filter(tool="put").update(effect=now)
    driver.advance(call.run)
    call.refresh_from_db()
    assert (call.status, bool(ran_again)) == (status, status == Status.SUCCEEDED)


def test_it_counts_from_when_it_was_started_again(left_started):
    call, _ = left_started(Effect.ALLOW)
    driver.advance(call.run)
    before, call = call.started_at, ToolCall.objects.get(pk=call.pk)
    assert call.started_at > before


# --- The database ----------------------------------------------------------------------------------------------
@pytest.fixture(autouse=True)
def one_transaction(monkeypatch):
    """A test is one transaction, whose connection has to stay."""
    monkeypatch.setattr(connection, "close", lambda: None)


def test_what_was_recorded_is_not_told_as_an_error(model, alice, ran, monkeypatch):
    """The connection breaks just after the result was stored."""
    model.play(Use("put", {"value": "x"}), "Done.")
    found, asked = runs.still_mine, []

    def broken_once(run):
        asked.append(run)
        if len(asked) == 1:
            raise OperationalError("the connection is gone")
        return found(run)

    monkeypatch.setattr(runs, "still_mine", broken_once)
    session = chat(alice)
    assert ran == ["x"]
    assert model.heard[1:] == [], "the worker that does not know stops"
    die(last_run(session))
    driver.advance(str(last_run(session).pk))
    assert "It was put." in model.told()[0]
    assert ran == ["x"]


def test_a_run_that_the_database_refuses_is_set_aside(model, alice, monkeypatch, settings):
    """Not an outage: trying again and again would ask the model each time."""
    session = refused(model, alice, monkeypatch, settings, IntegrityError)
    assert last_run(session).status == RunStatus.QUARANTINED
    assert len(model.heard) == settings.RUN_MAX_ATTEMPTS


@pytest.mark.parametrize("error", [OperationalError, InterfaceError, ProgrammingError])
def test_an_outage_or_a_deploy_is_no_attempt(model, alice, monkeypatch, settings, error):
    """A missing right or column comes with the next step of the deploy; until then it is tried now and then."""
    session = refused(model, alice, monkeypatch, settings, error)
    run = last_run(session)
    assert (run.status, run.attempts) == (RunStatus.RUNNING, 0)
    waits = Run.objects.filter(pk=run.pk, lease_until__gt=Now() + PAST).exists()
    assert waits == (error is ProgrammingError)


def refused(model, alice, monkeypatch, settings, error):
    """More attempts than a run has, each of which the database ends."""
    model.play("Hello.", loop=True)

    def refuse(*args, **kwargs):
        raise error("no")

    monkeypatch.setattr(conversations, "save_state", refuse)
    session = chat(alice)
    for _ in range(settings.RUN_MAX_ATTEMPTS + 2):
        run = last_run(session)
        if run.status == RunStatus.RUNNING:
            die(run)
        driver.advance(str(run.pk))
    return session


def test_a_run_does_not_end_while_a_person_lets_one_of_its_calls_run_again(model, alice, transactional_db):
    """What is approved in that moment is seen: somebody has to cancel it."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    model.play(asks(), "Done.")
    session = chat(alice)
    call = pending(session)
    Run.objects.update(status=RunStatus.QUEUED)
    run = claim(last_run(session))
    ToolCall.objects.update(status=Status.UNKNOWN)

    def finish():
        try:
            with transaction.atomic():
                runs.finish(run)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            runs.require_active(call.run)
            finishing = pool.submit(finish)
            with pytest.raises(TimeoutError):
                finishing.result(0.3)
            ToolCall.objects.update(status=Status.APPROVED)
        finishing.result(20)
    run = last_run(session)
    assert (run.status, run.open_ends) == (RunStatus.DONE, True)
