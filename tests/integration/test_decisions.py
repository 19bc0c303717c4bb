"""Decisions: one wins, on exactly what was seen, by somebody who may."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.db import IntegrityError, connection, connections, transaction

from approvals.actions import calls as call_actions
from approvals.actions import decisions
from approvals.errors import (
    AlreadyDecided,
    CommentRequired,
    Expired,
    InvalidArguments,
    InvalidInput,
    NotAReviewer,
    NotFound,
    NotTrustable,
    SelfApproval,
    Stale,
)
from approvals.models import AuditEntry, Decision, ToolCall, ToolPolicy, TrustGrant
from approvals.states import Choice, Status
from tests.desk import (
    MAIL,
    approve,
    calls,
    chat,
    deny,
    kinds,
    last_run,
    no_audit,
    pass_by,
    pending,
    ruling,
    trust,
    work,
)
from tests.fakes.model import Use

FILES = {"paths": ["tmp/old.log"]}


@pytest.fixture
def session(model, alice):
    model.play(Use("send_email", MAIL), "Done.")
    return chat(alice)


@pytest.fixture
def call(session):
    return pending(session)


@pytest.fixture
def deletion(model, alice):
    model.play(Use("delete_files", FILES), "Done.")
    return pending(chat(alice))


def untouched(call):
    call.refresh_from_db()
    assert (call.status, call.version, call.arguments, call.decided_at) == (Status.PENDING, 1, MAIL, None)
    assert not Decision.objects.exists()
    assert not TrustGrant.objects.exists()
    assert [kind for kind in kinds(call=str(call.pk)) if kind != "decision.refused"] == [
        "call.requested",
        "call.pending",
    ]


def refuses(refusal, call, by, **changes):
    with pytest.raises(refusal) as caught:
        decisions.decide(call.pk, by, ruling(call, **changes))
    untouched(call)
    entry = AuditEntry.objects.filter(kind="decision.refused").latest("seq")
    assert (entry.actor, entry.data["code"]) == (by.get_username(), refusal.code)
    return caught.value


# --- Who decided what --------------------------------------------------------------------------------------
def test_it_names_the_person_the_content_and_the_moment(call, rita):
    approve(call, rita, comment="Looks right.")
    decision = Decision.objects.get()
    assert (decision.by, decision.requested_by, decision.choice) == (rita, call.requested_by, Choice.APPROVE)
    assert (decision.digest, decision.version, decision.comment) == (call.digest, 1, "Looks right.")
    call.refresh_from_db()
    assert (call.status, call.version) == (Status.APPROVED, 2)
    assert call.decided_at <= decision.at
    assert call.executable_until - call.decided_at == pytest.approx(
        timedelta(minutes=15), abs=timedelta(seconds=10)
    )


def test_it_writes_the_decision_into_the_audit_trail(call, rita):
    approve(call, rita, arguments={**MAIL, "subject": "Other"})
    made, approved = AuditEntry.objects.filter(call=str(call.pk)).order_by("seq")[2:]
    call.refresh_from_db()
    assert (made.kind, made.actor, made.digest) == ("decision.made", "rita", call.digest)
    assert (made.data["choice"], made.data["edited"]) == ("approve", True)
    assert (approved.kind, approved.tool, approved.session) == ("call.approved", "send_email", call.session)


def test_it_tells_the_loser_who_won(call, rita, remy):
    deny(call, rita)
    with pytest.raises(AlreadyDecided) as caught:
        approve(call, remy)
    assert "rita denied this" in caught.value.message
    assert (caught.value.extra["decided_by"], caught.value.extra["call_status"]) == ("rita", "denied")
    assert caught.value.extra["decided_at"]
    assert Decision.objects.count() == 1
    call.refresh_from_db()
    assert call.status == Status.DENIED


def test_it_lets_one_person_decide_once(call, rita):
    approve(call, rita)
    with pytest.raises(AlreadyDecided):
        approve(call, rita)
    with pytest.raises(AlreadyDecided):
        deny(call, rita)
    assert Decision.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_it_has_one_winner_among_many(transactional_db, session, rita, remy):
    """Eight decisions at the same moment, by two people on what both have read as pending."""
    call = pending(session)
    choices = [(by, choice) for by in (rita, remy) for choice in (*Choice, Choice.APPROVE)]
    gate = threading.Barrier(len(choices))

    def decide(by, choice):
        try:
            gate.wait(10)
            decisions.decide(call.pk, by, ruling(call, choice, comment="Because."))
            return None
        except AlreadyDecided as lost:
            return lost.extra["decided_by"]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(choices)) as pool:
        ends = list(pool.map(lambda choice: decide(*choice), choices))
    decision = Decision.objects.get()
    assert ends.count(None) == 1
    assert {end for end in ends if end} == {decision.by.username}
    assert TrustGrant.objects.count() == (decision.choice == Choice.TRUST)
    assert kinds(call=str(call.pk)).count("decision.made") == 1


# --- What was seen -----------------------------------------------------------------------------------------
def test_it_refuses_another_version(call, rita):
    refuses(Stale, call, rita, version=2)
    refuses(Stale, call, rita, version=0)


@pytest.mark.parametrize("digest", ["", "0" * 64, "\0", "\ud800"], ids=ascii)
def test_it_refuses_another_digest(call, rita, digest):
    refuses(Stale, call, rita, digest=digest)


def test_it_refuses_what_expired_by_the_database_s_clock(call, rita):
    pass_by(ToolCall.objects, "expires_at")
    refuses(Expired, call, rita)


def test_it_refuses_what_the_sweeper_expired(call, rita):
    pass_by(ToolCall.objects, "expires_at")
    assert call_actions.expire_due() == 1
    with pytest.raises(Expired):
        approve(call, rita)
    assert not Decision.objects.exists()


def test_it_says_what_became_of_a_cancelled_call(call, rita, session):
    from agents.actions import runs

    runs.stop(last_run(session), "alice")
    with pytest.raises(AlreadyDecided) as caught:
        approve(call, rita)
    assert caught.value.extra["call_status"] == "cancelled"
    assert not Decision.objects.exists()


# --- Who may -----------------------------------------------------------------------------------------------
def test_it_does_not_exist_for_who_may_not_review(call, alice, bob):
    refuses(NotAReviewer, call, alice)  # she asked for it, so she knows it
    refuses(NotFound, call, bob)


def test_it_takes_nothing_invisible_for_a_reason(call, rita):
    refuses(CommentRequired, call, rita, choice=Choice.DENY, comment=" \u200b\u2060\n")


def test_it_refuses_the_person_who_asked(call, alice):
    alice.groups.add(Group.objects.get(name="reviewers"))
    refuses(SelfApproval, call, User.objects.get(username="alice"))


def test_it_lets_them_where_the_policy_does(model, alice):
    ToolPolicy.objects.filter(tool="send_email").update(requester_may_decide=True)
    alice.groups.add(Group.objects.get(name="reviewers"))
    model.play(Use("send_email", MAIL), "Done.")
    call = pending(chat(alice))
    approve(call, User.objects.get(username="alice"))
    assert Decision.objects.get().self_allowed


def test_it_keeps_the_terms_under_which_it_was_asked(call, alice):
    """A policy that is loosened later does not loosen what is already waiting."""
    ToolPolicy.objects.filter(tool="send_email").update(requester_may_decide=True)
    alice.groups.add(Group.objects.get(name="reviewers"))
    refuses(SelfApproval, call, User.objects.get(username="alice"))


def test_it_refuses_a_superuser_who_is_no_reviewer(call, desk):
    root = User.objects.create_superuser("root")
    refuses(NotFound, call, root)


def test_it_refuses_a_superuser_who_asked(model, desk):
    root = User.objects.create_superuser("root")
    root.groups.set(Group.objects.filter(name__in=["chat users", "reviewers"]))
    model.play(Use("send_email", MAIL))
    call = pending(chat(root))
    refuses(SelfApproval, call, User.objects.get(username="root"))


def test_it_refuses_an_administrator_who_is_no_reviewer(call, admin):
    """Administrators see everything; deciding takes one of the call's groups."""
    refuses(NotAReviewer, call, admin)


def test_it_refuses_people_who_were_deactivated(call, rita):
    rita.is_active = False
    rita.save()
    refuses(NotFound, call, rita)


def test_it_asks_the_groups_of_the_policy(model, alice, rita, remy):
    finance = Group.objects.create(name="finance")
    ToolPolicy.objects.get(tool="send_email").groups.add(finance)
    remy.groups.add(finance)
    model.play(Use("send_email", MAIL), "Done.")
    call = pending(chat(alice))
    refuses(NotFound, call, rita)
    approve(call, User.objects.get(username="remy"))


def test_it_is_refused_by_the_database_too(call, alice, rita):
    """Invariant 7 holds against code that forgets to ask."""

    def insert(by, **changes):
        with transaction.atomic():
            Decision.objects.create(
                call=call,
                by=by,
                requested_by=alice,
                choice=Choice.APPROVE,
                digest=call.digest,
                version=1,
                **changes,
            )

    with pytest.raises(IntegrityError):
        insert(alice)
    insert(rita)
    insert(alice, self_allowed=True)


# --- What they say -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("comment", ["", "  \n"])
def test_it_demands_a_reason_for_a_denial(call, rita, comment):
    refuses(CommentRequired, call, rita, choice=Choice.DENY, comment=comment)


def test_it_limits_a_comment(call, rita):
    refuses(InvalidInput, call, rita, comment="x" * 2001)
    approve(call, rita, comment="x" * 2000)


def test_it_keeps_odd_characters_of_a_comment_from_the_database(call, rita):
    deny(call, rita, "No \0 and \ud800!")
    assert Decision.objects.get().comment == "No \ufffd and \ufffd!"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"to": "a@x.org"},
        {**MAIL, "bcc": "a@x.org"},
        {**MAIL, "to": 5},
        {**MAIL, "body": "\ud800"},
        {**MAIL, "body": "x" * 1_000_000},
    ],
    ids=["empty", "few", "many", "type", "surrogate", "large"],
)
def test_it_refuses_edits_that_do_not_fit(call, rita, arguments):
    assert refuses(InvalidArguments, call, rita, arguments=arguments).message


def test_it_refuses_edits_with_a_denial(call, rita):
    refuses(InvalidInput, call, rita, choice=Choice.DENY, comment="No.", arguments=MAIL)


def test_it_knows_an_edit_that_changes_nothing(call, rita):
    approve(call, rita, arguments=dict(reversed(MAIL.items())))
    call.refresh_from_db()
    assert call.proposed is None


def test_it_refuses_trust_in_what_is_always_asked(deletion, rita):
    with pytest.raises(NotTrustable):
        trust(deletion, rita)
    assert not TrustGrant.objects.exists()
    deletion.refresh_from_db()
    assert deletion.status == Status.PENDING


@pytest.mark.parametrize(
    "changes", [{"trust_for": timedelta()}, {"trust_for": -timedelta(1)}, {"trust_uses": 0}]
)
def test_it_refuses_trust_for_nothing(call, rita, changes):
    refuses(InvalidInput, call, rita, choice=Choice.TRUST, **changes)


def test_it_does_nothing_when_the_audit_trail_cannot_be_written(call, rita):
    with connection.execute_wrapper(no_audit):
        for choice in Choice:
            with pytest.raises(OSError, match="full"):
                decisions.decide(call.pk, rita, ruling(call, choice, comment="Because."))
    untouched(call)
    approve(call, rita)


def test_it_does_not_exist_without_an_id(rita, call):
    with pytest.raises(NotFound):
        decisions.decide("018f0000-0000-7000-8000-000000000000", rita, ruling(call))


def test_it_decides_each_call_by_itself(model, alice, rita, remy):
    model.play([Use("send_email", MAIL), Use("delete_files", FILES)], "Done.")
    session = chat(alice)
    mail, files = calls(session)
    deny(files, remy)
    approve(mail, rita)
    work()
    assert [call.status for call in calls(session)] == [Status.SUCCEEDED, Status.DENIED]
