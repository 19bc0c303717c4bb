"""Looking back: who sees what, what can be asked for, the file, and what is trusted at present."""

from __future__ import annotations

import csv
import re
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents.actions import runs
from approvals import permissions
from approvals.actions import trust as trust_actions
from approvals.actions.calls import SYSTEM
from approvals.history_views import harmless
from approvals.models import ToolCall, TrustGrant
from approvals.permissions import AUDITORS
from approvals.states import Choice, Effect, Status
from tests import desk
from tests.desk import asks, chat, pending
from tests.integration.test_queue_pages import ask, htmx, page_of, settle, text

HISTORY = "/approvals/history/"
FILE = "/approvals/history/export.csv"
TRUST = "/approvals/trust/"


def as_one(person):
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def auditor(desk):
    user = User.objects.create_user("audrey")
    user.groups.add(Group.objects.get(name=AUDITORS))
    return user


@pytest.fixture
def blocked(alice):
    return ask(
        alice,
        status=Status.BLOCKED,
        effect=Effect.BLOCK,
        groups="",
        policy="Never mail outside",
        why="not ours",
    )


@pytest.fixture
def allowed(alice):
    return ask(alice, status=Status.SUCCEEDED, effect=Effect.ALLOW, groups="", policy="Allow reading")


# --- Who ---------------------------------------------------------------------------------------------------
def test_what_nobody_was_asked_about_is_for_administrators_and_auditors(
    alice, rita, admin, auditor, blocked, allowed
):
    asked = ask(alice)
    for person in (admin, auditor):
        assert set(permissions.recorded_calls(person)) == {asked, blocked, allowed}
        assert permissions.sees_unasked(person)
    assert set(permissions.recorded_calls(rita)) == {asked}
    for person in (alice, User.objects.create_user("zoe")):
        assert not permissions.recorded_calls(person).exists()
    assert not permissions.sees_unasked(rita)


def test_the_list_and_the_page_keep_to_that(rita, admin, auditor, blocked, allowed):
    for call in (blocked, allowed):
        assert page_of(call) not in text(as_one(rita).get(HISTORY))
        assert as_one(rita).get(page_of(call)).status_code == 404
        for person in (admin, auditor):
            assert page_of(call) in text(as_one(person).get(HISTORY))
            assert as_one(person).get(page_of(call)).status_code == 200


def test_a_call_that_nobody_was_asked_about_says_why(admin, blocked, allowed):
    html = text(as_one(admin).get(page_of(blocked)))
    assert "Blocked by <b>Never mail outside</b>: not ours" in html
    assert "It did not run." in html and "deny-form" not in html
    html = text(as_one(admin).get(page_of(allowed)))
    assert "Not asked for: allowed by <b>Allow reading</b>" in html


def test_a_trusted_call_names_who_trusted_it(model, alice, rita, admin):
    model.play(asks(to="a@example.com"), asks(to="b@example.com"), "Done.")
    desk.trust(pending(chat(alice)), rita)
    desk.work()
    [used] = ToolCall.objects.filter(trust__isnull=False)
    assert "Not asked for: <b>rita</b> trusted <code>send_email</code>" in text(
        as_one(admin).get(page_of(used))
    )


def test_seeing_a_record_lets_nobody_decide_it(admin, blocked):
    for what in ("decide", "undo", "settle"):
        sent = {
            "choice": "approve",
            "version": blocked.version,
            "digest": blocked.digest,
            "outcome": "happened",
        }
        response = as_one(admin).post(f"{page_of(blocked)}{what}", {**sent, "comment": "x"})
        assert response.status_code in (403, 404, 409)
    blocked.refresh_from_db()
    assert blocked.status == Status.BLOCKED


# --- What --------------------------------------------------------------------------------------------------
def test_it_finds_by_tool_agent_person_and_day(alice, bob, rita, remy):
    old = ask(alice, requested_at=timezone.now() - timedelta(days=9))
    other = ask(bob, tool="delete_files", agent="clerk", arguments={"paths": ["a"]})
    settle(old, rita)
    settle(other, remy, Choice.DENY, Status.DENIED)
    client, today = as_one(rita), timezone.now().date()
    for query, found in {
        "": {old, other},
        "tool=send_email": {old},
        "agent=clerk": {other},
        "person=bob": {other},
        "person=rita": {old},
        "person=remy&status=denied": {other},
        "person=remy&tool=send_email": set(),
        f"since={today - timedelta(days=1)}": {other},
        f"until={today - timedelta(days=1)}": {old},
        f"since={today - timedelta(days=9)}&until={today}": {old, other},
    }.items():
        html = text(client.get(f"{HISTORY}?{query}"))
        assert {call for call in (old, other) if page_of(call) in html} == found, query


def test_filters_for_what_was_not_asked(rita, admin, blocked, allowed):
    html = text(as_one(admin).get(f"{HISTORY}?status=blocked"))
    assert page_of(blocked) in html and page_of(allowed) not in html
    html = text(as_one(admin).get(f"{HISTORY}?status=unasked"))
    assert page_of(allowed) in html and page_of(blocked) not in html
    assert "Not asked" not in text(as_one(rita).get(HISTORY))


def test_a_filter_stays_while_another_is_chosen(rita, alice):
    settle(ask(alice), rita)
    assert 'href="?status=denied&amp;tool=send_email"' in text(as_one(rita).get(f"{HISTORY}?tool=send_email"))


def test_it_says_what_is_no_date(rita):
    assert "is no date" in text(as_one(rita).get(f"{HISTORY}?since=yesterday"))


@pytest.mark.parametrize("query", ["since=0000-00-00", "person=%00", "tool='\"", "status=x&before=x"])
def test_it_takes_any_query(rita, query):
    for path in (HISTORY, FILE):
        assert as_one(rita).get(f"{path}?{query}").status_code == 200


# --- The file ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t1", "\r1", "\n1"])
def test_no_cell_is_a_formula(cell):
    assert harmless(cell) == f"'{cell}"


def test_nor_is_what_a_spreadsheet_splits_off():
    """Excel takes a semicolon for the separator in much of Europe, whatever the file is written with."""
    for between in (";", "; ", ';"', "\t", "|", "|\u00a0", "\n", "\r\n", ";;", "\t \t"):
        for sign in "=+-@":
            assert harmless(f"a{between}{sign}1") == f"a{between}'{sign}1"


def test_other_cells_stay_as_they_are():
    cells = ["", "a=1", "7", "'x", "a; b", "a;b=1", "x-1; y", "2026-11-23T02:00:00+00:00"]
    assert [harmless(cell) for cell in cells] == cells


def test_many_separators_take_no_time():
    assert len(harmless("\t " * 200_000)) == 400_001


def test_the_file_holds_what_the_list_holds(rita, alice, blocked):
    call = ask(alice, agent="=cmd|' /C calc'!A0", arguments={"subject": "+1"})
    settle(call, rita, Choice.DENY, Status.DENIED, comment="@no, never")
    settle(ask(alice, tool="delete_files", arguments={"paths": ["a"]}), rita)
    response = as_one(rita).get(f"{FILE}?status=denied")
    assert response["Content-Type"].startswith("text/csv")
    [row] = csv.DictReader(StringIO(text(response)))
    assert row["call"] == str(call.pk) and row["decided_by"] == "rita" and row["for"] == "alice"
    assert (row["agent"], row["note"]) == ("'=cmd|' /C calc'!A0", "'@no, never")


def test_every_cell_of_the_file_is_in_quotes(rita, alice):
    settle(ask(alice, agent="a;=1+cmd|' /C calc'!A0"), rita, Choice.DENY, Status.DENIED)
    head, line = text(as_one(rita).get(FILE)).splitlines()
    assert head.startswith('"asked_at","tool",')
    assert ",\"a;'=1+cmd|' /C calc'!A0\"," in line


def test_only_reviewers_get_the_file(alice):
    assert as_one(alice).get(FILE).status_code == 403


# --- Trust -------------------------------------------------------------------------------------------------
def test_the_page_of_trust_is_told_anew_in_part(alice, rita):
    call = ask(alice)
    desk.trust(call, rita, trust_uses=5)
    [grant] = TrustGrant.objects.all()
    whole = text(as_one(rita).get(TRUST))
    assert (
        'hx-trigger="nod:refresh from:body"' in whole and "used 0 of 5 times" in whole and "7 h left" in whole
    )
    part = text(htmx(as_one(rita), TRUST, "grants"))
    assert f'id="grant-{grant.pk}"' in part and "<html" not in part and 'id="grants"' not in part
    trust_actions.revoke(grant.pk, grant.session, rita)
    part = text(htmx(as_one(rita), TRUST, "grants"))
    now, over = part.split('id="over"')
    assert 'id="no-trust"' in now and f'id="grant-{grant.pk}"' in over
    assert "revoked by rita" in over and "used 0 of 5 times" in over and "Revoke</button>" not in part


def test_trust_that_is_used_up_or_too_old_has_ended(alice, rita):
    for session, change in (
        ("used", {"uses": 5}),
        ("old", {"expires_at": timezone.now() - timedelta(hours=1)}),
    ):
        call = ask(alice, session=session)
        desk.trust(call, rita, trust_uses=5)
        TrustGrant.objects.filter(session=session).update(**change)
    now, over = text(as_one(rita).get(TRUST)).split('id="over"')
    assert 'id="no-trust"' in now
    assert "it is used up" in over and "its time is up" in over


def test_the_page_of_trust_asks_the_database_as_often_for_many(alice, rita):
    def queries():
        with CaptureQueriesContext(connection) as asked:
            assert as_one(rita).get(TRUST).status_code == 200
        return len(asked)

    desk.trust(ask(alice), rita)
    before = queries()
    for number in range(4):
        desk.trust(ask(alice, session=f"other-{number}"), rita)
    assert queries() == before
    assert text(as_one(rita).get(TRUST)).count("<button>Revoke</button>") == 5
    TrustGrant.objects.exclude(session="other-1").update(revoked_at=timezone.now(), revoked_by=rita)
    before = queries()
    TrustGrant.objects.filter(session="other-2").update(revoked_at=None)
    assert queries() == before


def test_the_page_of_trust_lists_what_used_it(model, alice, rita, remy, admin):
    model.play([asks(), asks(subject="<b>Again</b>")], "Done.")
    session = chat(alice)
    first = ToolCall.objects.filter(session=session.key, status=Status.PENDING).earliest("pk")
    desk.trust(first, rita)
    for call in desk.calls(session, status=Status.PENDING):
        desk.approve(call, rita)
    desk.work()
    model.play([asks(subject="<b>Used</b>")], "Done.")
    chat(alice, "And once more.", session)
    [used] = ToolCall.objects.filter(trust__isnull=False)
    history = f"{HISTORY}?trust={used.trust_id}"
    for person in (rita, remy, admin):
        html = text(as_one(person).get(TRUST))
        uses = html.split('class="uses"')[1].split("</details>")[0]
        assert "“&lt;b&gt;Used&lt;/b&gt;”" in uses and "done, " in uses
        assert "Again" not in uses
        assert page_of(used) in uses and history in uses
        for address in (history, f"{HISTORY}?status=trusted"):
            found = text(as_one(person).get(address))
            assert page_of(used) in found and page_of(first) not in found
        assert as_one(person).get(page_of(used)).status_code == 200


def test_what_was_trusted_is_for_those_who_see_what_it_was_given_on(alice, rita):
    group = Group.objects.create(name="others")
    group.permissions.add(Permission.objects.get(codename="review_toolcall"))
    other = User.objects.create_user("olga")
    other.groups.add(group)
    call = ask(alice)
    desk.trust(call, rita)
    used = ask(alice, status=Status.SUCCEEDED, effect=Effect.ALLOW, groups="", trust=TrustGrant.objects.get())
    for person, there in ((rita, True), (other, False)):
        assert (page_of(used) in text(as_one(person).get(HISTORY))) is there
        assert (page_of(used) in text(as_one(person).get(TRUST))) is there
        assert as_one(person).get(page_of(used)).status_code == (200 if there else 404)


def test_the_outcome_names_the_trust_and_how_far_it_goes(alice, rita, remy):
    call = ask(alice)
    desk.trust(call, rita, trust_same=("to",), trust_uses=3, trust_for=timedelta(hours=1))
    grant = TrustGrant.objects.get()
    client = as_one(rita)
    html = text(client.get(page_of(call)))
    said = " ".join(re.sub("<[^>]+>", "", html.split('id="outcome-trust">')[1].split("</p>")[0]).split())
    assert said.startswith(
        "send_email is not asked for in this session of alice while to stays the same, for 59 min"
    )
    assert "and for at most 3 calls. See what it lets through, or revoke it" in said
    assert f'href="{TRUST}#grant-{grant.pk}"' in html
    seen = html.split('data-seen="')[1].split('"')[0]
    trust_actions.revoke(grant.pk, grant.session, remy)
    part = htmx(client, f"{page_of(call)}?seen={seen}", "desk-detail")
    assert "The trust that was given here is over: revoked by remy." in text(part)


@pytest.mark.parametrize(
    ("actor", "words"),
    [("alice", "Stopped by alice"), (SYSTEM, "Cancelled. Its chat was stopped or broke off")],
)
def test_a_cancelled_call_says_who_stopped_it_and_when(model, alice, rita, actor, words):
    model.play(asks(), "Sent.")
    session = chat(alice)
    call = pending(session)
    runs.stop(desk.last_run(session), actor)
    told = f'{words}. It did not run. <time class="muted" data-since="'
    assert told in text(as_one(rita).get(page_of(call)))
    for person, page in ((rita, HISTORY), (alice, f"/chat/{session.pk}/")):
        assert words.split(".")[0] in text(as_one(person).get(page))
    assert f'{words.split(".")[0]}, <time data-since="' in text(as_one(alice).get(f"/chat/{session.pk}/"))


def test_it_says_which_of_those_were_denied(alice, rita, remy):
    for choice, status in ((Choice.DENY, Status.DENIED), (Choice.APPROVE, Status.SUCCEEDED)):
        settle(ask(alice, session="same"), remy, choice, status)
    settle(ask(alice, definition="another", session="same"), remy, Choice.DENY, Status.DENIED)
    ToolCall.objects.filter(pk=ask(alice, session="same").pk).update(status=Status.EXPIRED)
    html = text(as_one(rita).get(page_of(ask(alice, session="same"))))
    assert "Would have covered 3 of the last 4" in html
    assert '<span id="would-denied">; 1 of these was denied</span>' in html
    assert re.findall(r'class="became[^>]*>(\w+)<', html) == ["expired", "denied", "approved", "denied"]
