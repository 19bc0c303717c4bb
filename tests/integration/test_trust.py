"""Trust: for one tool, in one session, for a while, until somebody takes it back."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.core import mail
from django.db.models.functions import Now

from agents.actions.catalogue import register_local
from agents.tools import registry
from approvals.actions import calls as call_actions
from approvals.actions import trust as trust_actions
from approvals.actions import verdicts
from approvals.errors import AlreadyDecided, Stale
from approvals.models import AuditEntry, ToolCall, ToolPolicy, TrustGrant
from approvals.states import Fault, Status
from tests.desk import asks, calls, chat, deny, kinds, pass_by, pending, statuses, trust, work
from tests.fakes.model import Meanwhile, Use


@pytest.fixture
def session(model, alice, rita):
    """A session in which rita trusts send_email, with one mail sent."""
    model.play(asks(), "Sent.")
    session = chat(alice)
    trust(pending(session), rita)
    work()
    assert len(mail.outbox) == 1
    return session


@pytest.fixture
def grant(session):
    return TrustGrant.objects.get()


def ask_again(session, model, use=None):
    model.play(use or asks(subject="Again"), "Done.")
    return chat(session.user, "Again.", session)


def test_it_is_written_down_whole(session, grant, rita):
    call = calls(session)[0]
    assert (grant.session, grant.tool, grant.definition) == (session.key, "send_email", call.definition)
    assert (grant.granted_by, grant.uses, grant.revoked_at) == (rita, 0, None)
    lasts = grant.expires_at - grant.granted_at
    assert lasts == pytest.approx(timedelta(hours=8), abs=timedelta(seconds=1))
    assert "trust.granted" in kinds(call=str(call.pk))


def test_it_lets_the_next_one_through(session, grant, model):
    ask_again(session, model)
    assert statuses(session) == [Status.SUCCEEDED, Status.SUCCEEDED]
    assert [sent.subject for sent in mail.outbox] == ["Launch", "Again"]
    grant.refresh_from_db()
    call = calls(session)[1]
    assert (call.trust, grant.uses) == (grant, 1)
    assert "Trusted" in call.why
    assert kinds(call=str(call.pk)) == [
        "call.requested", "call.allowed", "trust.used", "call.started", "call.succeeded",
    ]  # fmt: skip


def test_it_does_not_reach_other_sessions(session, model, alice, bob):
    for user in (alice, bob):
        model.play(asks())
        assert statuses(chat(user)) == [Status.PENDING]
    assert len(mail.outbox) == 1


def test_it_does_not_reach_other_tools(session, model):
    ask_again(session, model, Use("delete_files", {"paths": ["tmp/old.log"]}))
    assert statuses(session)[1] == Status.PENDING


def test_it_ends_when_it_expires(session, grant, model):
    pass_by(TrustGrant.objects, "expires_at")
    ask_again(session, model)
    assert statuses(session)[1] == Status.PENDING


def test_it_ends_with_the_definition(session, model, monkeypatch):
    tool = registry.catalogue()["send_email"]
    changed = replace(tool, description=tool.description + " Also to all.")
    monkeypatch.setitem(registry.catalogue(), "send_email", changed)
    register_local()
    ask_again(session, model)
    assert statuses(session)[1] == Status.PENDING


def test_it_covers_nothing_that_a_worker_has_otherwise_than_the_catalogue(session, model, monkeypatch):
    tool = registry.catalogue()["send_email"]
    monkeypatch.setitem(registry.catalogue(), "send_email", replace(tool, description="Sends it to all."))
    ask_again(session, model)
    assert len(statuses(session)) == 1
    assert len(mail.outbox) == 1
    assert any("definition of send_email changed" in str(told.content) for told in session.messages.all())


@pytest.mark.parametrize(("effect", "status"), [("block", Status.BLOCKED), ("always_ask", Status.PENDING)])
def test_it_yields_to_stricter_policies(session, model, effect, status):
    ToolPolicy.objects.create(name="Later", tool="*", effect=effect)
    ask_again(session, model)
    assert statuses(session)[1] == status
    assert len(mail.outbox) == 1


def test_it_covers_so_many_calls(model, alice, rita):
    model.play(asks(), [asks(subject="2"), asks(subject="3"), asks(subject="4")], "Done.")
    session = chat(alice)
    trust(pending(session), rita, trust_uses=2)
    work()
    assert sorted(statuses(session)) == ["pending", "succeeded", "succeeded", "succeeded"]
    assert TrustGrant.objects.get().uses == 2
    assert len(mail.outbox) == 3


def test_it_lasts_no_longer_than_the_policy_lets_it(model, alice, rita):
    ToolPolicy.objects.filter(tool="send_email").update(trust_expires_in=timedelta(hours=1), trust_max_uses=3)
    model.play(asks())
    trust(pending(chat(alice)), rita, trust_for=timedelta(days=9), trust_uses=99)
    grant = TrustGrant.objects.get()
    assert grant.expires_at - grant.granted_at < timedelta(hours=1, seconds=1)
    assert grant.max_uses == 3


def test_it_never_lasts_longer_than_the_setting(model, alice, rita, settings):
    settings.TRUST_MAX_AGE = timedelta(minutes=5)
    model.play(asks())
    trust(pending(chat(alice)), rita)
    assert not TrustGrant.objects.filter(expires_at__gt=Now() + timedelta(minutes=5, seconds=1)).exists()


def test_it_is_as_short_as_the_reviewer_wants(model, alice, rita):
    model.play(asks())
    trust(pending(chat(alice)), rita, trust_for=timedelta(minutes=1), trust_uses=1)
    grant = TrustGrant.objects.get()
    assert grant.max_uses == 1
    lasts = grant.expires_at - grant.granted_at
    assert lasts == pytest.approx(timedelta(minutes=1), abs=timedelta(seconds=1))


def test_it_is_revoked(session, grant, model, alice):
    assert trust_actions.revoke(grant.pk, session.key, alice)
    ask_again(session, model)
    assert statuses(session)[1] == Status.PENDING
    grant.refresh_from_db()
    assert grant.revoked_by == alice
    entry = AuditEntry.objects.get(kind="trust.revoked")
    assert (entry.actor, entry.session, entry.tool) == ("alice", session.key, "send_email")


def test_it_is_revoked_once(session, grant, alice, rita):
    assert trust_actions.revoke(grant.pk, session.key, rita)
    assert not trust_actions.revoke(grant.pk, session.key, alice)
    assert not trust_actions.revoke(grant.pk, "another session", alice)
    grant.refresh_from_db()
    assert grant.revoked_by == rita
    assert AuditEntry.objects.filter(kind="trust.revoked").count() == 1


def test_it_stops_what_has_not_started(session, grant, model, alice):
    """Revoked while the model was writing: no claim after the revoke commits."""
    revoke = Meanwhile(lambda: trust_actions.revoke(grant.pk, session.key, alice))
    ask_again(session, model, [asks(subject="Again"), revoke])
    assert statuses(session)[1] == Status.PENDING
    assert len(mail.outbox) == 1


def test_a_revoke_stops_the_call_on_which_it_was_given(model, alice, rita):
    model.play(asks(), "I see.")
    session = chat(alice)
    trust(pending(session), rita)
    trust_actions.revoke(TrustGrant.objects.get().pk, session.key, rita)
    work()
    [call] = calls(session)
    assert (call.status, call.fault) == (Status.LAPSED, Fault.REVOKED)
    assert mail.outbox == []
    assert "was revoked" in model.told()[0]


def test_trust_that_is_over_does_not_stop_the_call_on_which_it_was_given(model, alice, rita):
    """It was approved by itself; that trust ends in time is no second thought."""
    model.play(asks(), "Done.")
    session = chat(alice)
    trust(pending(session), rita)
    pass_by(TrustGrant.objects, "expires_at")
    work()
    assert statuses(session) == [Status.SUCCEEDED]


def test_it_asks_when_it_is_revoked_between_gate_and_claim(session, grant, model, alice, monkeypatch):
    from agents.ledger import LedgerGate

    gate = LedgerGate._verdict

    def then_it_is_revoked(self, use):
        said = gate(self, use)
        trust_actions.revoke(grant.pk, session.key, alice)
        return said

    monkeypatch.setattr(LedgerGate, "_verdict", then_it_is_revoked)
    ask_again(session, model)
    assert statuses(session)[1] == Status.PENDING
    assert len(mail.outbox) == 1


def test_it_asks_when_it_is_revoked_while_it_is_claimed(session, grant, model, alice, monkeypatch):
    """Between the look at the grant and the count of its use."""
    examine = verdicts.examine

    def then_it_is_revoked(request):
        judged = examine(request)
        trust_actions.revoke(grant.pk, session.key, alice)
        return judged

    monkeypatch.setattr(call_actions, "examine", then_it_is_revoked)
    ask_again(session, model)
    grant.refresh_from_db()
    assert (statuses(session)[1], grant.uses) == (Status.PENDING, 0)
    assert len(mail.outbox) == 1


def test_a_deny_beats_a_trust_of_the_same_turn(model, alice, rita, remy):
    model.play([asks(subject="Yes"), asks(subject="No")], "Done.")
    session = chat(alice)
    yes, no = calls(session)
    deny(no, remy)
    trust(yes, rita)
    work()
    assert [sent.subject for sent in mail.outbox] == ["Yes"]
    assert statuses(session) == [Status.SUCCEEDED, Status.DENIED]


def test_it_leaves_a_sibling_that_is_still_asked(model, alice, rita):
    """Trust is for calls to come; what already waits is decided by itself."""
    model.play([asks(subject="One"), asks(subject="Two")], "Done.")
    session = chat(alice)
    one, two = calls(session)
    trust(one, rita)
    assert work() == 0
    two.refresh_from_db()
    assert two.status == Status.PENDING
    deny(two, rita)
    work()
    assert [sent.subject for sent in mail.outbox] == ["One"]


def test_it_is_not_granted_when_the_decision_is_lost(model, alice, rita, remy):
    model.play(asks(), "Done.")
    call = pending(chat(alice))
    deny(call, remy)
    with pytest.raises(AlreadyDecided):
        trust(call, rita)
    assert not TrustGrant.objects.exists()
    assert ToolCall.objects.get().status == Status.DENIED


def test_it_is_not_granted_for_what_the_reviewer_did_not_see(model, alice, rita):
    """That comes out after the grant was stored."""
    model.play(asks(), "Done.")
    call = pending(chat(alice))
    with pytest.raises(Stale):
        trust(call, rita, digest="0" * 64)
    assert not TrustGrant.objects.exists()


def test_tools_cannot_reach_it(session):
    """An agent cannot widen its own rights: no tool takes a grant, a policy or a session."""
    from agents.tools.registry import catalogue

    for tool in catalogue().values():
        assert not {"grant", "policy", "trust", "session"} & set(tool.schema["properties"])
