"""Which requests stay in one thread, and which hold none."""

import asyncio
import threading

import httpx
import pytest
from django.http import HttpResponse
from django.urls import path

from hitl_site import asgi
from hitl_site.handlers import OneThread, by_duration

seen: list[threading.Thread] = []


def _look(request):
    seen.append(threading.current_thread())
    return HttpResponse("seen")


urlpatterns = [path("look", _look)]


async def get(application, address, **headers):
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(application), base_url="http://testserver"
    ) as client:
        return await client.get(address, headers=headers)


async def test_middleware_and_view_share_a_thread(settings, transactional_db):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [f"{__name__}.Outer", *settings.MIDDLEWARE, f"{__name__}.Inner"]
    settings.MIDDLEWARE.remove("django.contrib.auth.middleware.LoginRequiredMiddleware")
    seen.clear()
    assert (await get(OneThread(), "/look")).text == "seen"
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert seen[0] is not threading.main_thread()


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
        ("/static/css/nod.css?v=1", "patient"),
    ],
)
async def test_who_waits_holds_no_thread(address, handler):
    went = []

    def named(name):
        async def application(scope, receive, send):
            went.append(name)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        return application

    await get(by_duration(named("quick"), named("patient")), address)
    assert went == [handler]


async def test_both_guard_pages_alike(transactional_db):
    """The same middleware in both: signed out is signed out, and the same headers."""
    answers = [await get(asgi.application, f"/approvals/{query}") for query in ("", "?wait=1")]
    assert [answer.status_code for answer in answers] == [302, 302]
    headers = [set(answer.headers) for answer in answers]
    assert headers[0] == headers[1]
    assert {"content-security-policy", "x-frame-options", "x-content-type-options"} <= headers[0]
