"""The figures as the database gives them, and their page."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.utils import timezone

from approvals import insights, permissions
from approvals.actions import settlements, undoing
from approvals.figures import Fate
from approvals.insights import Question
from approvals.models import Decision, ToolCall
from approvals.states import Choice, Outcome, Status
from tests import desk
from tests.desk import asks, chat, pending
from tests.fakes.model import Use
from tests.integration.test_queue_pages import ask

PAGE = "/insights/"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def figures(user, days=30, now=None, **filters):
    return insights.ask(Question(user, days, now or timezone.now(), **filters))


def text(response):
    return response.content.decode()


@pytest.fixture
def as_rita(client, rita):
    client.force_login(rita)
    return client


def decided(by, call, took, choice=Choice.APPROVE, **fields):
    """The call was decided so long after it was asked for."""
    at = call.requested_at + took
    status = Status.DENIED if choice == Choice.DENY else Status.SUCCEEDED
    ToolCall.objects.filter(pk=call.pk).update(status=status, decided_at=at)
    return Decision.objects.create(
        call=call, by=by, requested_by=call.requested_by, choice=choice, digest="", version=1, at=at, **fields
    )


# --- Exact ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(3))
def test_the_figures_are_those_of_a_count_by_hand(alice, rita, remy, admin, seed):
    dice = random.Random(seed)
    clerks = Group.objects.create(name="clerks")
    calls = []
    for _ in range(120):
        asked = NOW - timedelta(milliseconds=dice.randrange(0, 45 * 86_400_000))
        groups = dice.choice(["|reviewers|", "|reviewers|", f"|{clerks.name}|", ""])
        tool, agent = dice.choice(["send_email", "delete_files"]), dice.choice(["assistant", "other", ""])
        call = ask(alice, requested_at=asked, groups=groups, tool=tool, agent=agent)
        left = asked + timedelta(milliseconds=dice.choice([900, 1999, 2000, dice.randrange(10**9)]))
        left = min(left, NOW)
        match dice.choice(["waits", "expired", "cancelled", "approve", "approve", "deny", "undone"]):
            case "expired" | "cancelled" as status:
                ToolCall.objects.filter(pk=call.pk).update(status=status, finished_at=left)
            case "approve" | "deny" as choice:
                if dice.random() < 0.3:
                    ToolCall.objects.filter(pk=call.pk).update(proposed={"to": "other"})
                decided(dice.choice([rita, remy]), call, left - asked, Choice(choice))
            case "undone":
                decided(rita, call, left - asked, undone_at=NOW)
                ToolCall.objects.filter(pk=call.pk).update(status=Status.PENDING, decided_at=None)
        call.refresh_from_db()
        calls.append(call)
    for days in insights.STEPS:
        check(figures(rita, days, NOW), [c for c in calls if "|reviewers|" in c.groups], days)
        check(figures(admin, days, NOW), [c for c in calls if c.groups], days)
        some = [
            c for c in calls if "|reviewers|" in c.groups and c.tool == "send_email" and c.agent == "other"
        ]
        check(figures(rita, days, NOW, tool="send_email", agent="other"), some, days)


def fate(call):
    if call.status == Status.SUCCEEDED:
        return Fate.APPROVED
    return Fate.WAITING if call.status == Status.PENDING else Fate(call.status)


def left(call):
    return call.decided_at or call.finished_at


def check(found, calls, days):
    start = NOW - timedelta(days=days)
    mine = [call for call in calls if call.requested_at >= start]
    for tally, its in [
        (found.every, mine),
        *((tally, [c for c in mine if c.tool == tally.name]) for tally in found.tools),
        *((tally, [c for c in mine if c.agent == tally.name]) for tally in found.agents),
    ]:
        assert tally.asked == len(its)
        assert {each: tally.fates[each] for each in Fate} == {
            each: sum(fate(call) == each for call in its) for each in Fate
        }
        took = sorted(c.decided_at - c.requested_at for c in its if c.decided_at)
        assert tally.times == [each // timedelta(milliseconds=1) for each in took]
        assert tally.edited == sum(fate(c) == Fate.APPROVED and c.proposed is not None for c in its)
    made = Decision.objects.filter(undone_at=None, call__in=mine).select_related("by", "call")
    for tally in found.reviewers:
        its = [one for one in made if one.by.username == tally.name]
        fast = timedelta(seconds=2)
        yes = [one for one in its if one.choice != Choice.DENY]
        assert (tally.approved, tally.decided) == (len(yes), len(its))
        assert tally.fast == sum(one.at - one.call.requested_at < fast for one in yes)
    assert sum(tally.decided for tally in found.reviewers) == len(made)
    step = insights.STEPS[days]
    assert found.moments[-1].at == NOW and len(found.moments) == timedelta(days=days) // step
    for moment in found.moments[:-1]:
        assert moment.asked == sum(moment.at - step <= c.requested_at < moment.at for c in mine)
        waits = [c for c in calls if c.requested_at < moment.at and (not left(c) or left(c) >= moment.at)]
        assert moment.waiting == len(waits), moment
    assert found.moments[-1].waiting == sum(call.status == Status.PENDING for call in calls)


# --- Of the real thing ------------------------------------------------------------------------------------
def test_a_quorum_is_decided_by_the_last_that_it_takes(alice, rita, remy):
    call = ask(alice, quorum=2, requested_at=timezone.now() - timedelta(minutes=10))
    desk.approve(call, rita)
    assert figures(rita).every.fates == {Fate.WAITING: 1}
    Decision.objects.update(at=call.requested_at + timedelta(minutes=1))
    call.refresh_from_db()
    desk.approve(call, remy)
    found = figures(rita)
    assert found.every.fates == {Fate.APPROVED: 1}
    assert 599_000 < found.every.median < 660_000
    assert {one.name: one.approved for one in found.reviewers} == {"rita": 1, "remy": 1}


def test_an_edit_is_counted_where_the_arguments_were_changed(alice, rita):
    desk.approve(ask(alice), rita, arguments={"to": "a@example.com", "subject": "s", "body": "b"})
    desk.approve(ask(alice), rita)
    found = figures(rita)
    assert (found.every.edited, found.every.fates[Fate.APPROVED], found.reviewers[0].edited) == (1, 2, 1)


def test_an_undone_decision_does_not_count(alice, rita):
    call = desk.approve(ask(alice), rita)
    undoing.undo(call.pk, rita, call.version)
    found = figures(rita)
    assert found.every.fates == {Fate.WAITING: 1} and not found.reviewers


def test_trust_uses_are_counted_for_those_who_see_the_grant(model, alice, rita):
    model.play(asks(to="a@example.com"), asks(to="b@example.com"), "Done.")
    session = chat(alice)
    desk.trust(pending(session), rita)
    desk.work()
    assert figures(rita).trust_uses == [("send_email", 1)]
    stranger = User.objects.create_user("zoe")
    assert figures(stranger).trust_uses == []


def test_unknown_outcomes_and_how_they_were_settled(alice, rita, remy):
    outcomes = [Outcome.HAPPENED, Outcome.GIVE_UP, Outcome.RUN_AGAIN, None]
    from approvals import audit

    for outcome in outcomes:
        asked = timezone.now() - timedelta(hours=1)
        call = ask(alice, requested_at=asked)
        decided(rita, call, timedelta(seconds=30))
        began = timezone.now() - timedelta(minutes=50)
        ToolCall.objects.filter(pk=call.pk).update(status=Status.UNKNOWN, started_at=began)
        call.refresh_from_db()
        with audit.audited():
            audit.record("call.unknown", "system", call=call)
        if outcome:
            seen = settlements.Settlement(outcome, call.version, call.digest, "I looked.")
            settlements.settle(call.pk, remy, seen)
    found = figures(rita)
    assert (found.unknown.total, found.unknown.open) == (4, 1)
    assert found.unknown.outcomes == {outcome.value: 1 for outcome in outcomes if outcome}
    assert found.every.times == [30_000] * 4  # the first answer counts, not what was said of the outcome
    assert [one.name for one in found.reviewers] == ["rita"]
    assert figures(User.objects.create_user("zoe")).unknown.total == 0


def test_calls_that_were_never_asked_do_not_count(model, alice, admin):
    model.play(Use("get_weather", {"city": "Berlin"}), "Sunny.")
    chat(alice)
    assert ToolCall.objects.exists()
    assert figures(admin).every.asked == 0


# --- The page ---------------------------------------------------------------------------------------------
def test_only_reviewers_see_figures(client, alice):
    client.force_login(alice)
    assert client.get(PAGE).status_code == 403
    assert Client().get(PAGE).status_code == 302


def test_it_says_so_where_there_is_nothing(as_rita):
    html = text(as_rita.get(PAGE))
    assert 'id="no-figures"' in html and 'id="by-reviewer"' not in html


def test_one_call_is_enough(as_rita, alice, rita):
    decided(rita, ask(alice), timedelta(seconds=90))
    html = text(as_rita.get(PAGE))
    assert '<dd id="figure-median">1.5 min</dd>' in html
    assert '<dd id="figure-approved">100% <small>1</small></dd>' in html
    assert "Nobody approved within 2 seconds" in html


def test_it_says_fast_approvals_in_words(as_rita, alice, rita):
    for seconds in (1, 1.9, 2, 60):
        decided(rita, ask(alice), timedelta(seconds=seconds))
    assert "2 of rita’s 4 approvals came within 2 seconds." in text(as_rita.get(PAGE))


def test_the_period_and_filters_are_in_the_address(as_rita, alice, rita):
    decided(rita, ask(alice, requested_at=timezone.now() - timedelta(days=20)), timedelta(seconds=9))
    assert 'id="no-figures"' in text(as_rita.get(f"{PAGE}?days=7"))
    html = text(as_rita.get(f"{PAGE}?days=90&tool=send_email"))
    assert 'id="figure-asked">1<' in html
    assert 'href="?days=7&amp;tool=send_email"' in html
    assert re.search(r"<option selected>send_email</option>", html)
    assert 'id="no-figures"' in text(as_rita.get(f"{PAGE}?tool=delete_files"))


@pytest.mark.parametrize(
    "query", ["days=8", "days=x", "days=-1", "days=%00", "tool=%00%27", "agent=<script>"]
)
def test_it_takes_any_query(as_rita, query):
    response = as_rita.get(f"{PAGE}?{query}")
    assert response.status_code == 200 and '<script>"' not in text(response)


def test_what_agents_call_themselves_stays_text(as_rita, alice, rita):
    decided(rita, ask(alice, agent="<b>x</b>"), timedelta(seconds=9))
    html = text(as_rita.get(PAGE))
    assert "<b>x</b>" not in html and "&lt;b&gt;x&lt;/b&gt;" in html


def test_no_style_stands_in_the_markup(as_rita, alice, rita):
    decided(rita, ask(alice), timedelta(seconds=9))
    assert "style=" not in text(as_rita.get(PAGE))


def test_it_asks_the_database_a_fixed_number_of_times(as_rita, alice, rita, django_assert_max_num_queries):
    for _ in range(5):
        decided(rita, ask(alice, agent=uuid4().hex), timedelta(seconds=9))
    with django_assert_max_num_queries(16):
        as_rita.get(PAGE)
    assert connection.vendor and permissions.may_review(rita)
