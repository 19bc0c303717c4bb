"""In the chat: who may decide does so there, bound to what they saw; who waits too long reminds the others."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db.models.functions import Now
from django.urls import reverse

from agents.actions import runs
from agents.states import RunStatus
from approvals import events
from approvals.actions import nudging
from approvals.errors import NotFound, TooEarly
from approvals.models import Decision, ToolCall, ToolPolicy
from approvals.states import Status
from approvals.wording import result_text
from tests.desk import approve, asks, chat, kinds, last_run, pending, statuses, work


@pytest.fixture
def lenient(alice):
    """alice reviews too, and may decide on her own mails."""
    alice.groups.add(Group.objects.get(name="reviewers"))
    ToolPolicy.objects.filter(tool="send_email").update(requester_may_decide=True)


@pytest.fixture
def session(model, alice):
    model.play(asks(body="Hello\u202e there."), "Done.")
    return chat(alice)


@pytest.fixture
def as_alice(client, alice):
    client.force_login(alice)
    return client


def page(client, session):
    return client.get(reverse("agents:session", args=[session.pk])).content.decode()


def decide(client, session, choice="approve", call=None, **changes):
    call = call or pending(session)
    data = {"choice": choice, "version": call.version, "digest": call.digest, **changes}
    return client.post(reverse("agents:decide", args=[session.pk, call.pk]), data)


# --- Deciding -----------------------------------------------------------------------------------------


def test_who_may_not_is_offered_nothing_and_can_do_nothing(as_alice, session):
    html = page(as_alice, session)
    assert "data-decision" not in html and "Decide on the desk" not in html
    response = decide(as_alice, session)
    assert response.status_code == 403
    assert statuses(session) == [Status.PENDING]
    assert not Decision.objects.exists()


def test_asking_for_it_is_not_enough(as_alice, alice, session):
    alice.groups.add(Group.objects.get(name="reviewers"))
    assert "data-decision" not in page(as_alice, session)
    assert decide(as_alice, session).status_code == 403
    assert statuses(session) == [Status.PENDING]


def test_who_may_sees_the_whole_and_approves(lenient, as_alice, session):
    html = page(as_alice, session)
    call = pending(session)
    assert f'data-decision="{call.pk}-{call.version}"' in html
    assert 'class="call-args"' not in html and "Hello<mark>U+202E</mark> there." in html
    assert "autofocus" not in html
    assert decide(as_alice, session).status_code == 302
    work()
    assert statuses(session) == [Status.SUCCEEDED]
    [decision] = Decision.objects.all()
    assert (decision.by.username, decision.choice, decision.digest) == ("alice", "approve", call.digest)


def test_a_denial_needs_a_reason(lenient, as_alice, session, model):
    response = decide(as_alice, session, "deny", comment=" ")
    assert response.status_code == 422
    assert "Say why" in response.content.decode()
    assert decide(as_alice, session, "deny", comment="Not <today>.").status_code == 302
    work()
    assert "Not <today>." in model.told()[0]
    assert "Not &lt;today&gt;." in page(as_alice, session)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"digest": "0" * 64}, 409),
        ({"version": "99"}, 409),
        ({"version": "1" * 10}, 422),
        ({"version": ""}, 422),
        ({"choice": "trust"}, 422),
        ({"choice": ""}, 422),
    ],
)
def test_it_decides_only_what_was_seen(lenient, as_alice, session, changes, status):
    assert decide(as_alice, session, **changes).status_code == status
    assert statuses(session) == [Status.PENDING]


@pytest.mark.parametrize("more", [{"confirm": "confirm"}, {"justify": True}])
def test_what_asks_for_more_is_decided_on_the_desk(lenient, as_alice, alice, model, more):
    ToolPolicy.objects.filter(tool="send_email").update(**more)
    model.play(asks())
    session = chat(alice)
    html = page(as_alice, session)
    assert "Decide on the desk" in html and "data-decision" not in html
    assert decide(as_alice, session).status_code == 422
    assert statuses(session) == [Status.PENDING]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("The key is AKIAIOSFODNN7EXAMPLE, use it.", "Some of it is hidden here."),
        ("é" * 40_000, "It is too long to be approved."),
    ],
    ids=["hidden", "in bytes"],
)
def test_what_is_not_shown_whole_is_decided_on_the_desk(lenient, as_alice, alice, model, body, why):
    model.play(asks(body=body))
    html = page(as_alice, chat(alice))
    assert "data-decision" not in html and "exactly what stands here" not in html
    assert "Decide on the desk" in html and why in html


def test_a_call_of_another_chat_is_not_decided_here(lenient, as_alice, alice, model, session):
    model.play(asks(to="b@example.com"))
    other = chat(alice)
    assert decide(as_alice, session, call=pending(other)).status_code == 404
    assert statuses(other) == [Status.PENDING]


def test_strangers_decide_nothing(lenient, client, bob, session):
    client.force_login(bob)
    assert decide(client, session).status_code == 404
    assert client.get(reverse("agents:decide", args=[session.pk, pending(session).pk])).status_code == 405


# --- Reminding ----------------------------------------------------------------------------------------


def wait_for(call, **how_long):
    ToolCall.objects.filter(pk=call.pk).update(requested_at=Now() - timedelta(**how_long))


def remind(client, session):
    return client.post(reverse("agents:nudge", args=[session.pk, pending(session).pk]))


def test_it_says_nothing_while_that_is_usual(as_alice, session):
    wait_for(pending(session), minutes=9)
    assert "Remind them" not in page(as_alice, session)
    assert remind(as_alice, session).status_code == 409
    assert pending(session).nudged_at is None


@pytest.mark.parametrize(("minutes", "open_for"), [(11, 1440), (3, 5)])
def test_it_names_who_can_decide_and_reminds_them(as_alice, session, minutes, open_for):
    call = pending(session)
    wait_for(call, minutes=minutes)
    ToolCall.objects.update(expires_at=Now() + timedelta(minutes=open_for - minutes))
    html = page(as_alice, session)
    assert "rita or remy can decide." in html and "Remind them" in html
    assert remind(as_alice, session).status_code == 302
    assert pending(session).nudged_at is not None
    assert kinds(call=str(call.pk))[-1] == "call.nudged"
    html = page(as_alice, session)
    assert "Remind them" not in html and "Reminded" in html
    assert (pending(session).version, pending(session).digest) == (call.version, call.digest)


def test_it_reminds_once_in_ten_minutes(as_alice, session):
    wait_for(pending(session), minutes=30)
    assert remind(as_alice, session).status_code == 302
    assert remind(as_alice, session).status_code == 409
    ToolCall.objects.update(nudged_at=Now() - timedelta(minutes=11))
    assert remind(as_alice, session).status_code == 302
    assert kinds(session=session.key).count("call.nudged") == 2


def test_only_whoever_asked_reminds(session, bob, rita):
    call = pending(session)
    wait_for(call, minutes=30)
    for other in (bob, rita):
        with pytest.raises(NotFound):
            nudging.nudge(call.pk, other)


def test_what_does_not_wait_is_not_reminded_of(session, alice):
    call = pending(session)
    wait_for(call, minutes=30)
    runs.stop(last_run(session), "alice")
    with pytest.raises(TooEarly, match="does not wait"):
        nudging.nudge(call.pk, alice)
    assert last_run(session).status == RunStatus.STOPPED


def test_it_rings_at_the_reviewers(session, alice, monkeypatch):
    rung = []
    monkeypatch.setattr(events, "ring", lambda topic, kind, **ids: rung.append((topic, kind)))
    wait_for(pending(session), minutes=30)
    nudging.nudge(pending(session).pk, alice)
    assert ("approvals", "nudged") in rung


# --- What a reviewer changed ----------------------------------------------------------------------------


def test_what_a_reviewer_changed_is_shown_as_a_difference(as_alice, session, rita, model):
    call = pending(session)
    key = "sk-proj-" + "a1B2" * 9
    approve(call, rita, arguments={**call.arguments, "body": f"The key is {key}", "subject": "Later"})
    work()
    call.refresh_from_db()
    html = page(as_alice, session)
    names = "<code data-value>body</code> and <code data-value>subject</code>"
    assert f"<b>rita</b> changed {names} before approving" in html
    assert "<del>" in html and key not in html
    assert "A reviewer changed the arguments" in model.told()[0]
    assert "A reviewer changed the arguments" not in result_text(call)
    call.arguments = {}  # of no edit: then a tool wrote it, and it is shown
    assert "A reviewer changed the arguments" in result_text(call)
