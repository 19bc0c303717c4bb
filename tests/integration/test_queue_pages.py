"""The approval queue in the browser, without a browser."""

from __future__ import annotations

import re
from datetime import timedelta
from html import escape, unescape
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from approvals import audit_views, queue_list
from approvals.actions import calls as call_actions
from approvals.actions import decisions
from approvals.actions.decisions import Ruling
from approvals.digest import call_digest
from approvals.models import AuditEntry, Decision, Tool, ToolCall, TrustGrant
from approvals.states import Choice, Fault, Outcome, Status
from tests import desk

MAIL = {"to": "dev@example.com", "subject": "Launch", "body": "Hello,\n\nwhat is in it?"}
QUEUE = "/approvals/"


def ask(by, arguments=MAIL, tool="send_email", session="s", groups="|reviewers|", **fields):
    """A pending call, as the ledger would hold it."""
    row = Tool.objects.get(name=tool)
    digest = call_digest(session=session, tool=tool, definition=row.definition, arguments=arguments)
    terms = {
        "requester_may_decide": False,
        "executable_for": 900,
        "trust_expires_in": 28800,
        "trust_max_uses": None,
    }
    values = {
        "session": session,
        "tool_use_id": uuid4().hex,
        "tool": tool,
        "agent": "assistant",
        "requested_by": by,
        "arguments": arguments,
        "definition": row.definition,
        "digest": digest,
        "status": Status.PENDING,
        "effect": "ask",
        "policy": "Ask before mail goes out",
        "risk": "medium",
        "terms": terms,
        "groups": groups,
        "expires_at": timezone.now() + timedelta(hours=23),
        **fields,
    }
    call = ToolCall.objects.create(**values)
    call.refresh_from_db()
    return call


def settle(call, by, choice=Choice.APPROVE, status=Status.SUCCEEDED, comment=""):
    now = timezone.now()
    ToolCall.objects.filter(pk=call.pk).update(status=status, decided_at=now, started_at=now, finished_at=now)
    Decision.objects.create(
        call=call,
        by=by,
        requested_by=call.requested_by,
        choice=choice,
        comment=comment,
        digest=call.digest,
        version=1,
    )


def page_of(call):
    return reverse("approvals:call", args=[call.pk])


def decide(client, call, choice="approve", htmx=False, **fields):
    data = {"choice": choice, "version": call.version, "digest": call.digest, **fields}
    headers = {"HX-Request": "true", "HX-Target": "desk-detail"} if htmx else {}
    return client.post(reverse("approvals:decide", args=[call.pk]), data, headers=headers)


def htmx(client, path, target):
    return client.get(path, headers={"HX-Request": "true", "HX-Target": target})


def text(response):
    return response.content.decode()


@pytest.fixture
def call(alice):
    return ask(alice)


@pytest.fixture
def as_rita(client, rita):
    client.force_login(rita)
    return client


# --- Who may ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [QUEUE, "/approvals/history/", "/approvals/count/", "card"])
@pytest.mark.parametrize(
    ("who", "status"),
    [(None, 302), ("alice", 403), ("bob", 403), ("rita", 200), ("remy", 200), ("admin", 200)],
)
def test_it_lets_reviewers_in(client, request, call, path, who, status):
    if who:
        client.force_login(request.getfixturevalue(who))
    assert client.get(page_of(call) if path == "card" else path).status_code == status


@pytest.mark.parametrize(
    ("who", "status"),
    [(None, 302), ("alice", 403), ("bob", 403), ("rita", 302), ("remy", 302), ("admin", 403)],
)
def test_it_lets_reviewers_decide(client, request, call, who, status):
    if who:
        client.force_login(request.getfixturevalue(who))
    assert decide(client, call).status_code == status
    assert Decision.objects.count() == (1 if who in ("rita", "remy") else 0)


def test_it_hides_calls_of_other_groups(as_rita, alice):
    Group.objects.create(name="finance")
    call = ask(alice, groups="|finance|")
    assert as_rita.get(page_of(call)).status_code == 404
    assert decide(as_rita, call).status_code == 404
    assert str(call.pk) not in text(as_rita.get(QUEUE))


def test_it_has_no_page_for_a_call_that_is_not_there(as_rita):
    assert as_rita.get(reverse("approvals:call", args=[uuid4()])).status_code == 404


@pytest.mark.parametrize("method", ["get", "head", "put", "delete"])
def test_it_decides_by_post_alone(as_rita, call, method):
    response = getattr(as_rita, method)(reverse("approvals:decide", args=[call.pk]))
    assert response.status_code == 405


def test_it_writes_down_who_decides_on_what_is_not_theirs_to_see(as_rita, call):
    ToolCall.objects.update(groups="|finance|")
    assert decide(as_rita, call).status_code == 404
    refused = AuditEntry.objects.latest("seq")
    assert (refused.kind, refused.actor, refused.data["code"]) == ("decision.refused", "rita", "not_found")


def test_it_wants_a_csrf_token(rita, call):
    client = Client(enforce_csrf_checks=True)
    client.force_login(rita)
    assert decide(client, call).status_code == 403
    response = decide(client, call, htmx=True)
    assert (response.status_code, response["HX-Refresh"]) == (403, "true")
    call.refresh_from_db()
    assert call.status == Status.PENDING


# --- The list -----------------------------------------------------------------------------------------


def test_it_says_that_nothing_waits(as_rita):
    assert "Nothing is waiting." in text(as_rita.get(QUEUE))


def test_it_lists_the_oldest_first_and_shows_it(as_rita, alice):
    first, second = ask(alice), ask(alice, {**MAIL, "to": "x@example.com", "subject": "Other"})
    html = text(as_rita.get(QUEUE))
    assert html.index(f"row-{first.pk}") < html.index(f"row-{second.pk}")
    assert f'id="card" data-call="{first.pk}"' in html
    assert "(2) Approvals · Nod" in html


def test_a_very_long_list_is_cut_and_says_so(as_rita, alice, monkeypatch):
    monkeypatch.setattr(queue_list, "LISTED", 2)
    calls = [ask(alice, session=f"s{number}") for number in range(2)]
    assert "the list goes on" not in text(as_rita.get(QUEUE))
    calls += [ask(alice, session=f"s{number}") for number in range(2, 5)]
    page = text(as_rita.get(QUEUE))
    assert [f"row-{call.pk}" in page for call in calls] == [True, True, False, False, False]
    assert "3 more wait; the list goes on as these are decided." in page


def test_it_gives_htmx_the_list_alone(as_rita, call):
    html = text(htmx(as_rita, QUEUE, "queue-list"))
    assert "<html" not in html
    assert f"row-{call.pk}" in html
    assert 'id="pending" data-count="1" hx-swap-oob="true"' in html


def test_it_gives_htmx_the_card_alone(as_rita, call):
    html = text(htmx(as_rita, page_of(call), "desk-detail"))
    assert html.strip().startswith("<article")
    assert "<html" not in html


def test_it_sends_nothing_where_nothing_changed(as_rita, call):
    assert htmx(as_rita, f"{page_of(call)}?seen=1-pending-0", "desk-detail").status_code == 204
    assert htmx(as_rita, f"{page_of(call)}?seen=1-approved", "desk-detail").status_code == 200


def test_it_never_puts_a_card_in_place_of_another_by_itself(as_rita, call, alice):
    other = ask(alice)
    html = text(htmx(as_rita, page_of(other), "desk-detail"))
    assert f'data-call="{other.pk}"' in html
    assert str(call.pk) not in html


def test_it_forbids_to_keep_pages(as_rita, call):
    assert "no-store" in as_rita.get(page_of(call))["Cache-Control"]


def test_it_shows_what_was_decided_lately(as_rita, alice, remy):
    settle(ask(alice), remy, Choice.DENY, Status.DENIED, "No.")
    html = text(as_rita.get(QUEUE))
    assert "Decided lately" in html
    assert "Denied by remy" in html


@pytest.mark.parametrize("path", [QUEUE, "/approvals/history/"])
def test_it_asks_the_database_no_more_for_more_rows(as_rita, alice, bob, remy, path):
    def count(rows):
        for _ in range(rows):
            ask(alice)
            settle(ask(bob), remy)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert as_rita.get(path).status_code == 200
        return len(queries)

    assert count(5) == count(45) <= 28


# --- The card -----------------------------------------------------------------------------------------


def test_it_shows_who_wants_what_and_why(as_rita, call):
    html = text(as_rita.get(page_of(call)))
    for words in (
        "<b>assistant</b>",
        "wants this for <b>alice</b>",
        "Asks because of <b>Ask before mail goes out</b>",
        "any of reviewers, not alice",
        "dev@example.com",
        "what is in it?",
        "Medium risk",
        "nothing decided in the last 30 days",
    ):
        assert words in html


def test_it_shows_hostile_arguments_as_text(as_rita, alice):
    evil = "<img src=x onerror=alert(1)>"
    call = ask(
        alice,
        {"to": "ex\u0430mple@example.com", "subject": evil, evil: evil, "body": "\u202egpj.exe"},
        said=evil,
    )
    html = text(as_rita.get(page_of(call)))
    assert "<img" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert "<mark>U+0430 \u0430</mark>" in html
    assert "<mark>U+202E</mark>" in html
    assert "\u202e" not in html
    assert "look closely" in html


def test_what_the_agent_says_stands_below_and_is_labelled(as_rita, alice):
    """Prose that plays the dialog comes after what will run, and says whose words it is."""
    forged = "What will run: send_email to boss@example.com. Approved by remy."
    html = text(htmx(as_rita, page_of(ask(alice, MAIL, said=forged)), "desk-detail"))
    places = [
        html.index(words) for words in ("What will run", MAIL["to"], "its own words, not checked", forged)
    ]
    assert places == sorted(places)
    assert html.count(forged) == 1


def test_it_has_no_inline_script_style_or_handler(as_rita, call):
    html = text(as_rita.get(page_of(call)))
    assert not re.search(r"<script(?![^>]* src=)", html)
    assert not re.search(r"<script(?![^>]* nonce=\"[^\"]+\")", html)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|hx-on", html)


def test_it_shows_a_long_argument_whole(as_rita, alice):
    call = ask(alice, {**MAIL, "body": "line\n" * 500 + "the very end"})
    html = text(as_rita.get(page_of(call)))
    assert "the very end" in html
    assert "Show all: 501 lines" in html


def test_it_shows_what_happened_before(as_rita, alice, remy):
    settle(ask(alice), remy)
    settle(ask(alice), remy, Choice.DENY, Status.DENIED, "No.")
    html = text(as_rita.get(page_of(ask(alice))))
    assert "1 approved, 1 denied in 30 days · last: denied by remy" in html


def test_what_happened_before_is_what_stands(as_rita, alice, remy, rita):
    """Neither a decision that was undone, nor one twice, nor one that the reviewer may not see."""
    undone, twice, hidden = (ask(alice) for _ in range(3))
    for call in (undone, twice, hidden):
        settle(call, remy)
    Decision.objects.filter(call=undone).update(undone_at=Now())
    again = Decision.objects.get(call=twice)
    again.pk, again.round = None, 2
    again.save()
    ToolCall.objects.filter(pk=hidden.pk).update(groups="|finance|")
    html = text(as_rita.get(page_of(ask(alice))))
    assert "1 approved, 0 denied in 30 days" in html


def test_it_gives_an_administrator_no_buttons(client, admin, call):
    client.force_login(admin)
    html = text(client.get(page_of(call)))
    assert "Only reviewers may decide this call." in html
    assert "approve-form" not in html


def test_it_says_why_the_requester_may_not_decide(as_rita, rita):
    html = text(as_rita.get(page_of(ask(rita))))
    assert "somebody else has to decide it" in html
    assert "approve-form" not in html


def test_it_offers_no_trust_where_it_is_always_asked(as_rita, alice):
    html = text(as_rita.get(page_of(ask(alice, {"paths": ["a"]}, "delete_files", effect="always_ask"))))
    assert "trust-form" not in html
    assert "approve-form" in html


def test_it_limits_how_long_trust_may_last(as_rita, alice):
    terms = {
        "requester_may_decide": False,
        "executable_for": 900,
        "trust_expires_in": 7200,
        "trust_max_uses": 20,
    }
    html = text(as_rita.get(page_of(ask(alice, terms=terms))))
    assert re.findall(r'<option value="(\d+)">', html) == ["3600", "7200"]
    assert 'name="trust_uses" inputmode="numeric" maxlength="8" value="" placeholder="20"' in html


def test_it_opens_a_form_without_scripts_too(as_rita, call):
    html = text(as_rita.get(f"{page_of(call)}?form=deny"))
    assert re.search(r'id="deny-form"[^>]*data-decision>', html)
    assert re.search(r'id="trust-form"[^>]*hidden>', html)


# --- Decisions ----------------------------------------------------------------------------------------


def test_it_approves(as_rita, rita, call):
    response = decide(as_rita, call)
    assert response.url == page_of(call)
    html = text(as_rita.get(page_of(call)))
    assert "Approved by rita" in html
    assert "approve-form" not in html


def test_it_answers_htmx_with_the_card(as_rita, call):
    response = decide(as_rita, call, htmx=True)
    assert response.status_code == 200
    assert response["HX-Trigger"] == "nod:refresh" or "nod:refresh" in response["HX-Trigger"]
    assert "Approved by rita" in text(response)
    assert "<html" not in text(response)


def test_it_denies_with_a_reason(as_rita, call):
    decide(as_rita, call, "deny", comment="Wrong list.")
    call.refresh_from_db()
    assert call.status == Status.DENIED
    assert "Wrong list." in text(as_rita.get(page_of(call)))


def test_it_trusts_for_as_long_as_was_chosen(as_rita, call):
    decide(as_rita, call, "trust", trust_for="3600")
    grant = TrustGrant.objects.get()
    assert timedelta(minutes=59) < grant.expires_at - timezone.now() <= timedelta(hours=1)


@pytest.mark.parametrize("by_htmx", [True, False])
def test_it_wants_a_reason_beside_the_field(as_rita, call, by_htmx):
    response = decide(as_rita, call, "deny", htmx=by_htmx, comment="  ")
    assert response.status_code == 422
    assert re.search(r'id="comment-error" role="alert">Say why', text(response))
    assert re.search(r'id="deny-form"[^>]*data-decision>', text(response))


def test_it_keeps_what_was_typed(as_rita, call):
    response = decide(as_rita, call, "deny", comment="x" * 2001)
    assert response.status_code == 422
    assert "x" * 2001 in text(response)


def test_it_tells_the_loser_who_decided(client, rita, remy, call):
    desk.approve(call, remy)
    client.force_login(rita)
    response = decide(client, call, htmx=True)
    assert response.status_code == 409
    assert "remy approved this before you." in text(response)
    assert "Approved by remy" in text(response)


def test_it_shows_a_changed_call_anew(as_rita, call):
    response = decide(as_rita, call, "deny", htmx=True, digest="0" * 64, comment="Typed with care.")
    assert response.status_code == 409
    assert "not what this page showed" in text(response)
    assert "Typed with care." in text(response)


@pytest.mark.parametrize(
    "fields",
    [{"choice": "maybe"}, {"version": "x"}, {"version": ""}, {"version": "\N{ARABIC-INDIC DIGIT ONE}"}],
)
def test_it_refuses_an_incomplete_form(as_rita, call, fields):
    data = {"choice": "approve", "version": call.version, "digest": call.digest, **fields}
    assert as_rita.post(reverse("approvals:decide", args=[call.pk]), data).status_code == 422
    call.refresh_from_db()
    assert call.status == Status.PENDING


def test_it_says_that_a_call_expired(as_rita, alice):
    call = ask(alice, expires_at=timezone.now() - timedelta(seconds=1))
    response = decide(as_rita, call, htmx=True)
    assert response.status_code == 409
    assert "expired" in text(response)


# --- History ------------------------------------------------------------------------------------------


def test_it_pages_through_history(as_rita, alice, remy):
    made = [ask(alice) for _ in range(51)]
    for call in made:
        settle(call, remy)
    html = text(as_rita.get("/approvals/history/"))
    assert page_of(made[-1]) in html
    assert page_of(made[0]) not in html
    older = re.search(r'href="(\?before=[^"]+)">Older', html)
    assert older
    assert page_of(made[0]) in text(as_rita.get(f"/approvals/history/{unescape(older[1])}"))


def test_it_filters_history(as_rita, alice, remy):
    done, denied = ask(alice), ask(alice)
    settle(done, remy)
    settle(denied, remy, Choice.DENY, Status.DENIED, "No.")
    html = text(as_rita.get("/approvals/history/?status=denied"))
    assert page_of(denied) in html
    assert page_of(done) not in html


@pytest.mark.parametrize("query", ["status=nope", "before=nope", "status=%27&before=%00"])
def test_it_takes_any_query_for_history(as_rita, call, query):
    assert as_rita.get(f"/approvals/history/?{query}").status_code == 200


# --- Undo, and calls whose outcome is unknown -------------------------------------------------------------
def act(client, call, action, **fields):
    return client.post(reverse(f"approvals:{action}", args=[call.pk]), {"version": call.version, **fields})


@pytest.fixture
def unknown(call, rita):
    decisions.decide(call.pk, rita, Ruling(Choice.APPROVE, call.version, call.digest))
    ToolCall.objects.filter(pk=call.pk).update(status=Status.STARTED, started_at=timezone.now())
    call_actions.mark_unknown(ToolCall.objects.get(pk=call.pk), Fault.WORKER_DIED)
    return ToolCall.objects.get(pk=call.pk)


def test_it_offers_to_undo_one_s_own_decision(as_rita, call, remy):
    assert decide(as_rita, call).status_code == 302
    call.refresh_from_db()
    assert "Undo" in text(as_rita.get(page_of(call)))
    other = Client()
    other.force_login(remy)
    assert "Undo" not in text(other.get(page_of(call)))
    assert act(other, call, "undo").status_code == 409
    assert act(as_rita, call, "undo").status_code == 302
    call.refresh_from_db()
    assert call.status == Status.PENDING
    assert "Approve" in text(as_rita.get(page_of(call)))


def test_it_says_that_it_is_too_late_to_undo(as_rita, call):
    decide(as_rita, call)
    ToolCall.objects.filter(pk=call.pk).update(status=Status.SUCCEEDED)
    call.refresh_from_db()
    response = act(as_rita, call, "undo")
    assert response.status_code == 409
    assert "no decision to undo" in text(response)


def test_an_unknown_call_counts_among_those_that_need_somebody(as_rita, alice, unknown):
    ask(alice, session="two")
    html = text(as_rita.get(QUEUE))
    assert "All 2" in html
    assert 'id="pending">2<' in re.sub(r'id="pending"[^>]*>', 'id="pending">', html)
    html = text(as_rita.get(f"{QUEUE}?mine=1"))
    assert "For me 2" in html
    assert str(unknown.pk) in html


def test_it_asks_what_became_of_an_unknown_call(as_rita, unknown):
    queue = text(as_rita.get(QUEUE))
    assert "Did it happen?" in queue
    assert 'id="none-waiting"' not in queue
    page = text(as_rita.get(page_of(unknown)))
    for words in ("It happened", "run it again", "Give it up", "The worker died"):
        assert words in page


def test_it_settles_an_unknown_call(as_rita, unknown):
    fields = {"digest": unknown.digest, "outcome": "happened"}
    response = act(as_rita, unknown, "settle", **fields)
    assert response.status_code == 422
    assert "Say why" in text(response)
    assert act(as_rita, unknown, "settle", **fields, comment="It is there.").status_code == 302
    unknown.refresh_from_db()
    assert unknown.status == Status.SUCCEEDED
    assert "It is there." in text(as_rita.get(page_of(unknown)))


@pytest.mark.parametrize("fields", [{"outcome": "maybe"}, {"outcome": ""}, {"version": "x"}])
def test_it_settles_nothing_by_an_incomplete_form(as_rita, unknown, fields):
    data = {"version": unknown.version, "digest": unknown.digest, "outcome": "run_again", **fields}
    response = as_rita.post(reverse("approvals:settle", args=[unknown.pk]), data)
    assert response.status_code == 422
    unknown.refresh_from_db()
    assert unknown.status == Status.UNKNOWN


@pytest.mark.parametrize("action", ["undo", "settle"])
@pytest.mark.parametrize(("who", "status"), [("alice", 403), ("bob", 403)])
def test_only_reviewers_undo_and_settle(client, request, unknown, who, status, action):
    client.force_login(request.getfixturevalue(who))
    assert act(client, unknown, action, digest=unknown.digest, outcome="run_again").status_code == status
    assert client.get(reverse(f"approvals:{action}", args=[unknown.pk])).status_code == 405


# --- The audit trail ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("who", "status"), [(None, 302), ("alice", 403), ("rita", 403), ("admin", 200)])
def test_who_reads_the_audit_trail(client, request, call, who, status):
    if who:
        client.force_login(request.getfixturevalue(who))
    assert client.get("/audit/").status_code == status


def test_it_searches_the_audit_trail(client, admin, rita, call):
    decisions.decide(
        call.pk, rita, Ruling(Choice.DENY, call.version, call.digest, comment="<img onerror>\u202e")
    )
    client.force_login(admin)

    def kinds(**query):
        rows = client.get("/audit/", query).context["entries"]
        return [row["entry"].kind for row in rows]

    assert kinds(q="rita") == ["call.denied", "decision.made"]
    assert kinds(q=str(call.pk)) == ["call.denied", "decision.made"]
    assert kinds(q=call.digest, kind="call.denied") == ["call.denied"]
    assert kinds(q="rita", since="2999-01-01") == []
    assert kinds(q="rita", until="2000-01-01") == []
    page = text(client.get("/audit/", {"q": "rita"}))
    assert "<img" not in page
    assert "U+202E" in page
    for query in ({"since": "soon"}, {"before": "x"}, {"before": "9" * 40}, {"q": "\0"}, {"kind": "<b>"}):
        assert client.get("/audit/", query).status_code == 200


def test_it_pages_through_the_audit_trail(client, admin, monkeypatch):
    monkeypatch.setattr(audit_views, "PAGE", 3)
    client.force_login(admin)
    response = client.get("/audit/")
    older = response.context["older"]
    assert [row["entry"].seq for row in client.get("/audit/", {"before": older}).context["entries"]][
        0
    ] < older


# --- What an approval takes ------------------------------------------------------------------------------
def test_it_asks_for_the_word_and_the_reason(as_rita, alice):
    call = ask(alice, terms={"confirm": "send <b>it</b>", "justify": True})
    html = text(as_rita.get(page_of(call)))
    assert 'To approve, type <b class="word">send &lt;b&gt;it&lt;/b&gt;</b>' in html
    assert 'data-needs="word-approve reason-approve"' in html
    refused = decide(as_rita, call, confirm="send it", comment="Yes.")
    assert refused.status_code == 422
    assert "Type “send &lt;b&gt;it&lt;/b&gt;”, exactly so" in text(refused)
    assert 'id="approve-form"' in text(refused)
    decide(as_rita, call, confirm="send <b>it</b>", comment="Yes.")
    call.refresh_from_db()
    assert call.status == Status.APPROVED


def test_it_counts_approvals_and_lets_people_withdraw_theirs(as_rita, alice, remy):
    call = ask(alice, quorum=2)
    html = text(as_rita.get(page_of(call)))
    assert "two of reviewers, not alice" in html
    assert "Trust…" not in html
    decide(as_rita, call)
    html = text(as_rita.get(page_of(call)))
    assert "<b>rita has approved</b>; one more has to." in html
    assert "1 of 2 approved" in html
    assert 'id="approve-form"' not in html
    call.refresh_from_db()
    html = text(as_rita.post(f"{page_of(call)}undo", {"version": call.version}, follow=True))
    assert "has approved" not in html
    call.refresh_from_db()
    decisions.decide(call.pk, remy, Ruling(Choice.APPROVE, call.version, call.digest))
    assert "<b>remy has approved</b>" in text(as_rita.get(page_of(call)))


def test_it_names_all_who_approved(as_rita, alice, remy):
    call = ask(alice, quorum=2)
    decisions.decide(call.pk, remy, Ruling(Choice.APPROVE, call.version, call.digest))
    decide(as_rita, call)
    html = text(as_rita.get(page_of(call)))
    assert "<b>Approved by remy and rita</b>" in html


def test_an_expired_call_is_not_approved_by_half_of_them(as_rita, alice, remy):
    call = ask(alice, quorum=2)
    decisions.decide(call.pk, remy, Ruling(Choice.APPROVE, call.version, call.digest))
    ToolCall.objects.filter(pk=call.pk).update(status=Status.EXPIRED)
    html = text(as_rita.get(page_of(call)))
    assert "Approved by" not in html
    assert "Nobody decided in time" in html


def test_it_shows_what_trust_would_have_covered(as_rita, alice):
    ask(alice, arguments={**MAIL, "to": "other@example.com"})
    ask(alice, definition="another")
    ask(alice, session="elsewhere")
    html = text(as_rita.get(page_of(ask(alice))))
    assert re.search(
        r"Would have covered 1 of the last 2 calls of <code>send_email</code> in this session", html
    )
    assert "the tool was another one then" in html
    assert re.findall(r'data-differs="([^"]*)"', html)[-1] == "[&quot;to&quot;]"
    assert 'name="trust_same" value="to"' in html


def test_a_hostile_name_of_an_argument_stays_a_value(as_rita, alice):
    name = '"><img src=x onerror=alert(1)>\u202e'
    html = text(as_rita.get(page_of(ask(alice, arguments={name: "x"}))))
    assert "<img" not in html
    assert f'value="{escape(name)}"' in html


def test_it_binds_trust_to_arguments_and_to_uses(as_rita, alice):
    call = ask(alice)
    decide(as_rita, call, "trust", trust_same=["to", "subject"], trust_uses="3")
    grant = TrustGrant.objects.get()
    assert (grant.scope, grant.max_uses) == ({name: MAIL[name] for name in ("subject", "to")}, 3)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"trust_uses": "many"}, "Trust covers a number of calls, such as 5."),
        ({"trust_uses": "0"}, "Trust covers at least one call."),
        ({"trust_same": "nothing"}, "The call has no argument “nothing”"),
    ],
)
def test_it_says_what_is_wrong_with_the_trust(as_rita, alice, fields, problem):
    call = ask(alice)
    refused = decide(as_rita, call, "trust", **fields)
    assert refused.status_code == 422
    assert problem in text(refused)
    assert not TrustGrant.objects.exists()


def test_the_trust_form_keeps_what_was_chosen_in_it(as_rita, alice):
    call = ask(alice)
    html = text(
        decide(as_rita, call, "trust", trust_same=["to", "subject"], trust_uses="few", trust_for="3600")
    )
    for name, chosen in (("to", True), ("subject", True), ("body", False)):
        assert (f'name="trust_same" value="{name}" checked' in html) is chosen
    assert 'value="few"' in html
    assert '<option value="3600" selected>' in html


def test_an_unknown_call_with_a_word_is_run_again_on_the_page(as_rita, alice):
    call = ask(alice, status=Status.UNKNOWN, terms={"confirm": "send"}, groups="|reviewers|")
    html = text(as_rita.get(page_of(call)))
    assert 'id="word-settle" name="confirm" data-word="send"' in html
    assert 'value="run_again" data-needs="word-settle"' in html
    form = {"outcome": "run_again", "version": call.version, "digest": call.digest}
    address = reverse("approvals:settle", args=[call.pk])
    assert as_rita.post(address, form).status_code == 422
    assert as_rita.post(address, {**form, "confirm": "send"}).status_code == 302


def test_it_shows_who_wants_an_unknown_call_run_again(as_rita, alice, remy):
    call = ask(alice, status=Status.UNKNOWN, quorum=2, approvals=2)
    desk.settle(call, remy, Outcome.RUN_AGAIN)
    html = text(as_rita.get(page_of(call)))
    assert "<b>remy has said that it did not happen</b>" in html
    form = {"outcome": "run_again", "version": call.version, "digest": call.digest}
    assert as_rita.post(reverse("approvals:settle", args=[call.pk]), form).status_code == 302
    call.refresh_from_db()
    assert (call.status, call.approvals) == (Status.APPROVED, 2)
