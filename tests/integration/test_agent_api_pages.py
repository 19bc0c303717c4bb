"""The desk's pages, with calls of agents that run elsewhere."""

from __future__ import annotations

import pytest
from django.test import Client

from approvals.actions import elsewhere, leases
from approvals.actions.leases import Claim
from approvals.actions.outside_tools import Sketch
from approvals.models import Tool, ToolCall
from approvals.states import Choice, Outcome, Status
from tests.desk import approve, kinds, pass_by, settle, sweep, trust
from tests.hostile import CORPUS

HOSTILE = "<img src=x onerror=alert(1)> \u202egnp.exe\u2066 \u200bсlick"
SCHEMA = {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]}


@pytest.fixture
def call(desk, alice):
    wanted = elsewhere.Wanted(
        session="s",
        tool="pay_invoice",
        arguments={"amount": 5, "to": HOSTILE},
        key="k",
        agent="bookkeeper",
        reason=HOSTILE,
        sketch=Sketch(HOSTILE, SCHEMA),
    )
    return elsewhere.ask(alice, wanted)


class Page:
    """The browser of a reviewer."""

    def __init__(self, user):
        self.client = Client()
        self.client.force_login(user)

    def __call__(self, address):
        response = self.client.get(address)
        assert response.status_code == 200, address
        return response.content.decode()


@pytest.fixture
def page(rita):
    return Page(rita)


def harmless(html):
    assert "<img src=x" not in html
    assert "\u202e" not in html
    return html


def test_the_card_says_that_it_runs_elsewhere_and_marks_what_deceives(page, call):
    html = harmless(page(f"/approvals/{call.pk}/"))
    assert (
        '<b>bookkeeper</b> <span id="elsewhere">(runs elsewhere)</span> wants this for <b>alice</b>' in html
    )
    assert "its own words, not checked" in html
    assert "<mark>U+202E</mark>" in html
    for address in ("/approvals/", "/approvals/history/", "/insights/"):
        harmless(page(address))
    assert "<img src=x" not in page(f"/approvals/{call.pk}/?form=edit")


def test_the_administrators_pages_show_it(office, call):
    for address in (
        "/audit/",
        "/admin/approvals/tool/",
        "/admin/approvals/toolcall/",
        f"/audit/?q={call.session}",
    ):
        response = office.get(address)
        assert response.status_code == 200
        harmless(response.content.decode())
    shown = office.get(f"/admin/approvals/tool/{Tool.objects.get(name=call.tool).pk}/change/")
    assert shown.status_code == 200
    harmless(shown.content.decode())


def test_what_an_administrator_looked_at_is_what_they_saw(office, call, alice):
    """The agent changes the definition while the page is open, or between the list and the click."""
    tool = Tool.objects.get(name="pay_invoice")
    address = f"/admin/approvals/tool/{tool.pk}/change/"
    seen = office.get(address).context["adminform"].form.initial["seen"]
    swapped = elsewhere.Wanted("s", "pay_invoice", {}, "k2", sketch=Sketch("Pay anything.", {}))
    elsewhere.ask(alice, swapped)
    sent = {"risk": "low", "looked": "on", "seen": seen}
    response = office.post(address, sent, follow=True)
    assert "has changed since you opened it" in response.content.decode()
    listed = {"action": "mark_looked_at", "_selected_action": [tool.pk]}
    response = office.post("/admin/approvals/tool/", listed, follow=True)
    assert "open it, and say so beside its definition" in response.content.decode()
    tool.refresh_from_db()
    assert (tool.known, tool.risk) == (False, "low")
    office.post(address, sent | {"seen": tool.definition})
    tool.refresh_from_db()
    assert tool.known
    assert kinds(kind="tool.changed", tool="pay_invoice") == ["tool.changed"] * 3


def test_a_reviewer_edits_with_the_schema_that_the_agent_gave(page, call, rita):
    approve(call, rita, arguments={"amount": 4, "to": "x"})
    html = page(f"/approvals/{call.pk}/")
    assert "It runs once the agent, which runs elsewhere, takes it up." in html
    assert "rita changed this." in html


def test_what_came_back_is_shown_as_text(page, call, rita, alice):
    call = approve(call, rita)
    leases.claim(call.pk, alice, Claim(call.digest, "s" * 20))
    assert "It is running." in page(f"/approvals/{call.pk}/")
    leases.report(call.pk, alice, "s" * 20, succeeded=True, result={"note": HOSTILE})
    html = harmless(page(f"/approvals/{call.pk}/"))
    assert "&quot;note&quot;" in html
    assert "<mark>U+202E</mark>" in html


TEXTS = [each.value for each in CORPUS if isinstance(each.value, str)]


def test_hostile_results_and_reasons_break_no_page(page, alice, desk):
    """Any text that a program may send; those that are refused in arguments too."""
    for at, value in enumerate(TEXTS[::70]):
        text = value[:4000]
        wanted = elsewhere.Wanted("s", "get_weather", {}, f"k{at}", reason=text)
        call = elsewhere.ask(alice, wanted)
        leases.claim(call.pk, alice, Claim(call.digest, "s" * 20))
        leases.report(call.pk, alice, "s" * 20, succeeded=False, result=[text, {text: text}])
        ToolCall.objects.filter(pk=call.pk).update(groups="|reviewers|")
        page(f"/approvals/{call.pk}/")


def test_a_person_settles_what_nobody_reported(page, call, rita, alice):
    call = approve(call, rita)
    leases.claim(call.pk, alice, Claim(call.digest))
    pass_by(ToolCall.objects, "lease_until")
    sweep()
    html = page(f"/approvals/{call.pk}/")
    assert "Whoever ran it did not say in time what became of it." in html
    assert "The agent waits for it" not in html
    assert settle(ToolCall.objects.get(), rita, Outcome.HAPPENED).status == Status.SUCCEEDED


def test_its_trust_is_listed_and_revoked(page, call, rita, alice):
    call = trust(call, rita)
    wanted = elsewhere.Wanted("s", "pay_invoice", {"amount": 6}, "k2")
    assert elsewhere.ask(alice, wanted).status == Status.ALLOWED
    html = harmless(page("/approvals/trust/"))
    assert "pay_invoice" in html
    grant = call.decisions.get(choice=Choice.TRUST).grant
    assert grant
    page.client.post(f"/approvals/trust/{grant.pk}/revoke")
    wanted = elsewhere.Wanted("s", "pay_invoice", {"amount": 7}, "k3")
    assert elsewhere.ask(alice, wanted).status == Status.PENDING
