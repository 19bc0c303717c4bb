"""The chat in the browser, without a browser; and the front door."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.core.mail import send_mail
from django.db import connection
from django.template import loader
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from agents.actions import conversations
from agents.models import Agent, Message, Run, Session
from agents.states import RunStatus
from approvals.models import Decision, Tool, ToolCall, TrustGrant
from approvals.permissions import DEMO_PEOPLE
from approvals.states import Choice, Status
from tests import desk
from tests.fakes.model import Use

NEW = "/chat/"


def page_of(session):
    return reverse("agents:session", args=[session.pk])


def text(response):
    return response.content.decode()


def htmx(client, path):
    return client.get(path, headers={"HX-Request": "true", "HX-Target": "chat"})


def ended(session, status=RunStatus.DONE, **fields):
    """The session's run, as if a worker had brought it there."""
    Run.objects.filter(session=session).update(status=status, **fields)
    return session.runs.last()


def says(session, *content):
    """The agent's next message."""
    run = session.runs.last()
    seq = session.messages.count() + 1
    return Message.objects.create(session=session, run=run, seq=seq, role="assistant", content=list(content))


def use(name="send_email", use_id="u1", **arguments):
    return {"toolUse": {"toolUseId": use_id, "name": name, "input": arguments}}


def call_of(session, use_id="u1", tool="send_email", status=Status.PENDING, **fields):
    now = timezone.now()
    values = {
        "session": session.key,
        "turn": 2,
        "tool_use_id": use_id,
        "tool": tool,
        "requested_by": session.user,
        "arguments": {"to": "dev@example.com"},
        "definition": "d",
        "digest": "d",
        "status": status,
        "effect": "ask",
        "policy": "Ask before mail goes out",
        "risk": "medium",
        "terms": {"requester_may_decide": False},
        "groups": "|reviewers|",
        "requested_at": now - timedelta(seconds=40),
        "started_at": now - timedelta(seconds=0.2),
        "finished_at": now,
        **fields,
    }
    return ToolCall.objects.create(**values)


def decided(call, by, choice=Choice.APPROVE, comment=""):
    Decision.objects.create(
        call=call,
        by=by,
        requested_by=call.requested_by,
        choice=choice,
        comment=comment,
        digest=call.digest,
        version=1,
    )


@pytest.fixture
def as_alice(client, alice):
    client.force_login(alice)
    return client


@pytest.fixture
def session(alice):
    return desk.say(alice, "Hello, agent.")


# --- Who may ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "new", "own"),
    [
        (None, 302, 302),
        ("alice", 200, 200),
        ("bob", 200, 404),
        ("rita", 404, 404),
        ("remy", 404, 404),
        ("admin", 404, 404),
    ],
)
def test_it_lets_chat_users_into_their_own_chats(client, request, session, who, new, own):
    if who:
        client.force_login(request.getfixturevalue(who))
    assert client.get(NEW).status_code == new
    assert client.get(page_of(session)).status_code == own


@pytest.mark.parametrize(("who", "status"), [(None, 302), ("bob", 404), ("rita", 404), ("admin", 404)])
@pytest.mark.parametrize("name", ["post", "stop", "retry", "revoke"])
def test_it_changes_no_chat_of_others(client, request, session, rita, who, status, name):
    if who:
        client.force_login(request.getfixturevalue(who))
    extra = [grant(session, rita).pk] if name == "revoke" else []
    response = client.post(reverse(f"agents:{name}", args=[session.pk, *extra]), {"text": "hi"})
    assert response.status_code == status
    assert session.messages.count() == 1
    assert desk.last_run(session).status == RunStatus.QUEUED
    assert not TrustGrant.objects.exclude(revoked_at=None).exists()


@pytest.mark.parametrize("name", ["post", "stop", "retry"])
def test_it_changes_nothing_by_get(as_alice, session, name):
    assert as_alice.get(reverse(f"agents:{name}", args=[session.pk])).status_code == 405


def test_it_wants_a_csrf_token(alice, session):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    response = client.post(reverse("agents:post", args=[session.pk]), {"text": "hi"})
    assert response.status_code == 403
    assert "This page was open too long" in text(response)


def test_it_lists_only_own_chats(as_alice, session, bob):
    other = desk.say(bob, "A secret of bob")
    html = text(as_alice.get(NEW))
    assert page_of(session) in html
    assert page_of(other) not in html


# --- A new chat ---------------------------------------------------------------------------------------


def test_it_begins_a_chat(as_alice, alice):
    response = as_alice.post(NEW, {"agent": "assistant", "text": "Hello <b>there</b>"})
    session = Session.objects.get(user=alice)
    assert response.url == page_of(session)
    assert "Hello &lt;b&gt;there&lt;/b&gt;" in text(as_alice.get(response.url))


def test_it_begins_a_chat_by_htmx(as_alice):
    headers = {"HX-Request": "true", "HX-Target": "chat"}
    response = as_alice.post(NEW, {"agent": "assistant", "text": "Hello"}, headers=headers)
    assert response["HX-Redirect"] == page_of(Session.objects.get())


@pytest.mark.parametrize("words", ["", "   ", "x" * 20_001])
def test_it_keeps_what_was_typed_when_a_chat_cannot_begin(as_alice, words):
    response = as_alice.post(NEW, {"agent": "assistant", "text": words})
    assert response.status_code == 422
    assert words in text(response)
    assert re.search(r'id="text-error" role="alert">The message', text(response))
    assert not Session.objects.exists()


def test_it_takes_no_unknown_agent(as_alice):
    assert as_alice.post(NEW, {"agent": "nobody", "text": "Hello"}).status_code == 404


def test_it_lets_people_choose_where_there_are_several_agents(as_alice):
    assert "<select" not in text(as_alice.get(NEW))
    Agent.objects.create(slug="writer", name="Writer")
    assert "Writer" in text(as_alice.get(NEW))


def test_it_keeps_the_chosen_agent_beside_a_refused_text(as_alice):
    Agent.objects.create(slug="second", name="Second")
    page = text(as_alice.post(NEW, {"agent": "second", "text": " "}))
    assert '<option value="second" selected>' in page


def test_a_message_from_an_earlier_page_leads_to_the_newest(as_alice, session):
    """As the page of a fragment it would be replaced by the earlier one at the next doorbell."""
    newest, earlier = (text(as_alice.get(page_of(session) + query)) for query in ("", "?before=1"))
    assert 'id="composer" method="post"' in earlier
    assert "hx-post" in newest[newest.index('id="composer"') :][:300]
    assert "hx-post" not in earlier[earlier.index('id="composer"') :][:300]


def test_it_says_that_there_is_no_agent(as_alice):
    Agent.objects.update(active=False)
    assert "No agent is at work" in text(as_alice.get(NEW))


# --- Messages -----------------------------------------------------------------------------------------


def test_it_sends_a_message(as_alice, session):
    ended(session)
    response = as_alice.post(reverse("agents:post", args=[session.pk]), {"text": "One more thing"})
    assert response.url == page_of(session)
    assert session.messages.count() == 2


def test_it_answers_htmx_with_the_part(as_alice, session):
    ended(session)
    headers = {"HX-Request": "true", "HX-Target": "chat"}
    response = as_alice.post(reverse("agents:post", args=[session.pk]), {"text": "More"}, headers=headers)
    assert response.status_code == 200
    assert "<html" not in text(response)
    assert ">More<" in text(response)
    assert 'name="text"' in text(response)


def test_it_says_that_the_agent_is_busy(as_alice, session):
    response = as_alice.post(reverse("agents:post", args=[session.pk]), {"text": "Impatient words"})
    assert response.status_code == 409
    assert "still busy" in text(response)
    assert "Impatient words" in text(response)


@pytest.mark.parametrize("words", ["", " \n ", "x" * 20_001])
def test_it_says_what_is_wrong_with_a_message(as_alice, session, words):
    ended(session)
    response = as_alice.post(reverse("agents:post", args=[session.pk]), {"text": words})
    assert response.status_code == 422
    assert re.search(r'id="text-error" role="alert">The message', text(response))
    assert words.strip() in text(response)


def test_it_shows_words_as_they_were_written(as_alice, alice):
    session = desk.say(alice, "<script>alert(1)</script>\nand *stars*")
    html = text(as_alice.get(page_of(session)))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\nand *stars*" in html


def test_it_renders_the_agents_words(as_alice, session):
    says(session, {"text": "**Sure.** <img src=x onerror=alert(1)>"})
    html = text(as_alice.get(page_of(session)))
    assert "<strong>Sure.</strong>" in html
    assert "<img" not in html


def test_it_has_no_inline_script_style_or_handler(as_alice, session):
    html = text(as_alice.get(page_of(session)))
    assert not re.search(r"<script(?![^>]* src=)", html)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|hx-on", html)
    assert '"allowEval":false' in html


# --- Where calls stand --------------------------------------------------------------------------------


def waiting(session, **fields):
    says(session, {"text": "I will write."}, use(to="dev@example.com"))
    ended(session, RunStatus.WAITING)
    return call_of(session, **fields)


def test_it_names_who_it_waits_for(as_alice, session):
    waiting(session)
    html = text(as_alice.get(page_of(session)))
    assert "Waiting for rita or remy" in html
    assert re.search(r">4\d s<", html), "how long it has waited: 40 s, and what this test took since"
    assert "The agent goes on as soon as somebody decides. You can close this page." in html


def test_it_says_that_it_waits_for_all(as_alice, session):
    says(session, use(use_id="one"), use(use_id="two"))
    ended(session, RunStatus.WAITING)
    for name in ("one", "two"):
        call_of(session, name)
    assert "The agent goes on as soon as all 2 are decided." in text(as_alice.get(page_of(session)))
    answer = as_alice.post(reverse("agents:post", args=[session.pk]), {"text": "And now?"})
    assert "The agent waits for a decision." in text(answer)


def test_it_names_three_people_at_most(as_alice, session, rita):
    for name in ("ruth", "ravi"):
        User.objects.create(username=name).groups.set(rita.groups.all())
    waiting(session)
    assert "Waiting for rita, remy, ruth or others" in text(as_alice.get(page_of(session)))


def test_it_does_not_name_the_requester(as_alice, session, alice, rita):
    alice.groups.add(*rita.groups.all())
    waiting(session)
    assert "Waiting for rita or remy" in text(as_alice.get(page_of(session)))


def test_it_names_the_group_where_nobody_is_in_it(as_alice, session, rita, remy):
    User.objects.filter(pk__in=[rita.pk, remy.pk]).update(is_active=False)
    waiting(session)
    assert "Waiting for somebody in reviewers" in text(as_alice.get(page_of(session)))


@pytest.mark.parametrize(
    ("status", "choice", "fields", "words"),
    [
        (Status.APPROVED, Choice.APPROVE, {}, ["Approved by rita"]),
        (Status.STARTED, Choice.APPROVE, {}, ["Approved by rita, running"]),
        (Status.STARTED, None, {}, ["Running"]),
        (Status.SUCCEEDED, None, {"result": [{"text": "It went out"}]}, ["done, 0.2 s", "It went out"]),
        (Status.SUCCEEDED, Choice.TRUST, {}, ["done, 0.2 s · trusted by rita"]),
        (Status.SUCCEEDED, Choice.APPROVE, {"proposed": {"to": "x"}}, ["<del>x</del><ins>dev"]),
        (Status.DENIED, Choice.DENY, {}, ["Denied by rita", "Because."]),
        (Status.BLOCKED, None, {}, ["Blocked by policy Ask before mail goes out"]),
        (Status.EXPIRED, None, {}, ["Expired", "Nobody decided in time."]),
        (Status.CANCELLED, None, {}, ["Cancelled"]),
        (Status.LAPSED, Choice.APPROVE, {"why": "It came too late."}, ["Not run", "It came too late."]),
        (Status.FAILED, Choice.APPROVE, {"result": [{"text": "No such host"}]}, ["Failed", "No such host"]),
        (Status.UNKNOWN, None, {"why": "The worker died."}, ["Outcome unknown", "The worker died."]),
    ],
)
def test_it_says_where_a_call_stands(as_alice, session, rita, status, choice, fields, words):
    call = waiting(session, status=status, **fields)
    if choice:
        decided(call, rita, choice, "Because.")
    html = text(as_alice.get(page_of(session)))
    for word in words:
        assert word in html


def test_it_shows_a_call_that_never_came_to_the_ledger(as_alice, session):
    says(session, use("get_weather", "u9", city="Brno"))
    Message.objects.create(
        session=session,
        seq=3,
        role="user",
        content=[
            {"toolResult": {"toolUseId": "u9", "status": "error", "content": [{"text": "Invalid arguments"}]}}
        ],
    )
    html = text(as_alice.get(page_of(session)))
    assert "Not run" in html
    assert "Invalid arguments" in html


def test_it_shows_arguments_whole_and_harmless(as_alice, session):
    waiting(session, arguments={"to": "ex\u0430mple@x.org", "body": "<b>\u202e" + "long " * 400 + "the end"})
    html = text(as_alice.get(page_of(session)))
    assert "the end" in html
    assert "<mark>U+202E</mark>" in html
    assert "&lt;b&gt;" in html


# --- The run ------------------------------------------------------------------------------------------


def test_it_shows_that_the_agent_thinks(as_alice, session):
    html = text(as_alice.get(page_of(session)))
    assert 'id="dots"' in html
    assert f'data-run="{desk.last_run(session).pk}" data-length="0"' in html
    assert ">Stop</button>" in html


def test_it_shows_the_answer_that_is_being_written(as_alice, session):
    ended(session, RunStatus.RUNNING, draft="Once <upon> é")
    html = text(as_alice.get(page_of(session)))
    assert 'data-length="13" data-rest=""><p>Once &lt;upon&gt; é</p>' in html


def test_it_shows_no_draft_twice(as_alice, session):
    says(session, {"text": "Once upon a time"})
    ended(session, RunStatus.RUNNING, draft="Once upon")
    assert 'data-length="0"' in text(as_alice.get(page_of(session)))


def test_it_stops_a_run(as_alice, session):
    waiting(session)
    Run.objects.update(draft="I was about")
    as_alice.post(reverse("agents:stop", args=[session.pk]))
    html = text(as_alice.get(page_of(session)))
    assert desk.last_run(session).status == RunStatus.STOPPED
    assert "Stopped." in html
    assert "I was about" in html
    assert "Write again to go on." in html
    assert "Try again" in html
    assert ">Stop</button>" not in html


def test_it_says_why_a_run_failed_and_tries_again(as_alice, session):
    ended(session, RunStatus.FAILED, error="The model <did> not answer.")
    assert "The model &lt;did&gt; not answer." in text(as_alice.get(page_of(session)))
    as_alice.post(reverse("agents:retry", args=[session.pk]))
    assert session.runs.count() == 2
    assert "Try again" not in text(as_alice.get(page_of(session)))


def test_it_tries_nothing_again_while_a_run_is_active(as_alice, session):
    response = as_alice.post(reverse("agents:retry", args=[session.pk]))
    assert response.status_code == 409
    assert "nothing to try again" in text(response)


# --- Trust --------------------------------------------------------------------------------------------


def grant(session, by):
    tool = Tool.objects.get(name="send_email")
    return TrustGrant.objects.create(
        session=session.key,
        tool=tool.name,
        provider=tool.provider,
        definition=tool.definition,
        granted_by=by,
        expires_at=timezone.now() + timedelta(hours=1),
    )


def test_it_lists_trust_and_revokes_it(as_alice, session, rita):
    given = grant(session, rita)
    assert "trusted by rita" in text(as_alice.get(page_of(session)))
    as_alice.post(reverse("agents:revoke", args=[session.pk, given.pk]))
    given.refresh_from_db()
    assert given.revoked_by == session.user
    assert "trusted by rita" not in text(as_alice.get(page_of(session)))


def test_it_revokes_no_trust_of_another_chat(as_alice, alice, session, rita):
    given = grant(desk.say(alice), rita)
    assert as_alice.post(reverse("agents:revoke", args=[session.pk, given.pk])).status_code == 404


# --- Much of it ---------------------------------------------------------------------------------------


def test_it_shows_the_end_of_a_long_chat(as_alice, session):
    rows = [
        Message(session=session, seq=n, role="user", content=[{"text": f"word {n}."}]) for n in range(2, 252)
    ]
    Message.objects.bulk_create(rows)
    html = text(as_alice.get(page_of(session)))
    assert ">word 251.<" in html
    assert ">word 51.<" not in html
    earlier = re.search(r'href="\?before=(\d+)"', html)
    assert earlier
    html = text(as_alice.get(f"{page_of(session)}?before={earlier[1]}"))
    assert ">word 51.<" in html
    assert ">word 52.<" not in html


@pytest.mark.parametrize("before", ["x", "-1", "9" * 30, "0", "²"])
def test_it_takes_any_before(as_alice, session, before):
    assert as_alice.get(f"{page_of(session)}?before={before}").status_code == 200


def test_it_asks_the_database_no_more_for_more(as_alice, session, alice, rita):
    def count(rows):
        for _ in range(rows):
            number = session.messages.count() + 1
            ids = [uuid4().hex, uuid4().hex]
            says(session, {"text": "ok"}, *(use(use_id=one) for one in ids))
            call_of(session, ids[0], turn=number)
            decided(call_of(session, ids[1], turn=number, status=Status.SUCCEEDED), rita)
            conversations.begin(alice, "assistant")
        with CaptureQueriesContext(connection) as queries:
            assert htmx(as_alice, page_of(session)).status_code == 200
        return len(queries)

    assert count(5) == count(45) <= 16


# --- The front door -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "where"),
    [(None, "/login/?next=/"), ("alice", "/chat/"), ("rita", "/approvals/"), ("admin", "/approvals/")],
)
def test_it_leads_people_to_their_work(client, request, desk, who, where):
    if who:
        client.force_login(request.getfixturevalue(who))
    assert client.get("/").url == where


def test_it_says_what_somebody_without_a_group_is_missing(client, desk):
    client.force_login(User.objects.create(username="zoe"))
    html = text(client.get("/"))
    assert "Ask an administrator" in html
    assert "chat users" in html


def test_it_shows_the_demo_people(client, desk, settings):
    assert "alice, bob" in text(client.get("/login/"))
    settings.DEMO = False
    assert "alice, bob" not in text(client.get("/login/"))


def test_it_says_that_the_password_is_wrong(client, desk):
    assert "do not go together" in text(client.post("/login/", {"username": "alice", "password": "x"}))


def test_it_signs_out_by_post(as_alice):
    assert as_alice.get("/logout/").status_code == 405
    assert as_alice.post("/logout/").url == "/login/"


def test_it_sends_an_expired_login_back_to_its_page(client, session):
    path = f"{page_of(session)}?before=9"
    headers = {"HX-Request": "true", "HX-Target": "chat", "Referer": f"http://testserver{path}"}
    response = client.post(reverse("agents:post", args=[session.pk]), {"text": "x"}, headers=headers)
    assert response.status_code == 401
    assert (
        response["HX-Redirect"]
        == f"/login/?next={path.replace('/', '%2F').replace('?', '%3F').replace('=', '%3D')}"
    )


@pytest.mark.parametrize(
    "referer", ["https://evil.example/x", "http://testserver//evil.example/", "http://[::1"]
)
def test_it_sends_nobody_to_another_site(client, session, referer):
    headers = {"HX-Request": "true", "Referer": referer}
    assert client.get(page_of(session), headers=headers)["HX-Redirect"] == "/login/?next=%2F"


@pytest.mark.parametrize("who", ["alice", "rita", "admin"])
def test_it_shows_the_outbox_as_text(client, request, desk, settings, who):
    settings.EMAIL_FILE_PATH = str(settings.OUTBOX_DIR)
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    send_mail("Žluť <b>", "Hello,\n\n<script>x</script>", None, ["dev@example.com"])
    client.force_login(request.getfixturevalue(who))
    html = text(client.get("/outbox/"))
    assert "Žluť &lt;b&gt;" in html
    assert "&lt;script&gt;x&lt;/script&gt;" in html
    assert "dev@example.com" in html


def test_it_has_no_outbox_without_the_demo(as_alice, settings, alice):
    alice.groups.remove(Group.objects.get(name=DEMO_PEOPLE))  # demo people could not even sign in
    settings.DEMO = False
    assert as_alice.get("/outbox/").status_code == 404


def test_it_has_an_empty_outbox(as_alice):
    assert "No mail yet" in text(as_alice.get("/outbox/"))


def test_it_has_a_page_for_what_is_not_there(as_alice):
    response = as_alice.get("/nothing/here/")
    assert response.status_code == 404
    assert "There is no such page" in text(response)


def test_it_renders_the_error_page_without_anything():
    assert "Something broke" in loader.render_to_string("500.html")


# --- What no encoding takes ---------------------------------------------------------------------------
HALF = "half \ud800"


@pytest.mark.parametrize(
    "blocks",
    [
        [{"text": HALF}],
        [use(to=HALF)],
        [{"toolUse": {"toolUseId": "u1", "name": "send_email", "input": {HALF: [{HALF: HALF}, HALF]}}}],
        [{"toolUse": {"toolUseId": "u1", "name": HALF, "input": HALF}}],
        [{"toolUse": {"toolUseId": HALF, "name": "send_email", "input": None}}],
    ],
    ids=["text", "value", "key", "name", "id"],
)
@pytest.mark.parametrize("answered", [False, True])
def test_it_shows_half_a_character_of_a_model(as_alice, session, blocks, answered):
    message = says(session, *blocks)
    if answered and (uses := message.tool_uses()):
        results = [
            {"toolResult": {"toolUseId": each["toolUseId"], "status": "error", "content": [{"text": HALF}]}}
            for each in uses
        ]
        Message.objects.create(session=session, run=message.run, seq=3, role="user", content=results)
    ended(session, RunStatus.FAILED, error="It broke.")
    for response in (as_alice.get(page_of(session)), htmx(as_alice, page_of(session))):
        assert response.status_code == 200
        assert "It broke." in text(response)


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED])
def test_it_shows_half_a_character_of_a_tool(as_alice, session, status):
    says(session, use())
    call_of(session, status=status, said="ok", result=[{"text": HALF}, {"json": {HALF: HALF}}])
    assert as_alice.get(page_of(session)).status_code == 200


def test_it_takes_half_a_character_of_a_person(as_alice, alice, model):
    begun = desk.say(alice, f"{HALF} and NUL \0.")
    model.play(
        [HALF, Use("get_weather", {HALF: HALF}), Use(HALF, {}, id="u2"), Use("read_file", {"path": HALF})],
        HALF,
    )
    desk.work()
    assert desk.last_run(begun).status == RunStatus.DONE
    assert as_alice.get(page_of(begun)).status_code == 200
    assert as_alice.get(NEW).status_code == 200
    assert "half" in text(as_alice.get(page_of(begun)))
