"""The same conversations on both runtimes: where the loop runs makes no difference to people or to the ledger.

The hosted agent's own code answers, in a thread of this process, so that one scripted model plays for both.
"""

from __future__ import annotations

import asyncio
import json

import pytest
from django.core import mail

from agents.actions import answers, runs
from agents.models import Agent
from agents.runtimes import invoking
from agents.states import QuestionStatus, RunStatus
from approvals.models import ToolPolicy
from hosted import turn
from tests.desk import MAIL, approve, asks, calls, chat, deny, last_run, pending, statuses, trust, work
from tests.fakes.agentcore import ARN, AgentCoreServer, Hosted
from tests.fakes.model import Use

pytestmark = pytest.mark.xdist_group("agentcore")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with (
        AgentCoreServer(Hosted(tmp_path_factory.mktemp("never")), script=play) as running,
        pytest.MonkeyPatch.context() as environment,
    ):
        for name, value in running.env().items():
            environment.setenv(name, value)
        invoking.forget()
        yield running
        invoking.forget()
    assert running.hosted.starts == 0


def play(invocation):
    if "describe" in invocation.payload:
        return json.dumps(turn.describe()).encode()
    return b"".join(
        b"data: " + json.dumps(each).encode() + b"\n\n" for each in asyncio.run(events(invocation))
    )


async def events(invocation):
    return [event async for event in turn.answer(invocation.payload, invocation.session)]


@pytest.fixture
def remote(server, agent):
    Agent.objects.filter(pk=agent.pk).update(runtime="agentcore", runtime_arn=ARN)
    server.invocations.clear()
    return server


@pytest.fixture(params=["local", "agentcore"])
def runtime(request, agent):
    if request.param == "agentcore":
        request.getfixturevalue("remote")
    return request.param


def limit(steps):
    Agent.objects.update(max_steps=steps)


@pytest.mark.parametrize("steps", [1, 3])
def test_it_ends_a_model_that_loops(runtime, model, alice, steps):
    limit(steps)
    model.play(Use("get_weather", {}), loop=True)
    session = chat(alice)
    run = last_run(session)
    assert (run.status, run.error_code, run.steps) == (RunStatus.FAILED, "step_limit", steps)
    assert statuses(session) == ["succeeded"] * steps
    assert len(model.heard) == steps


def test_it_counts_steps_across_pauses(runtime, model, alice, rita):
    limit(2)
    model.play(asks(), loop=True)
    session = chat(alice)
    for _ in range(2):
        approve(pending(session), rita)
        work()
    assert (last_run(session).error_code, last_run(session).steps) == ("step_limit", 2)
    assert len(mail.outbox) == 2


def test_the_last_step_may_answer(runtime, model, alice):
    limit(2)
    model.play(Use("get_weather", {}), "Sunny.")
    session = chat(alice)
    assert (last_run(session).status, last_run(session).steps) == (RunStatus.DONE, 2)


def test_it_asks_its_user_and_goes_on_with_the_answer(runtime, model, alice):
    model.play(Use("handoff_to_user", {"message": "Which one?"}), "Blue it is.")
    session = chat(alice)
    assert last_run(session).status == RunStatus.WAITING
    answers.answer(session, session.questions.get().pk, alice, "Blue")
    work()
    assert model.told() == ["The user answered: Blue"]
    assert last_run(session).status == RunStatus.DONE


def test_it_hands_over_and_stops(runtime, model, alice):
    model.play(Use("handoff_to_user", {"message": "Over to you.", "breakout_of_loop": True}), "And more.")
    session = chat(alice)
    assert last_run(session).status == RunStatus.DONE
    assert [message.role for message in session.messages.all()] == ["user", "assistant", "user"]
    assert session.questions.get().status == QuestionStatus.HANDED_OVER


def test_what_a_policy_blocks(runtime, model, alice):
    ToolPolicy.objects.create(name="No mail", tool="send_*", effect="block")
    model.play(asks(), "I may not.")
    session = chat(alice)
    assert statuses(session) == ["blocked"]
    assert "Blocked by policy" in model.told()[0]
    assert (last_run(session).status, mail.outbox) == (RunStatus.DONE, [])


@pytest.mark.parametrize(
    ("uses", "words"),
    [
        ([Use("send_email", {"to": 5})], "Invalid arguments"),
        ([Use("send_email", "[1]")], "one JSON object"),
        ([Use("no_such_tool", {})], ""),
        ([Use("send_email", MAIL, "x\n")], "id"),
        ([Use("get_weather", {}, "same"), Use("get_weather", {}, "same")], "share an id"),
    ],
    ids=range(5),
)
def test_what_is_refused(runtime, model, alice, uses, words):
    model.play(uses, "I see.")
    session = chat(alice)
    assert statuses(session) == []
    assert last_run(session).status == RunStatus.DONE
    assert all(result["status"] == "error" and words in str(result) for result in model.results)


def test_an_id_that_was_used_before(runtime, model, alice, rita):
    """In a later turn of the same run, which is one request to the hosted agent."""
    model.play(Use("send_email", MAIL, "call_0"), Use("send_email", MAIL, "call_0"), "I see.")
    session = chat(alice)
    approve(pending(session), rita)
    work()
    assert "used before" in model.told()[0]
    assert (last_run(session).status, len(mail.outbox)) == (RunStatus.DONE, 1)


def test_a_deny_beats_a_trust_of_the_same_turn(runtime, model, alice, rita):
    model.play([asks(subject="One"), asks(subject="Two"), asks(subject="Three")], "I see.")
    session = chat(alice)
    first, second, third = calls(session)
    deny(first, rita)
    trust(second, rita)
    approve(third, rita)
    work()
    assert statuses(session) == ["denied", "succeeded", "succeeded"]
    assert [each.subject for each in mail.outbox] in (["Two", "Three"], ["Three", "Two"])


def test_stopped_between_two_claims_of_a_turn(runtime, model, alice, rita, monkeypatch):
    """The first was granted and never sent: that is certain, and nobody is asked what became of it."""
    model.play([asks(subject="One"), asks(subject="Two")], "Done.")
    session = chat(alice)
    for call in calls(session):
        approve(call, rita)
    run, claims = last_run(session), []

    def reach(point, key):
        if point == "starting":
            claims.append(key)
            if len(claims) == 2:
                runs.stop(run, "alice")

    monkeypatch.setattr("agents.ledger.reach", reach)
    work()
    assert "unknown" not in statuses(session)
    assert len(mail.outbox) == statuses(session).count("succeeded")
    assert last_run(session).status == RunStatus.STOPPED
