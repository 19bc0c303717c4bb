"""Why a call is asked about, as its card and "Try a call" tell it."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.auth.models import Permission
from django.db.models.functions import Now

from approvals.because import in_words
from approvals.models import ToolPolicy
from tests.desk import MAIL
from tests.integration.test_queue_pages import ask, page_of, text

TRY = "/admin/approvals/toolpolicy/try/"
NAME = "Ask before mail goes out"


@pytest.fixture
def policy(desk):
    """As it was before any call of the test."""
    ToolPolicy.objects.filter(name=NAME).update(updated_at=Now() - timedelta(hours=1))
    return ToolPolicy.objects.get(name=NAME)


def change(policy, **values):
    ToolPolicy.objects.filter(pk=policy.pk).update(**values)


def why(response):
    found = re.search(r'<span id="because-why">(.*?)</span>\s*(?:<span class="muted">|\{%)', text(response))
    return unescape(re.sub("<[^>]+>", "", found[1])) if found else ""


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("args.amount > 1000", "amount is more than 1,000"),
        ("args.amount >= 0.5", "amount is at least 0.5"),
        ("!args.to.endsWith('@example.com')", "to does not end with “@example.com”"),
        ('args.a == "x" && args.b < 2', "a is “x” and b is less than 2"),
        ('args.a == "x && args.b < 2"', ""),
        ('args.a == "x" && args.b < 2 || args.c > 1', ""),
        ('args.a == "<u>"', "a is “<u>”"),
        ("args.a.exists(x, x > 1)", ""),
        ("", ""),
    ],
)
def test_it_words_usual_conditions_and_guesses_at_no_other(condition, words):
    said = in_words(condition)
    assert unescape(re.sub("</?code>", "", said)) == words


def test_the_card_says_what_its_policy_is_about(client, rita, alice, policy):
    client.force_login(rita)
    call = ask(alice, policy=NAME)
    assert why(client.get(page_of(call))) == "It asks for every call of send_email."
    change(policy, effect="always_ask", agent="assistant")
    assert why(client.get(page_of(call))) == (
        "It asks always, for every call of send_email by assistant, whatever other policies say."
    )


def test_the_card_says_what_matched(client, rita, alice, policy):
    client.force_login(rita)
    change(policy, when='!args.to.endsWith("@example.org")')
    call = ask(alice, {**MAIL, "to": "<b>x</b>@example.com"}, policy=NAME)
    assert why(client.get(page_of(call))) == (
        "It asks for every call of send_email where to does not end with “@example.org”. "
        "Here: to <b>x</b>@example.com."
    )
    change(policy, when="size(args.to) > 3 && args.to != args.subject", updated_at=Now())
    said = why(client.get(page_of(call)))
    assert "where size(args.to) > 3 && args.to != args.subject, as it is now: it was changed" in said


def test_what_an_administrator_wrote_is_no_markup(client, rita, alice, policy):
    client.force_login(rita)
    change(policy, tool="<u>*", agent="<u>", provider="<u>", when='args.to != "<u>"')
    html = text(client.get(page_of(ask(alice, policy=NAME))))
    assert "because-why" in html and "<u>" not in html


def test_it_says_nothing_of_a_policy_that_is_gone(client, rita, alice, policy):
    client.force_login(rita)
    call = ask(alice, policy=NAME)
    policy.delete()
    assert "because-why" not in text(client.get(page_of(call)))


def test_names_lead_to_the_policy_for_those_who_may_change_it(client, admin, alice, policy):
    client.force_login(admin)
    call = ask(alice, policy=NAME)
    link = f'<a href="/admin/approvals/toolpolicy/{policy.pk}/change/"><b>{NAME}</b></a>'
    pages = [page_of(call), f"{TRY}?call={call.pk}"]
    assert [text(client.get(page)).count(link) for page in pages] == [1, 3]
    admin.groups.clear()
    admin.user_permissions.set(Permission.objects.filter(codename="view_toolpolicy"))
    seen = text(client.post(TRY, {"tool": "send_email", "arguments": "{}"}))
    assert f"<b>{NAME}</b>" in seen
    assert link not in seen


def test_what_stands_in_quotes_is_shown_as_it_is():
    assert "“a  b”" in in_words('args.to  ==\n  "a  b"')
    assert in_words('args.to == "a && b"') == ""
