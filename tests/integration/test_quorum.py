"""Calls that it takes several people to approve, a word to type, a reason to give."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.core import mail
from django.db import IntegrityError, connections, transaction

from agents import driver
from approvals.actions import calls as call_actions
from approvals.actions import decisions, undoing
from approvals.errors import (
    AlreadyDecided,
    CommentRequired,
    ConfirmRequired,
    Expired,
    NotAReviewer,
    NotTrustable,
    Refusal,
    SelfApproval,
    Stale,
    TooLate,
)
from approvals.models import AuditEntry, Decision, Tool, ToolCall, ToolPolicy
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
    pass_by,
    pending,
    ruling,
    settle,
    statuses,
    sweep,
    trust,
    work,
)


@pytest.fixture
def rob(desk):
    """Reviews, as the third."""
    rob = User.objects.create_user("rob")
    rob.groups.add(Group.objects.get(name="reviewers"))
    return rob


def policy(**changes):
    ToolPolicy.objects.filter(tool="send_email").update(**changes)


@pytest.fixture
def session(model, alice):
    """Two people have to approve; the agent has asked."""
    policy(quorum=2)
    model.play(asks(), "Sent.")
    return chat(alice)


def current(session) -> ToolCall:
    return only_call(session)


def withdraw(session, by):
    call = current(session)
    return undoing.undo(call.pk, by, call.version)


def test_it_takes_two(session, rita, remy):
    approve(current(session), rita)
    assert work() == 0
    call = pending(session)
    assert (call.approvals, call.quorum, call.decided_at, mail.outbox) == (1, 2, None, [])
    approve(call, remy)
    work()
    assert (statuses(session), len(mail.outbox)) == ([Status.SUCCEEDED], 1)
    made = [kind for kind in kinds(session=session.key) if kind in ("decision.made", "call.approved")]
    assert made == ["decision.made", "decision.made", "call.approved"]


def test_the_second_decides_on_the_page_that_both_had_open(session, rita, remy):
    call = current(session)
    approve(call, rita)
    approve(call, remy)
    assert current(session).status == Status.APPROVED


def test_nobody_counts_twice(session, rita, remy):
    call = current(session)
    approve(call, rita)
    with pytest.raises(AlreadyDecided, match="You have approved this already"):
        approve(current(session), rita)
    assert (current(session).approvals, current(session).status) == (1, Status.PENDING)


def test_the_database_knows_each_person_once(session, rita):
    call = current(session)
    approve(call, rita)
    decision = call.decisions.get()
    with pytest.raises(IntegrityError), transaction.atomic():
        Decision.objects.create(
            call=call,
            by=rita,
            requested_by=decision.requested_by,
            choice=Choice.APPROVE,
            digest=call.digest,
            version=9,
        )


def test_one_denial_is_enough(session, rita, remy):
    approve(current(session), rita)
    deny(current(session), remy, "Too early.")
    work()
    assert (statuses(session), mail.outbox) == ([Status.DENIED], [])


def test_a_withdrawn_approval_does_not_count(session, rita, remy, rob):
    approve(current(session), rita)
    withdraw(session, rita)
    approve(current(session), remy)
    assert (current(session).status, current(session).approvals) == (Status.PENDING, 1)
    approve(current(session), rob)
    work()
    assert len(mail.outbox) == 1
    assert "decision.undone" in kinds(session=session.key)


def test_who_withdrew_may_approve_again(session, rita, remy):
    approve(current(session), rita)
    withdraw(session, rita)
    approve(current(session), rita)
    approve(current(session), remy)
    assert current(session).status == Status.APPROVED


def test_each_of_them_may_withdraw_once_it_is_approved(session, rita, remy, rob):
    approve(current(session), rita)
    approve(current(session), remy)
    withdraw(session, rita)
    assert (current(session).status, current(session).approvals) == (Status.PENDING, 1)
    assert work() == 0
    approve(current(session), rob)
    work()
    assert len(mail.outbox) == 1


def test_nobody_withdraws_for_another(session, rita, remy, rob):
    approve(current(session), rita)
    with pytest.raises(TooLate, match="Only rita"):
        withdraw(session, remy)
    approve(current(session), remy)
    with pytest.raises(TooLate, match="Only remy"):
        withdraw(session, rob)


def test_an_approver_does_not_take_the_denial_of_another_back(session, rita, remy):
    approve(current(session), rita)
    deny(current(session), remy)
    with pytest.raises(TooLate, match="Only remy"):
        withdraw(session, rita)


def test_a_denial_taken_back_leaves_the_approvals(model, alice, rita, remy, rob):
    policy(quorum=2)
    model.play([asks(), asks(subject="Other")], "Sent.")
    first = calls(chat(alice))[0]
    approve(first, rita)
    deny(first, remy)
    first.refresh_from_db()
    undoing.undo(first.pk, remy, first.version)
    first.refresh_from_db()
    assert (first.status, first.approvals) == (Status.PENDING, 1)
    approve(first, rob)
    first.refresh_from_db()
    assert first.status == Status.APPROVED


def test_it_expires_with_one_approval(session, rita, remy):
    approve(current(session), rita)
    pass_by(ToolCall.objects.filter(session=session.key), "expires_at")
    with pytest.raises(Expired):
        approve(current(session), remy)
    sweep()
    work()
    assert (statuses(session), mail.outbox) == ([Status.EXPIRED], [])
    with pytest.raises(Expired):
        approve(current(session), remy)


def test_the_requester_does_not_count(session, alice, rita):
    alice.groups.add(Group.objects.get(name="reviewers"))
    approve(current(session), rita)
    with pytest.raises(SelfApproval):
        approve(current(session), User.objects.get(username="alice"))
    assert current(session).approvals == 1


def test_the_requester_counts_where_a_policy_says_so(model, alice, rita):
    policy(quorum=2, requester_may_decide=True)
    alice.groups.add(Group.objects.get(name="reviewers"))
    model.play(asks(), "Sent.")
    session = chat(alice)
    approve(current(session), User.objects.get(username="alice"))
    assert work() == 0
    approve(current(session), rita)
    work()
    assert len(mail.outbox) == 1


def test_a_superuser_does_not_count(session, rita):
    root = User.objects.create_superuser("root")
    with pytest.raises(Refusal):
        approve(current(session), root)
    root.groups.add(Group.objects.get(name="administrators"))
    with pytest.raises(NotAReviewer):
        approve(current(session), User.objects.get(username="root"))


def test_an_edit_makes_earlier_approvals_void(session, rita, remy):
    approve(current(session), rita)
    approve(current(session), remy, arguments={**MAIL, "subject": "Friday"})
    call = current(session)
    assert (call.status, call.approvals, call.arguments["subject"]) == (Status.PENDING, 1, "Friday")
    assert call.proposed == MAIL
    approve(call, rita)
    work()
    assert [sent.subject for sent in mail.outbox] == ["Friday"]


def test_an_approval_of_what_was_before_the_edit_is_stale(session, rita, remy, rob):
    before = current(session)
    approve(current(session), rita, arguments={**MAIL, "subject": "Friday"})
    with pytest.raises(Stale):
        approve(before, remy)


def test_an_edit_of_an_edit_keeps_what_the_model_wanted(session, rita, remy):
    approve(current(session), rita, arguments={**MAIL, "subject": "Friday"})
    approve(current(session), remy, arguments={**MAIL, "subject": "Monday"})
    assert current(session).proposed == MAIL
    approve(current(session), rita, arguments=MAIL)
    assert (current(session).proposed, current(session).approvals) == (None, 1)


def test_an_edit_goes_with_the_last_approval_of_it(session, rita, remy):
    approve(current(session), rita, arguments={**MAIL, "subject": "Friday"})
    withdraw(session, rita)
    call = current(session)
    assert (call.arguments, call.proposed, call.approvals) == (MAIL, None, 0)


def test_it_cannot_be_trusted_by_one(session, rita):
    assert not current(session).trustable
    with pytest.raises(NotTrustable, match="2 people"):
        trust(current(session), rita)


def test_it_does_not_run_on_fewer_approvals_than_it_takes(session, rita, remy):
    """Somebody with a database client cannot make one approval two."""
    approve(current(session), rita)
    approve(current(session), remy)
    Decision.objects.filter(by=remy).delete()
    work()
    call = current(session)
    assert (call.status, call.fault, mail.outbox) == (Status.LAPSED, Fault.APPROVALS, [])


@pytest.fixture
def unknown(session, rita, remy):
    """Two approved it, and the worker died in the middle."""
    approve(current(session), rita)
    approve(current(session), remy)
    run = claim(last_run(session))
    ToolCall.objects.filter(session=session.key).update(status=Status.STARTED, epoch=run.epoch)
    die(run)
    driver.advance(str(run.pk))
    call = current(session)
    assert call.status == Status.UNKNOWN
    ToolCall.objects.filter(pk=call.pk).update(started_at="2026-01-01T00:00Z")
    return call


def test_to_run_it_again_takes_two_once_more(unknown, session, rita, remy):
    """Until then nobody says that nothing was done."""
    settle(unknown, rita, Outcome.RUN_AGAIN)
    call = current(session)
    assert (call.status, call.approvals, call.round, call.fault) == (Status.UNKNOWN, 1, 2, Fault.WORKER_DIED)
    assert work() == 0
    with pytest.raises(AlreadyDecided, match="You have said so already"):
        settle(call, rita, Outcome.RUN_AGAIN)
    settle(unknown, remy, Outcome.RUN_AGAIN)  # as on the page that remy had open before
    work()
    assert (statuses(session), len(mail.outbox)) == ([Status.SUCCEEDED], 1)
    assert kinds(session=session.key).count("call.settled") == 1


def test_who_wanted_it_run_again_may_withdraw_that(unknown, session, rita, remy, rob):
    settle(unknown, rita, Outcome.RUN_AGAIN)
    withdraw(session, rita)
    call = current(session)
    assert (call.status, call.approvals) == (Status.UNKNOWN, 0)
    settle(current(session), remy, Outcome.RUN_AGAIN)
    assert current(session).status == Status.UNKNOWN
    settle(current(session), rob, Outcome.RUN_AGAIN)
    work()
    assert len(mail.outbox) == 1


def test_one_may_still_say_what_happened(unknown, session, rita, remy):
    settle(unknown, rita, Outcome.RUN_AGAIN)
    settle(current(session), remy, Outcome.HAPPENED, "It is in the outbox.")
    work()
    assert (statuses(session), mail.outbox) == ([Status.SUCCEEDED], [])


def test_nobody_withdraws_what_ran(unknown, rita):
    with pytest.raises(TooLate):
        undoing.undo(unknown.pk, rita, unknown.version)


def test_a_denial_ends_an_edit_and_counts_for_what_the_model_asked(model, alice, rita, remy, settings):
    settings.DENIALS_A_CALL = 1
    policy(quorum=2)
    model.play(asks(), "Fine.", asks(), "Fine.")
    session = chat(alice)
    approve(current(session), rita, arguments={**MAIL, "subject": "Friday"})
    deny(current(session), remy)
    call = current(session)
    assert (call.arguments, call.proposed, call.approvals) == (MAIL, None, 0)
    work()
    chat(alice, "Again.", session)
    assert statuses(session) == [Status.DENIED, Status.BLOCKED]


def test_who_denies_takes_their_own_approval_back(session, rita):
    approve(current(session), rita)
    deny(current(session), rita)
    made = AuditEntry.objects.filter(kind="decision.made").latest("seq")
    assert (current(session).approvals, made.data["approvals"]) == (0, 0)


# --- Trust does not go further than one person's word ------------------------------------------------------
@pytest.mark.parametrize(
    "changes", [{"quorum": 2}, {"confirm": "send"}, {"justify": True}, {"requester_may_decide": False}]
)
def test_trust_does_not_cover_what_asks_for_more(model, alice, rita, changes):
    if "requester_may_decide" in changes:
        policy(requester_may_decide=True)
    model.play(asks(), "Sent.", asks(subject="Two"), "Sent.", asks(subject="Three"))
    session = chat(alice)
    trust(current(session), rita)
    work()
    chat(alice, "One more.", session)
    assert statuses(session) == [Status.SUCCEEDED, Status.SUCCEEDED]
    policy(**changes)
    chat(alice, "And another.", session)
    call = pending(session)
    assert call.why == "The trust in this session does not go as far."


@pytest.mark.parametrize(
    "limit",
    [{"trust_max_uses": 1}, {"trust_expires_in": timedelta(minutes=1)}, {"requester_may_trust": False}],
)
def test_trust_does_not_cover_what_may_be_trusted_less(model, alice, rita, limit):
    policy(requester_may_trust=True, requester_may_decide=True)
    narrow = {"requester_may_trust": True, "requester_may_decide": True, **limit}
    ToolPolicy.objects.create(
        name="Others", tool="send_email", effect="ask", when='args.to != "dev@example.com"', **narrow
    )
    model.play(asks(), "Sent.", asks(to="other@example.com"))
    session = chat(alice)
    trust(current(session), rita)
    work()
    chat(alice, "One more.", session)
    assert pending(session).why == "The trust in this session does not go as far."


def test_a_tool_that_nobody_looked_at_asks_no_fewer_people(model, alice):
    ToolPolicy.objects.filter(tool="send_email").update(effect="allow")
    ToolPolicy.objects.create(name="Two for all", tool="*", effect="ask", quorum=2)
    Tool.objects.filter(name="send_email").update(looked_at="")
    model.play(asks())
    call = pending(chat(alice))
    assert (call.quorum, call.risk) == (2, "high")


def test_trust_given_on_a_narrow_policy_does_not_cover_a_stricter_one(model, alice, rita):
    ToolPolicy.objects.create(
        name="Two for others", tool="send_email", effect="ask", quorum=2, when='args.to != "dev@example.com"'
    )
    model.play(asks(), "Sent.", asks(to="ceo@evil.example"))
    session = chat(alice)
    trust(current(session), rita)
    work()
    chat(alice, "One more.", session)
    assert (pending(session).quorum, len(mail.outbox)) == (2, 1)


def test_trust_does_not_hide_a_policy_that_became_stricter(model, alice, rita):
    """Not even from the call on which it was given."""
    model.play(asks(), "Oh.")
    session = chat(alice)
    trust(pending(session), rita)
    policy(quorum=2, confirm="send")
    work()
    assert (current(session).fault, mail.outbox) == (Fault.STRICTER, [])


def test_trust_does_not_hide_a_policy_of_which_it_would_be_enough(model, alice, rita):
    """A call was approved on fewer terms than those on which its sibling was trusted."""
    model.play([asks(), asks(subject="Two")], "Oh.")
    session = chat(alice)
    first, second = calls(session)
    approve(first, rita)
    policy(confirm="send")
    ToolCall.objects.filter(pk=second.pk).update(terms={**second.terms, "confirm": "send"})
    trust(second, rita, confirm="send")
    work()
    first.refresh_from_db()
    assert (first.status, first.fault) == (Status.LAPSED, Fault.STRICTER)
    assert [sent.subject for sent in mail.outbox] == ["Two"]


def test_what_ran_by_trust_is_settled_by_those_who_may_decide_it(model, alice, rita):
    finance = Group.objects.create(name="finance")
    finance.permissions.set(Group.objects.get(name="reviewers").permissions.all())
    rita.groups.set([finance])
    rita = User.objects.get(username="rita")
    ToolPolicy.objects.get(tool="send_email").groups.set([finance])
    model.play(asks(), "Sent.", asks(subject="Two"), "Sent.")
    session = chat(alice)
    trust(current(session), rita)
    work()
    chat(alice, "One more.", session)
    second = calls(session)[1]
    assert second.trust_id
    ToolCall.objects.filter(pk=second.pk).update(status=Status.STARTED)
    second.refresh_from_db()
    call_actions.mark_unknown(second, Fault.WORKER_DIED)
    second.refresh_from_db()
    assert second.groups == "|finance|"


def test_a_stricter_policy_wins_over_an_approval(model, alice, rita):
    model.play(asks(), "Oh.")
    session = chat(alice)
    approve(pending(session), rita)
    policy(quorum=2)
    work()
    call = current(session)
    assert (call.status, call.fault, mail.outbox) == (Status.LAPSED, Fault.STRICTER, [])
    assert "asks for more now" in model.told()[0]


@pytest.mark.parametrize(
    "changes", [{"confirm": "yes"}, {"justify": True}, {"risk": "high"}, {"open_for": timedelta(hours=1)}]
)
def test_only_what_the_approval_lacks_is_stricter(model, alice, rita, changes):
    model.play(asks(), "Oh.")
    session = chat(alice)
    approve(pending(session), rita)
    policy(**changes)
    work()
    stricter = changes.keys() & {"confirm", "justify"}
    assert statuses(session) == [Status.LAPSED if stricter else Status.SUCCEEDED]


def test_groups_that_may_decide_no_more_are_stricter(model, alice, rita):
    model.play(asks(), "Oh.")
    session = chat(alice)
    approve(pending(session), rita)
    ToolPolicy.objects.get(tool="send_email").groups.set([Group.objects.create(name="finance")])
    work()
    assert current(session).fault == Fault.STRICTER


@pytest.mark.parametrize(
    ("change", "of"),
    [({"enabled": False}, "tool"), ({"when": 'args.to == "nobody"'}, "call"), ({"tool": "x"}, "tool")],
)
def test_a_lenient_policy_that_is_gone_is_lenient_no_more(model, alice, change, of):
    """Without it, nobody decides their own request."""
    policy(requester_may_decide=True)
    alice.groups.add(Group.objects.get(name="reviewers"))
    model.play(asks(), "Oh.")
    session = chat(alice)
    approve(pending(session), User.objects.get(username="alice"))
    policy(**change)
    work()
    call = current(session)
    assert (call.status, call.fault, mail.outbox) == (Status.LAPSED, Fault.STRICTER, [])
    assert call.why == f"It takes more now than it was approved with. No policy matches this {of}."


def test_a_policy_that_is_gone_and_was_as_strict_changes_nothing(model, alice, rita):
    model.play(asks(), "Sent.")
    session = chat(alice)
    approve(pending(session), rita)
    ToolPolicy.objects.filter(tool="send_email").delete()
    work()
    assert (current(session).status, len(mail.outbox)) == (Status.SUCCEEDED, 1)


@pytest.mark.parametrize("typed", ["", "Send", "send it", "sent", "ѕend"])
def test_only_the_exact_word_approves(model, alice, rita, typed):
    policy(confirm="send")
    model.play(asks(), "Sent.")
    session = chat(alice)
    with pytest.raises(ConfirmRequired, match="“send”"):
        approve(pending(session), rita, confirm=typed)
    with pytest.raises(ConfirmRequired):
        trust(pending(session), rita, confirm=typed)
    approve(pending(session), rita, confirm=" send ")
    work()
    assert len(mail.outbox) == 1


def test_no_word_is_needed_to_deny(model, alice, rita):
    policy(confirm="send")
    model.play(asks(), "Fine.")
    session = chat(alice)
    deny(pending(session), rita)
    assert statuses(session) == [Status.DENIED]


def test_whoever_approves_says_why_where_a_policy_wants_it(model, alice, rita):
    policy(justify=True)
    model.play(asks(), "Sent.")
    session = chat(alice)
    with pytest.raises(CommentRequired):
        approve(pending(session), rita)
    approve(pending(session), rita, comment="Agreed in the meeting.")
    assert statuses(session) == [Status.APPROVED]


@pytest.mark.django_db(transaction=True)
def test_it_counts_right_when_many_approve_at_once(model, alice):
    policy(quorum=3)
    group = Group.objects.get(name="reviewers")
    people = [User.objects.create_user(f"r{number}") for number in range(8)]
    for person in people:
        person.groups.add(group)
    model.play(asks(), "Sent.")
    session = chat(alice)
    call = pending(session)

    def vote(person):
        try:
            decisions.decide(call.pk, person, ruling(call))
            return "approved"
        except AlreadyDecided:
            return "lost"
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        results = sorted(pool.map(vote, people))
    assert results == ["approved"] * 3 + ["lost"] * 5
    work()
    assert (statuses(session), len(mail.outbox)) == ([Status.SUCCEEDED], 1)
