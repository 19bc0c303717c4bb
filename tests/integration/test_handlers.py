"""Which requests stay in one thread, which wait, and what becomes of files."""

import asyncio
import threading
from contextlib import suppress
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.handlers.asgi import ASGIHandler
from django.db import connection, connections
from django.http import HttpResponse
from django.test import Client
from django.urls import clear_url_caches, path

from hitl_site import asgi, handlers
from hitl_site.handlers import OneThread, by_duration

seen: list[threading.Thread] = []


def _look(request):
    seen.append(threading.current_thread())
    return HttpResponse("seen")


held: list[Any] = []  # what is read of requests that take their time
released = threading.Event()


def _hold(request):
    held.append(request._stream)
    released.wait(10)
    return HttpResponse("held")


urlpatterns = [path("look", _look), path("hold", _hold)]


async def get(application, address, method="GET", **headers):
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        return await client.request(method, address, headers=headers)


async def test_middleware_and_view_share_a_thread(settings, transactional_db):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [f"{__name__}.Outer", *settings.MIDDLEWARE, f"{__name__}.Inner"]
    settings.MIDDLEWARE.remove("django.contrib.auth.middleware.LoginRequiredMiddleware")
    seen.clear()
    assert (await get(OneThread(), "/look")).text == "seen"
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert seen[0] is not threading.main_thread()


async def test_what_was_read_is_closed_when_the_server_stops(settings):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []
    held.clear()
    released.clear()
    request = asyncio.create_task(get(OneThread(), "/hold", "POST"))
    while not held:
        await asyncio.sleep(0.01)
    request.cancel()
    with suppress(asyncio.CancelledError):
        await request
    released.set()
    async with asyncio.timeout(10):
        while not held[0].closed:
            await asyncio.sleep(0.01)


class _Sees:
    sync_capable = async_capable = True

    def __new__(cls, get_response):
        if asyncio.iscoroutinefunction(get_response):
            raise AssertionError("not in one thread")
        return super().__new__(cls)

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        seen.append(threading.current_thread())
        return self.get_response(request)


class Outer(_Sees):
    pass


class Inner(_Sees):
    pass


@pytest.mark.parametrize(
    ("address", "handler"),
    [
        ("/", "quick"),
        ("/api/v1/calls/1", "quick"),
        ("/api/v1/calls/1?wait=30", "patient"),
        ("/api/v1/calls/1?w%61it=30", "patient"),
        ("/static/css/nod.css?v=1", "patient"),
    ],
)
async def test_who_waits_can_be_called_back(address, handler):
    went = []

    def named(name):
        async def application(scope, receive, send):
            went.append(name)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        return application

    await get(by_duration(named("quick"), named("patient")), address)
    assert went == [handler]


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [
        ("GET", "/approvals/", 200),
        ("POST", "/approvals/018f0000-0000-7000-8000-000000000000/decide", 403),  # no CSRF token
        ("GET", "/no/such/page", 404),
        ("GET", "/healthz", 200),
    ],
)
@pytest.mark.parametrize("signed_in", [True, False])
async def test_both_guard_alike(live, rita, method, address, status, signed_in):
    client = Client()
    await sync_to_async(client.force_login)(rita)
    cookie = f"sessionid={client.cookies['sessionid'].value}" if signed_in else "x=1"
    quick, patient = [
        await get(asgi.application, f"{address}{query}", method, Cookie=cookie) for query in ("", "?wait=1")
    ]
    assert quick.status_code == patient.status_code
    assert set(quick.headers) == set(patient.headers)
    assert {"content-security-policy", "x-frame-options", "x-content-type-options"} <= set(quick.headers)
    if signed_in:
        assert quick.status_code == status


async def test_an_error_page_keeps_no_connection(live, rita):
    """Django makes it in a thread that belongs to no request: sixteen of these would hold all that there are."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no pool")
    client = Client()
    await sync_to_async(client.force_login)(rita)
    await sync_to_async(connections.close_all)()
    before = _taken()
    for _ in range(3):
        cookie = f"sessionid={client.cookies['sessionid'].value}"
        assert (await get(asgi.application, "/no/such/page?wait=1", Cookie=cookie)).status_code == 404
    assert _taken() == before


def _taken():
    """How many connections are out of the pool."""
    pool: Any = connection.pool  # type: ignore[attr-defined]  # PostgreSQL's
    stats = pool.get_stats()
    return stats["pool_size"] - stats["pool_available"]


# --- Files -------------------------------------------------------------------------------------------------
@pytest.fixture
def files(settings):
    """Django's own handler as Nod runs it, files included."""
    settings.MIDDLEWARE = ["hitl_site.handlers.StaticFiles", *settings.MIDDLEWARE]
    return ASGIHandler()


async def test_a_file_is_kept_for_as_long_as_it_is_the_same(files):
    address = staticfiles_storage.url("css/nod.css")
    kept = await get(files, address)
    assert (kept.status_code, kept.headers["content-type"].partition(";")[0]) == (200, "text/css")
    assert "immutable" in kept.headers["cache-control"]
    assert (await get(files, "/static/css/nod.css?v=other")).headers["cache-control"] == "no-store"
    assert "immutable" not in (await get(files, "/static/css/nod.css")).headers["cache-control"]


async def test_one_thread_serves_no_files(settings, files):
    OneThread()
    assert "hitl_site.handlers.StaticFiles" in settings.MIDDLEWARE, "it was left out for a moment only"
    assert (await get(OneThread(), staticfiles_storage.url("css/nod.css"))).status_code == 404


# --- Clients that leave ------------------------------------------------------------------------------------
@pytest.fixture
def slow(settings, monkeypatch):
    """A page that is made for as long as `slow.made` is not set, and takes a connection to the database."""
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []
    page = SlowPage()
    monkeypatch.setitem(globals(), "urlpatterns", [path("slow", page)])
    clear_url_caches()
    yield page
    page.made.set()


class SlowPage:
    def __init__(self):
        self.begun, self.made, self.closed = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, request):
        User.objects.exists()
        self.begun.set()
        assert self.made.wait(20)
        response = HttpResponse("x" * 1_000_000)
        response._resource_closers.append(self.closed.set)  # type: ignore[attr-defined]
        return response


async def leave(page):
    """Asks for the slow page, and is gone while it is made: what the server is left with."""
    messages: asyncio.Queue[Any] = asyncio.Queue()
    scope = {"type": "http", "method": "GET", "path": "/slow", "query_string": b"", "headers": []}
    await messages.put({"type": "http.request", "body": b"", "more_body": False})
    instance = asyncio.create_task(OneThread()(scope, messages.get, _nowhere))
    assert await asyncio.to_thread(page.begun.wait, 20)
    await messages.put({"type": "http.disconnect"})
    return instance


async def _nowhere(message):
    """As daphne, which drops what it has to send to a client that is gone."""


async def test_a_client_that_leaves_is_waited_for_by_nobody(slow, transactional_db, caplog):
    threads = set(threading.enumerate())
    instance = await leave(slow)
    await asyncio.wait_for(instance, 5)  # daphne warns after ten seconds, and cancels
    assert not slow.made.is_set()
    slow.made.set()
    assert await asyncio.to_thread(slow.closed.wait, 20), "the page is finished and closed by its thread"
    async with asyncio.timeout(20):
        while handlers._unattended or [each for each in threading.enumerate() if _of_requests(each, threads)]:
            await asyncio.sleep(0.01)
    assert not caplog.records


def _of_requests(thread, before):
    return thread not in before and not thread.name.startswith("asyncio_")


async def test_a_client_that_leaves_keeps_no_connection(slow, transactional_db):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no pool")
    await sync_to_async(connections.close_all)()
    before = _taken()
    instance = await leave(slow)
    await asyncio.wait_for(instance, 5)
    slow.made.set()
    async with asyncio.timeout(20):
        while handlers._unattended:
            await asyncio.sleep(0.01)
    assert _taken() == before
