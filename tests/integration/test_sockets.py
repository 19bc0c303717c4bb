"""The sockets: doorbells out, nothing in."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from asgiref.sync import sync_to_async
from autobahn.exception import Disconnected
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from agents import driver
from agents.actions import conversations
from approvals import events, hub, sockets
from approvals.models import ToolCall
from hitl_site.asgi import application
from tests.desk import MAIL, approve, calls, chat, pending, say, work
from tests.fakes.model import Use

QUEUE = "/ws/approvals/"
HOST = "testserver"
CLOSED = 4403


@pytest.fixture
def cookie():
    """cookie(user): what their browser sends."""

    def sign_in(user):
        client = Client()
        client.force_login(user)
        return client.cookies[settings.SESSION_COOKIE_NAME].value

    return sign_in


@pytest.fixture
def session(model, alice):
    """A session that waits for a decision."""
    model.play(Use("send_email", MAIL), "Done.")
    return chat(alice)


def socket(path, session_cookie="", origin=f"http://{HOST}"):
    headers = [(b"host", HOST.encode())]
    if origin:
        headers.append((b"origin", origin.encode()))
    if session_cookie:
        headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={session_cookie}".encode()))
    return WebsocketCommunicator(application, path, headers=headers)


@asynccontextmanager
async def opened(path, session_cookie):
    """A socket that has said hello."""
    one = socket(path, session_cookie)
    assert await one.connect(timeout=10) == (True, None)
    try:
        assert await heard(one) == {"kind": "hello"}
        yield one
    finally:
        await one.disconnect(timeout=10)


async def heard(one, timeout=10):
    text = await one.receive_from(timeout=timeout)
    assert len(text.encode()) <= 200
    return json.loads(text)


async def until(one, kind):
    while (message := await heard(one))["kind"] != kind:
        pass
    return message


async def nothing_heard(one):
    """Rings a bell of its own and hears that one next: no other was before it."""
    await asyncio.to_thread(events.send, events.APPROVALS, {"kind": "marker"})
    return await heard(one) == {"kind": "marker"}


async def shut(one):
    """The code with which the server closes."""
    assert await one.connect(timeout=10) == (True, None)
    message = await one.receive_output(timeout=10)
    assert message["type"] == "websocket.close"
    return message["code"]


# --- Who may -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "origin", ["", "null", "http://evil.example", f"https://{HOST}", f"http://{HOST}:8000"]
)
async def test_it_refuses_foreign_pages(live, cookie, rita, origin):
    one = socket(QUEUE, await sync_to_async(cookie)(rita), origin)
    connected, _ = await one.connect(timeout=10)
    assert not connected


@pytest.mark.parametrize("path", ["/ws/", "/ws/nope/", "/ws/chat/xx/", "/"])
async def test_it_refuses_unknown_addresses(live, cookie, rita, path):
    connected, _ = await socket(path, await sync_to_async(cookie)(rita)).connect()
    assert not connected


async def test_it_closes_for_who_is_not_signed_in(live, session):
    assert await shut(socket(QUEUE)) == CLOSED
    assert await shut(socket(QUEUE, "0" * 32)) == CLOSED
    assert await shut(socket(f"/ws/chat/{session.key}/")) == CLOSED


@pytest.mark.parametrize(
    ("who", "queue", "chat_open"),
    [
        ("alice", False, True),
        ("bob", False, False),
        ("rita", True, False),
        ("admin", True, False),
    ],
)
async def test_it_opens_for_who_may(live, session, cookie, who, queue, chat_open):
    key = await sync_to_async(lambda: cookie(User.objects.get(username=who)))()
    for path, may in ((QUEUE, queue), (f"/ws/chat/{session.key}/", chat_open)):
        if may:
            async with opened(path, key):
                pass
        else:
            assert await shut(socket(path, key)) == CLOSED


async def test_it_closes_for_a_session_that_is_not_there(live, cookie, alice):
    key = await sync_to_async(cookie)(alice)
    assert await shut(socket("/ws/chat/018f0000-0000-7000-8000-000000000000/", key)) == CLOSED


async def test_it_closes_for_who_lost_the_right_to_chat(live, session, cookie, alice):
    key = await sync_to_async(cookie)(alice)
    await sync_to_async(alice.groups.clear)()
    assert await shut(socket(f"/ws/chat/{session.key}/", key)) == CLOSED


# --- What is heard -----------------------------------------------------------------------------------------
async def test_it_rings_for_a_pending_call(live, model, alice, rita, cookie):
    model.play(Use("send_email", MAIL))
    async with opened(QUEUE, await sync_to_async(cookie)(rita)) as one:
        session = await sync_to_async(chat)(alice)
        [call] = await sync_to_async(calls)(session)
        assert await heard(one) == {"kind": "pending", "call": str(call.pk)}


async def test_it_rings_for_a_decision(live, session, rita, cookie, alice):
    call = await sync_to_async(pending)(session)
    async with (
        opened(QUEUE, await sync_to_async(cookie)(rita)) as queue,
        opened(f"/ws/chat/{session.key}/", await sync_to_async(cookie)(alice)) as page,
    ):
        await sync_to_async(approve)(call, rita)
        assert await heard(queue) == {"kind": "decided", "call": str(call.pk)}
        assert (await heard(page))["kind"] == "changed"
        await sync_to_async(work)()
        assert (await until(page, "text"))["text"] == "Done."


async def test_it_rings_for_nobody_when_it_is_rolled_back(live, session, rita, cookie, monkeypatch):
    call = await sync_to_async(pending)(session)

    def broken(**kwargs):
        raise OSError("the disk is full")

    monkeypatch.setattr("approvals.actions.decisions.settled.send", broken)
    async with opened(QUEUE, await sync_to_async(cookie)(rita)) as one:
        with pytest.raises(OSError, match="full"):
            await sync_to_async(approve)(call, rita)
        assert await nothing_heard(one)


async def test_it_streams_the_answer(live, model, alice, cookie, monkeypatch):
    monkeypatch.setattr(driver, "DELTA_EVERY", 0)
    model.play(["One, ", "two, ", "three."])
    session = await sync_to_async(conversations.begin)(alice, "assistant")
    async with opened(f"/ws/chat/{session.key}/", await sync_to_async(cookie)(alice)) as one:
        await sync_to_async(say)(alice, "Count.", session)
        await sync_to_async(work)()
        parts = [await until(one, "text") for _ in range(3)]
        assert [(part["at"], part["text"]) for part in parts] == [(0, "One, "), (5, "two, "), (10, "three.")]
        await until(one, "changed")


async def test_it_rings_for_its_own_session_alone(live, model, alice, bob, cookie, session):
    model.play("Hi.")
    async with opened(f"/ws/chat/{session.key}/", await sync_to_async(cookie)(alice)) as one:
        await sync_to_async(chat)(bob)
        await asyncio.to_thread(events.send, events.session_topic(session.key), {"kind": "marker"})
        assert await heard(one) == {"kind": "marker"}


async def test_it_says_no_more_than_that_something_changed(live, session, rita, cookie):
    """No argument, name or secret is in Redis or in a frame."""
    call = await sync_to_async(pending)(session)
    async with opened(QUEUE, await sync_to_async(cookie)(rita)) as one:
        await sync_to_async(approve)(call, rita, comment="Secret comment.")
        for _ in range(2):
            text = json.dumps(await heard(one))
            assert not {word for word in ("dev@", "Launch", "Secret", "alice", "rita") if word in text}
            if "decided" in text:
                break


# --- What is sent in ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "frame",
    [
        {"text": '{"decision": "approve"}'},
        {"text": "not json"},
        {"text": ""},
        {"bytes": b"\x00\xff"},
    ],
    ids=["decision", "text", "empty", "bytes"],
)
async def test_it_ignores_what_a_client_sends(live, session, rita, cookie, frame):
    call = await sync_to_async(pending)(session)
    async with opened(QUEUE, await sync_to_async(cookie)(rita)) as one:
        for _ in range(3):
            await one.send_input({"type": "websocket.receive", **frame})
        assert await nothing_heard(one)
    after = await sync_to_async(ToolCall.objects.get)(pk=call.pk)
    assert (after.status, after.version) == (call.status, call.version)


# --- Robustness --------------------------------------------------------------------------------------------
async def test_it_survives_messages_of_another_release(live, rita, cookie):
    async with opened(QUEUE, await sync_to_async(cookie)(rita)) as one:
        for message in ({"type": "doorbell.v2", "topic": "approvals"}, {"type": "confetti"}, {}):
            await live.group_send(events.group(events.APPROVALS), message)
        assert await nothing_heard(one)


async def test_it_tells_a_slow_client_to_fetch_everything(live, rita, cookie):
    """Its queue is full: it loses doorbells, and delays nobody."""
    key = await sync_to_async(cookie)(rita)
    async with hub.hub().listen(events.APPROVALS) as slow, opened(QUEUE, key) as quick:
        for number in range(hub.QUEUE + 5):
            bell = {"kind": "changed", "call": str(number)}
            await asyncio.to_thread(events.send, events.APPROVALS, bell)
            assert await heard(quick) == bell
        assert slow.qsize() == 5
        assert slow.get_nowait() == hub.RESYNC


async def test_a_browser_that_is_gone_breaks_nothing(live, rita, cookie, monkeypatch):
    """Its connection is lost while a doorbell is on its way, which daphne tells by an exception."""
    gone = asyncio.Event()

    async def send(self, text_data):
        gone.set()
        raise Disconnected("Attempt to send on a closed protocol")

    async with opened(QUEUE, await sync_to_async(cookie)(rita)):
        monkeypatch.setattr(sockets.DoorbellSocket, "send", send)
        await asyncio.to_thread(events.send, events.APPROVALS, {"kind": "marker"})
        await asyncio.wait_for(gone.wait(), 10)
    # `opened` has waited for the socket's end, and would have raised what it raised


async def test_it_hears_again_after_everybody_has_left(live, rita, cookie):
    key = await sync_to_async(cookie)(rita)
    for _ in range(2):
        async with opened(QUEUE, key) as one:
            assert await nothing_heard(one)
    assert not live.groups[events.group(events.APPROVALS)]


async def test_it_closes_when_it_cannot_hear(live, rita, cookie, monkeypatch):
    """An open socket that hears nothing would look alive; one that is closed comes back."""

    async def down(*args):
        raise ConnectionError("no Redis")

    key = await sync_to_async(cookie)(rita)
    monkeypatch.setattr(live, "group_add", down)
    assert await shut(socket(QUEUE, key)) == 4503


async def test_it_keeps_ringing_after_an_outage(live, rita, cookie, monkeypatch, caplog):
    sent = live.group_send

    async def down(*args):
        raise ConnectionError("no Redis")

    async with opened(QUEUE, await sync_to_async(cookie)(rita)) as one:
        monkeypatch.setattr(live, "group_send", down)
        for _ in range(3):
            await asyncio.to_thread(events.send, events.APPROVALS, {"kind": "lost"})
        await asyncio.to_thread(_drain)
        monkeypatch.setattr(live, "group_send", sent)
        assert await nothing_heard(one)
    assert len([record for record in caplog.records if record.name == "nod.events"]) == 1, (
        "one line, not a flood"
    )


def _drain():
    from tests.conftest import hush

    hush()
