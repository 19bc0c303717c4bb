"""The hub behind the sockets: what it hears, and what becomes of sockets when it hears nothing any more."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.db import OperationalError
from django.test import Client
from redis.exceptions import ConnectionError as RedisConnectionError

from approvals import events, sockets
from approvals.consumers import ApprovalsSocket
from approvals.hub import GONE, QUEUE, RESYNC, hub
from hitl_site.asgi import application
from tests.desk import say
from tests.fakes.layer import LocalLayer

PATH = "/ws/approvals/"
NOT_ALLOWED, TRY_AGAIN = 4403, 4503
GROUP = events.group(events.APPROVALS)


@pytest.fixture
def browser(rita):
    """rita's, signed in."""
    client = Client()
    client.force_login(rita)
    return client


@pytest.fixture
def looks_often(monkeypatch):
    monkeypatch.setattr(sockets, "LOOK_EVERY", 0.1)


@asynccontextmanager
async def opened(client, path=PATH):
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
    headers = [(b"host", b"testserver"), (b"origin", b"http://testserver"), (b"cookie", cookie.encode())]
    one = WebsocketCommunicator(application, path, headers=headers)
    assert await one.connect(timeout=10) == (True, None)
    try:
        assert await one.receive_json_from(timeout=10) == {"kind": "hello"}
        yield one
    finally:
        await one.disconnect(timeout=10)


async def closed(one):
    """The code with which the server closes, whatever it says before."""
    while (message := await one.receive_output(timeout=10))["type"] != "websocket.close":
        pass
    return message["code"]


async def still_rings(one, topic=events.APPROVALS):
    await asyncio.to_thread(events.send, topic, {"kind": "marker"})
    return await one.receive_json_from(timeout=10) == {"kind": "marker"}


def listening(layer):
    """The names under which the layer knows hubs that hear the queue."""
    return set(layer.groups[GROUP])


@asynccontextmanager
async def broken(layer, monkeypatch, error):
    """The layer of a hub that listens loses Redis; it is back after the block."""
    with monkeypatch.context() as patch:
        receive = layer.receive

        async def down(channel):
            raise error

        patch.setattr(layer, "receive", down)
        # whoever waits in the old receive hears one more message before it asks again
        await layer.group_send(GROUP, {"type": "wake up"})
        yield receive


# --- Odd messages --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "message",
    [
        {"type": "doorbell"},
        {"type": "doorbell", "payload": {"kind": "x"}},
        {"type": "doorbell", "topic": None, "payload": {"kind": "x"}},
        {"type": "doorbell", "topic": ["approvals"], "payload": {"kind": "x"}},
        {"type": "doorbell", "topic": {"a": 1}, "payload": {"kind": "x"}},
        {"type": "doorbell", "topic": "nobody", "payload": {"kind": "x"}},
        {"type": "doorbell", "topic": "approvals"},
        {"type": "doorbell", "topic": "approvals", "payload": None},
        {"type": "doorbell", "topic": "approvals", "payload": "text"},
        {"type": "doorbell", "topic": "approvals", "payload": ["kind"]},
        {"type": ["doorbell"], "topic": "approvals", "payload": {"kind": "x"}},
    ],
    ids=repr,
)
async def test_an_odd_message_harms_nobody(live, browser, message):
    async with opened(browser) as one, opened(browser) as other:
        await live.group_send(GROUP, message)
        assert await still_rings(one)
        assert await other.receive_json_from(timeout=10) == {"kind": "marker"}


@pytest.mark.parametrize("message", [None, "text", ["doorbell"], 5])
async def test_what_is_no_message_harms_nobody(live, message):
    async with hub().listen(events.APPROVALS) as queue:
        hub()._ring(message)
        assert queue.empty()
        hub()._ring({"type": "doorbell", "topic": events.APPROVALS, "payload": {"kind": "x"}})
        assert queue.get_nowait() == {"kind": "x"}


# --- An outage -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "error", [RedisConnectionError("gone"), ConnectionResetError("gone"), ValueError("no message")], ids=repr
)
async def test_a_lost_redis_closes_sockets_and_the_next_hears_again(live, browser, monkeypatch, error):
    async with opened(browser) as one, opened(browser) as other, broken(live, monkeypatch, error):
        assert await closed(one) == TRY_AGAIN
        assert await closed(other) == TRY_AGAIN
    async with opened(browser) as again:
        assert await still_rings(again)
        assert len(listening(live)) == 1


async def test_those_that_joined_before_the_outage_hear_again_too(live, browser, monkeypatch):
    """A queue that has not left yet, as that of a waiting API request, is on the new channel as well."""
    async with hub().listen("session.other") as waits:
        async with opened(browser) as one, broken(live, monkeypatch, RedisConnectionError("gone")):
            assert await closed(one) == TRY_AGAIN
        assert waits.get_nowait() == GONE
        async with opened(browser) as again:
            assert await still_rings(again)
            await asyncio.to_thread(events.send, "session.other", {"kind": "x"})
            async with asyncio.timeout(10):
                assert await waits.get() == {"kind": "x"}


async def test_it_stays_with_the_layer_that_knows_its_channel(live, monkeypatch):
    """Threads that ask Channels for the layer for the first time, at once, are given two."""
    async with hub().listen(events.APPROVALS):
        monkeypatch.setattr("approvals.hub.get_channel_layer", LocalLayer)
        async with hub().listen("session.other") as queue:
            await asyncio.to_thread(events.send, "session.other", {"kind": "marker"})
            assert await asyncio.wait_for(queue.get(), 10) == {"kind": "marker"}
        assert live.groups[events.group("session.other")] == set()


async def test_a_slow_client_is_closed_too(live, browser, monkeypatch):
    """Its queue is full when Redis goes: it must not go on to look alive."""
    async with hub().listen(events.APPROVALS) as slow:
        for number in range(QUEUE):
            hub()._ring({"type": "doorbell", "topic": events.APPROVALS, "payload": {"kind": str(number)}})
        assert slow.full()
        async with opened(browser) as one, broken(live, monkeypatch, RedisConnectionError("gone")):
            assert await closed(one) == TRY_AGAIN
        last = [slow.get_nowait() for _ in range(slow.qsize())]
        assert GONE in last
        assert last[0] in (RESYNC, GONE)


async def test_a_socket_that_cannot_join_leaves_nothing_behind(live, browser, monkeypatch):
    async def down(*args):
        raise RedisConnectionError("no Redis")

    with monkeypatch.context() as patch:
        patch.setattr(live, "group_add", down)
        with pytest.raises(RedisConnectionError):
            async with hub().listen(events.APPROVALS):
                pytest.fail("it heard something")
    async with opened(browser) as one:
        assert await still_rings(one)


# --- People who go -------------------------------------------------------------------------------------------
def signs_out(client, user):
    client.post("/logout/")


def is_switched_off(client, user):
    user.is_active = False
    user.save()


def leaves_the_group(client, user):
    user.groups.clear()


def has_another_password(client, user):
    user.set_password("another one 7")
    user.save()


@pytest.mark.parametrize("goes", [signs_out, is_switched_off, leaves_the_group, has_another_password])
async def test_it_closes_for_who_is_gone(live, browser, rita, looks_often, goes):
    async with opened(browser) as one:
        assert await still_rings(one)
        await sync_to_async(goes)(browser, rita)
        async with asyncio.timeout(5):
            assert await closed(one) == NOT_ALLOWED


@pytest.mark.parametrize("goes", [signs_out, is_switched_off, leaves_the_group])
async def test_it_closes_a_chat_for_who_is_gone(live, alice, looks_often, goes):
    session = await sync_to_async(say)(alice)
    client = Client()
    await sync_to_async(client.force_login)(alice)
    async with opened(client, f"/ws/chat/{session.key}/") as one:
        await sync_to_async(goes)(client, alice)
        async with asyncio.timeout(5):
            assert await closed(one) == NOT_ALLOWED


async def test_it_closes_for_who_is_gone_while_it_rings(live, browser, rita, looks_often):
    """A busy queue is no reason not to look."""
    async with opened(browser) as one:
        await sync_to_async(leaves_the_group)(browser, rita)

        async def ring():
            while True:
                await live.group_send(
                    GROUP, {"type": "doorbell", "topic": events.APPROVALS, "payload": {"kind": "x"}}
                )
                await asyncio.sleep(0.005)

        ringing = asyncio.create_task(ring())
        try:
            async with asyncio.timeout(5):
                assert await closed(one) == NOT_ALLOWED
        finally:
            ringing.cancel()


def test_it_looks_every_half_minute():
    assert sockets.LOOK_EVERY <= 30


async def test_it_stays_open_otherwise(live, browser, looks_often, monkeypatch):
    looked = asyncio.Semaphore(0)
    look = ApprovalsSocket._still_allowed

    async def counted(self):
        allowed = await look(self)
        looked.release()
        return allowed

    monkeypatch.setattr(ApprovalsSocket, "_still_allowed", counted)
    async with opened(browser) as one:
        for _ in range(3):
            async with asyncio.timeout(10):
                await looked.acquire()
            assert await still_rings(one)


async def test_it_closes_when_it_cannot_look(live, browser, looks_often, monkeypatch):
    """The database is away: a socket whose pump died would look alive and hear nothing."""

    async def down(self):
        raise OperationalError("the database is away")

    monkeypatch.setattr(ApprovalsSocket, "_still_allowed", down)
    async with opened(browser) as one:
        async with asyncio.timeout(5):
            assert await closed(one) == TRY_AGAIN
