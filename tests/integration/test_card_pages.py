"""What is too long, hidden values, and the raw text of a call, without a browser."""

from __future__ import annotations

import json

import pytest
from django.urls import reverse

from approvals.actions import decisions
from approvals.digest import canonical
from approvals.errors import TooLong
from approvals.models import AuditEntry, ToolCall
from approvals.presentation import key_of
from approvals.sizes import MOST_APPROVED, too_long
from approvals.states import Choice, Fault, Outcome, Status
from tests import desk
from tests.integration.test_queue_pages import MAIL, ask, decide, page_of, text

LONG = {**MAIL, "body": "x" * MOST_APPROVED + "the very end"}
SECRET = {**MAIL, "password": "swordfish", "nested": {"token": "pike"}}


@pytest.fixture
def as_rita(client, rita):
    client.force_login(rita)
    return client


def raw(client, call, **headers):
    return client.get(reverse("approvals:raw", args=[call.pk]), headers=headers)


def reveal(client, call, *names):
    return client.post(
        reverse("approvals:reveal", args=[call.pk]), {"argument": [key_of(name) for name in names]}
    )


# --- Too long -----------------------------------------------------------------------------------------------
def test_it_counts_canonical_bytes():
    room = MOST_APPROVED - len(canonical({"a": ""}))
    assert not too_long({"a": "x" * room})
    assert too_long({"a": "x" * (room + 1)})
    assert too_long({"a": "é" * (room // 2 + 1)})


@pytest.mark.parametrize("choice", [Choice.APPROVE, Choice.TRUST])
def test_what_is_too_long_is_not_approved(alice, rita, choice):
    call = ask(alice, LONG)
    with pytest.raises(TooLong):
        decisions.decide(call.pk, rita, desk.ruling(call, choice))
    with pytest.raises(TooLong):
        decisions.decide(call.pk, rita, desk.ruling(call, choice, arguments=MAIL))
    call.refresh_from_db()
    assert (call.status, call.version) == (Status.PENDING, 1)
    assert [entry.data["code"] for entry in AuditEntry.objects.filter(kind="decision.refused")] == [
        "too_long"
    ] * 2


def test_an_edit_cannot_make_it_too_long(alice, rita):
    call = ask(alice)
    with pytest.raises(TooLong):
        desk.approve(call, rita, arguments=LONG)
    call.refresh_from_db()
    assert call.arguments == MAIL


def test_what_is_too_long_is_denied(alice, rita):
    assert desk.deny(ask(alice, LONG), rita).status == Status.DENIED


def test_what_is_too_long_is_not_run_again(alice, rita):
    call = ask(alice, LONG, status=Status.UNKNOWN, fault=Fault.WORKER_DIED)
    with pytest.raises(TooLong):
        desk.settle(call, rita, Outcome.RUN_AGAIN)
    assert desk.settle(call, rita, Outcome.GIVE_UP).status == Status.FAILED


def test_the_card_of_what_is_too_long_offers_denial_alone(as_rita, alice):
    call = ask(alice, LONG)
    html = text(as_rita.get(page_of(call)))
    assert "this call can only be denied" in html
    assert 'id="deny-form"' in html
    for form in ("approve-form", "trust-form", "edit-link"):
        assert f'id="{form}"' not in html
    assert "The first 20,000 of 64," in html
    assert "the very end" not in html
    assert len(html) < 60_000
    for form in ("edit", "trust", "approve"):
        assert f'id="{form}-form"' not in text(as_rita.get(f"{page_of(call)}?form={form}"))


def test_a_forged_approval_of_what_is_too_long_is_told_why(as_rita, alice):
    call = ask(alice, LONG)
    response = decide(as_rita, call)
    assert response.status_code == 422
    assert "can only be denied" in text(response)
    response = as_rita.post(
        reverse("approvals:edit", args=[call.pk]), {"version": call.version, "digest": call.digest}
    )
    assert response.status_code == 422


def test_the_whole_text_is_plain(as_rita, alice):
    call = ask(alice, {**LONG, "to": "<script>alert(1)</script>\u202e"})
    response = raw(as_rita, call)
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Disposition"] == "inline"
    assert response["Content-Security-Policy"].startswith("sandbox;")
    assert "no-store" in response["Cache-Control"]
    assert json.loads(response.content) == call.arguments


def test_raw_json_is_fetched_when_it_is_opened(as_rita, alice):
    call = ask(alice, {**MAIL, "to": "a\u202eb"})
    assert "&quot;to&quot;: " not in text(as_rita.get(page_of(call)))
    html = text(raw(as_rita, call, **{"HX-Request": "true", "HX-Target": f"raw-{call.digest}"}))
    assert "&quot;to&quot;: &quot;a<mark>U+202E</mark>b&quot;" in html
    assert "<html" not in html


@pytest.mark.parametrize(("who", "status"), [(None, 302), ("alice", 403), ("rita", 200), ("admin", 200)])
def test_who_reads_the_whole_text(client, request, alice, who, status):
    if who:
        client.force_login(request.getfixturevalue(who))
    assert raw(client, ask(alice)).status_code == status
    hidden = raw(client, ask(alice, groups="|finance|")).status_code
    assert hidden == {"rita": 404}.get(who, status)


# --- Secrets ----------------------------------------------------------------------------------------------
def test_a_secret_is_on_no_page(as_rita, alice):
    call = ask(alice, SECRET)
    pages = (
        page_of(call),
        "/approvals/",
        reverse("approvals:raw", args=[call.pk]),
        f"{page_of(call)}?form=trust",
    )
    for path in pages:
        html = text(as_rita.get(path))
        assert "swordfish" not in html
        assert "pike" not in html
    html = text(as_rita.get(page_of(call)))
    assert "•••• 9 characters, hidden" in html
    assert "2 values that look like secrets are hidden; approving works without showing them." in html


def test_it_is_shown_on_demand_and_that_is_written_down(as_rita, alice):
    call = ask(alice, SECRET)
    html = text(reveal(as_rita, call, "password"))
    assert "swordfish" in html
    assert "pike" not in html
    assert "1 value that looks like a secret is hidden" in html
    [entry] = AuditEntry.objects.filter(kind="secret.revealed")
    assert (entry.actor, entry.call, entry.data) == ("rita", str(call.pk), {"argument": "password"})
    assert "swordfish" not in text(as_rita.get(page_of(call))), "it is hidden again"
    html = text(reveal(as_rita, call, "password", "nested"))
    assert "swordfish" in html
    assert "pike" in html


@pytest.mark.parametrize("names", [[], ["to"], ["password", "nothing"]])
def test_nothing_else_is_shown(as_rita, alice, names):
    response = reveal(as_rita, ask(alice, SECRET), *names)
    assert response.status_code == 422
    assert "swordfish" not in text(response)
    assert not AuditEntry.objects.filter(kind="secret.revealed").exists()


@pytest.mark.parametrize(("who", "status"), [(None, 302), ("alice", 403), ("rita", 404), ("admin", 200)])
def test_only_who_sees_the_call_is_shown_it(client, request, alice, who, status):
    if who:
        client.force_login(request.getfixturevalue(who))
    assert reveal(client, ask(alice, SECRET, groups="|finance|"), "password").status_code == status
    assert AuditEntry.objects.filter(kind="secret.revealed").exists() == (status == 200)


def test_nobody_is_shown_what_cannot_be_written_down(as_rita, alice, monkeypatch):
    call = ask(alice, SECRET)
    from django.db import connection

    with connection.execute_wrapper(desk.no_audit), pytest.raises(OSError, match="disk"):
        reveal(as_rita, call, "password")


def test_a_secret_is_approved_without_being_seen(as_rita, alice):
    call = ask(alice, SECRET)
    assert decide(as_rita, call).status_code == 302
    call = ToolCall.objects.get(pk=call.pk)
    assert (call.status, call.arguments) == (Status.APPROVED, SECRET)
