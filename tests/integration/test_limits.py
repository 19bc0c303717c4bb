"""People are spared the same question once more, and too many at a time."""

from __future__ import annotations

import pytest
from django.core import mail

from approvals.actions import undoing
from approvals.states import Status
from tests.desk import approve, asks, calls, chat, deny, kinds, pending, statuses, work

DENIED_OFTEN = "Refused: rita denied exactly this, 3 times in this session by now. Nothing was done."


def denied_three_times(model, alice, rita, **changes):
    model.play(asks(**changes), "Sorry.", asks(**changes), "Sorry.", asks(**changes), "Sorry.")
    session = chat(alice)
    for _ in range(2):
        deny(pending(session), rita)
        work()
        chat(alice, "Try again.", session)
    deny(pending(session), rita)
    work()
    return session


def test_it_does_not_ask_a_fourth_time_for_what_was_denied_three_times(model, alice, rita):
    session = denied_three_times(model, alice, rita)
    model.play(asks(), "I give up.")
    chat(alice, "And again!", session)
    assert statuses(session) == [Status.DENIED] * 3 + [Status.BLOCKED]
    last = calls(session)[-1]
    assert (last.policy, last.decision()) == ("", None)
    assert "rita denied exactly this, 3 times" in last.why
    assert model.told()[-1] == DENIED_OFTEN
    assert "call.blocked" in kinds(session=session.key)


def test_it_asks_for_something_else_than_was_denied(model, alice, rita):
    session = denied_three_times(model, alice, rita)
    model.play(asks(subject="Something else"), "Sent.")
    chat(alice, "And this?", session)
    approve(pending(session), rita)
    work()
    assert [sent.subject for sent in mail.outbox] == ["Something else"]


def test_it_asks_anew_in_another_session(model, alice, rita):
    denied_three_times(model, alice, rita)
    model.play(asks(), "Sent.")
    assert statuses(chat(alice)) == [Status.PENDING]


def test_a_denial_that_was_undone_does_not_count(model, alice, rita, settings):
    settings.DENIALS_A_CALL = 1
    model.play([asks(), asks(subject="Other")], "Fine.")
    session = chat(alice)
    call = calls(session)[0]
    denied = deny(call, rita)
    denied.refresh_from_db()
    undoing.undo(call.pk, rita, denied.version)
    for call in calls(session):
        approve(call, rita)
    work()
    model.play(asks(), "Fine.")
    chat(alice, "Again.", session)
    assert statuses(session)[-1] == Status.PENDING


def test_it_lets_so_many_calls_wait_and_refuses_the_rest(model, alice, rita):
    model.play([asks(subject=f"No. {number}") for number in range(25)], "Sent.")
    session = chat(alice)
    found = statuses(session)
    assert found.count(Status.PENDING) == 20
    assert found.count(Status.BLOCKED) == 5
    for call in calls(session, status=Status.PENDING):
        approve(call, rita)
    work()
    assert len(mail.outbox) == 20
    refused = [text for text in model.told() if "20 calls of this session wait" in text]
    assert len(refused) == 5


@pytest.mark.parametrize("waiting", [0, 1])
def test_what_waits_in_another_session_does_not_count(model, alice, bob, settings, waiting):
    settings.PENDING_A_SESSION = 1
    model.play(*[asks()] * (waiting + 1))
    for person in [bob] * waiting:
        chat(person)
    assert statuses(chat(alice)) == [Status.PENDING]
