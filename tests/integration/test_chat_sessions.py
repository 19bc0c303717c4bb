"""Chats are renamed, put away and found again, by their owner."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agents import sidebar
from agents.actions import conversations
from agents.models import Message, Session
from tests import desk


@pytest.fixture
def session(alice, model):
    model.play("The **invoice** of Brno is Größe 7.", loop=True)
    return desk.chat(alice, "Hello, agent.")


@pytest.fixture
def as_alice(client, alice):
    client.force_login(alice)
    return client


def to(name, session):
    return reverse(f"agents:{name}", args=[session.pk])


def listed(client, query=""):
    html = client.get(f"/chat/?{query}").content.decode()
    return [one for one in Session.objects.all() if f'id="s-{one.pk}"' in html]


def test_it_renames_and_escapes(as_alice, session):
    response = as_alice.post(to("rename", session), {"title": "  <b>Mail</b>\n to Brno "})
    assert response.status_code == 302
    session.refresh_from_db()
    assert session.title == "<b>Mail</b> to Brno"
    html = as_alice.get(to("session", session)).content.decode()
    assert "<h1 data-value>&lt;b&gt;Mail&lt;/b&gt; to Brno</h1>" in html
    assert desk.kinds(session=session.key)[-1] == "session.renamed"


@pytest.mark.parametrize("title", ["", " \n", "\u200b", "x" * 201])
def test_it_refuses_a_name_that_is_none(as_alice, session, title):
    response = as_alice.post(to("rename", session), {"title": title})
    assert response.status_code == 422
    assert 'id="title-error" role="alert">The name' in response.content.decode()
    session.refresh_from_db()
    assert session.title == "Hello, agent."


def test_it_archives_and_takes_back(as_alice, session):
    assert listed(as_alice) == [session]
    as_alice.post(to("archive", session))
    assert listed(as_alice) == []
    assert listed(as_alice, "archived=1") == [session]
    assert "?archived=1" in as_alice.get("/chat/").content.decode()
    assert as_alice.get(to("session", session)).status_code == 200
    as_alice.post(to("archive", session), {"back": "1"})
    assert listed(as_alice) == [session]
    assert desk.kinds(session=session.key)[-2:] == ["session.archived", "session.unarchived"]


def test_it_comes_back_with_a_message(as_alice, alice, session):
    as_alice.post(to("archive", session))
    as_alice.post(to("post", session), {"text": "Are you still there?"})
    assert listed(as_alice) == [session]


@pytest.mark.parametrize("query", ["hello", "INVOICE", "größe", "agent.", "of%20Brno"])
def test_it_finds_titles_and_messages_archived_ones_too(as_alice, session, query):
    assert listed(as_alice, f"q={query}") == [session]
    as_alice.post(to("archive", session))
    assert listed(as_alice, f"q={query}") == [session]


@pytest.mark.parametrize("query", ["text", "role", "%25", "_", "nothing", '"', "%5C"])
def test_it_finds_no_more_than_what_was_said(as_alice, session, query):
    assert listed(as_alice, f"q={query}") == []


def say_much(session, *texts):
    said = [
        Message(session=session, seq=seq, role="user", content=[{"text": text}])
        for seq, text in enumerate(texts, session.messages.count() + 1)
    ]
    Message.objects.bulk_create(said)


def test_a_search_reads_on_and_keeps_little(as_alice, alice, session, monkeypatch):
    say_much(session, *["a zebra"] * 500)
    other = conversations.begin(alice, "assistant")
    say_much(other, "A Zebra once", *['{"toolUse": zeb'] * 45, "zebra" * 60_000)
    monkeypatch.setattr(sidebar, "LOOKED_AT", 60)
    with CaptureQueriesContext(connection) as asked:
        assert set(sidebar._saying(alice, "zebra")) == {session.pk, other.pk}
    assert len(asked) == 2, "one message is enough of a chat"
    with CaptureQueriesContext(connection) as asked:
        assert sidebar._saying(alice, "ZEB") == {session.pk, other.pk}
    assert len(asked) <= 3
    assert sidebar._saying(alice, "zebra" * 40) == set(), "results of tools that are very long are not read"


def test_a_search_stops_when_the_list_is_full(as_alice, alice, session, monkeypatch):
    for _ in range(50):
        say_much(conversations.begin(alice, "assistant"), "a zebra")
    monkeypatch.setattr(sidebar, "LISTED", 10)
    with CaptureQueriesContext(connection) as asked:
        assert len(sidebar._saying(alice, "zebra")) == sidebar.CHUNK
    assert len(asked) == 1


def test_a_search_shows_what_was_searched_as_text(as_alice, session):
    html = as_alice.get("/chat/?q=<script>").content.decode()
    assert "“&lt;script&gt;”" in html
    assert "<script>" not in html


@pytest.mark.parametrize("place", ["new", "session"])
def test_a_search_while_typing_fetches_the_list_alone(as_alice, session, place):
    address = to("session", session) if place == "session" else "/chat/"
    headers = {"HX-Request": "true", "HX-Target": "sessions"}
    assert (
        f'hx-get="{address}" hx-trigger="input changed delay:300ms"' in as_alice.get(address).content.decode()
    )
    html = as_alice.get(address, {"q": "nothing like it"}, headers=headers).content.decode()
    assert "No chats match “nothing like it”." in html
    assert "<html" not in html and 'id="flow"' not in html
    html = as_alice.get(address, {"q": "hello"}, headers=headers).content.decode()
    assert f'id="s-{session.pk}"' in html


def test_a_search_outlives_what_is_sent_meanwhile(as_alice, session):
    headers = {"HX-Request": "true", "HX-Target": "chat"}
    sent = as_alice.post(to("post", session), {"text": "More", "q": "nothing"}, headers=headers)
    assert "No chats match" in sent.content.decode()


def test_everybody_finds_their_own_alone(client, bob, session):
    client.force_login(bob)
    assert listed(client, "q=hello") == []
    assert listed(client) == []
    for name in ("rename", "archive"):
        assert client.post(to(name, session), {"title": "Mine"}).status_code == 404
        assert client.get(to(name, session)).status_code == 405
    session.refresh_from_db()
    assert (session.title, session.archived_at) == ("Hello, agent.", None)


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("Email dev about\n the launch", "Email dev about the launch"),
        (
            "Email dev@example.com " + "about features " * 9,
            "Email dev@example.com about features about features about…",
        ),
        ("x" * 61, "x" * 59 + "…"),
        ("Email " + "x" * 90, "Email " + "x" * 53 + "…"),
    ],
)
def test_a_title_is_cut_between_words(said, title):
    assert conversations.title_of(said) == title
    assert len(title) <= conversations.TITLE
