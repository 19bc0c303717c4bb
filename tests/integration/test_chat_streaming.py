"""The answer that is being written: Markdown so far, sanitised, whole."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from agents import streaming
from agents.models import Run
from agents.states import RunStatus
from tests import desk
from tests.integration.test_chat_pages import says


@pytest.fixture
def session(alice):
    return desk.say(alice, "Hello, agent.")


def part(client, session):
    return client.get(reverse("agents:draft", args=[session.pk]), headers={"HX-Request": "true"})


def writes(session, text):
    Run.objects.filter(session=session).update(status=RunStatus.RUNNING, draft=text)


@pytest.mark.parametrize(
    ("text", "html", "rest"),
    [
        ("", "", ""),
        ("Hello **you**", "<p>Hello <strong>you</strong></p>\n", ""),
        ("Hello.\n\n", "<p>Hello.</p>\n", "\n\n"),
        ("```\nline 1\nlin", "<pre><code>line 1\nlin</code></pre>\n", ""),
        ("A list:\n-", "<p>A list:</p>\n", "\n-"),  # no heading, which the dash would make of it
        ("Code:\n\n``", "<p>Code:</p>\n", "\n\n``"),
        ("<b>x</b>", "<p>&lt;b&gt;x&lt;/b&gt;</p>\n", ""),
    ],
)
def test_it_gives_form_to_what_has_one(text, html, rest):
    draft = streaming.draft(None, text)
    assert (draft.html, draft.rest, draft.length) == (html, rest, len(text))


@pytest.mark.parametrize("end", range(0, 60, 3))
def test_it_loses_no_word_wherever_it_is_cut(end):
    text = "One *two*\n\n```\nthree\nfour\n```\n\n- five\n- six\n\n1. seven\n"[:end]
    draft = streaming.draft(None, text)
    words = re.sub(r"<[^>]+>", " ", draft.html) + draft.rest
    assert re.findall(r"[a-z]+", text) == re.findall(r"[a-z]+", words)


def test_it_sanitises_what_is_being_written(client, alice, session):
    client.force_login(alice)
    writes(session, '<img src=x onerror=alert(1)> [x](javascript:alert(1)) "><script>\n"')
    html = part(client, session).content.decode()
    assert "<img" not in html and "<script" not in html and 'href="javascript' not in html


def test_it_is_small_and_its_owners_alone(client, alice, bob, session):
    writes(session, "One\n\n```\ntwo")
    client.force_login(bob)
    assert part(client, session).status_code == 404
    client.force_login(alice)
    html = part(client, session).content.decode()
    run = desk.last_run(session)
    expected = f'data-run="{run.pk}" data-length="12" data-rest=""><p>One</p>\n<pre><code>two</code></pre>'
    assert expected in html
    assert "<main" not in html


def test_it_is_empty_once_the_answer_is_a_message(client, alice, session):
    writes(session, "Once upon")
    says(session, {"text": "Once upon a time"})
    client.force_login(alice)
    assert 'data-length="0" data-rest=""></div>' in part(client, session).content.decode()
