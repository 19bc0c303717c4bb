"""Which pages may open a socket."""

import pytest

from approvals.origin import SameOrigin


async def opens(origin, *, host="nod.example.org", scheme="ws", **headers):
    """Whether the application behind the middleware is reached."""
    reached = []

    async def application(scope, receive, send):
        reached.append(scope)

    received = iter(["websocket.connect", "websocket.disconnect"])

    async def receive():
        return {"type": next(received), "code": 1006}

    sent = []

    async def send(message):
        sent.append(message["type"])

    names = {
        "host": host,
        "origin": origin,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    scope = {
        "type": "websocket",
        "scheme": scheme,
        "path": "/ws/approvals/",
        "headers": [(name.encode(), value.encode()) for name, value in names.items() if value is not None],
    }
    await SameOrigin(application)(scope, receive, send)
    assert bool(reached) != (sent == ["websocket.close"])
    return bool(reached)


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        ("http://nod.example.org", "nod.example.org", "ws"),
        ("http://nod.example.org:80", "nod.example.org", "ws"),
        ("https://nod.example.org", "nod.example.org", "wss"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", "ws"),
        ("http://[::1]:8000", "[::1]:8000", "ws"),
        ("http://NOD.example.org", "nod.example.org", "ws"),
    ],
)
async def test_it_lets_its_own_pages_in(origin, host, scheme):
    assert await opens(origin, host=host, scheme=scheme)


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "https://nod.example.org",  # another scheme
        "http://nod.example.org:8000",  # another port
        "http://evil.example.org",
        "http://nod.example.org.evil.example",
        "http://evil.example@nod.example.org:81",
        "http://nod.example.org:99999999",
        "http://nod.example.org:port",
        "nod.example.org",
        "http://",
        "file://",
        "http://[::1",
    ],
)
async def test_it_keeps_foreign_pages_out(origin):
    assert not await opens(origin)


async def test_it_believes_the_proxy_on_https():
    assert await opens("https://nod.example.org", x_forwarded_proto="https")
    assert not await opens("http://nod.example.org", x_forwarded_proto="https")


async def test_it_takes_trusted_origins(settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://desk.example.org"]
    assert await opens("https://desk.example.org", host="internal:8000")
    assert not await opens("https://desk.example.org:444", host="internal:8000")


async def test_it_refuses_when_no_host_is_sent():
    assert not await opens("http://nod.example.org", host=None)
    assert not await opens("http://", host="")
