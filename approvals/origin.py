"""Lets a WebSocket in only from this site's own pages: scheme, host and port have to be equal.

Channels' own validator compares the host alone.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings


class SameOrigin:
    """ASGI middleware; a foreign or missing Origin gets 403 before the handshake ends."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        headers = {name.decode("latin1").lower(): value.decode("latin1") for name, value in scope["headers"]}
        if _allowed(headers, scope.get("scheme", "ws")):
            return await self.inner(scope, receive, send)
        denier: Any = WebsocketDenier()
        return await denier(scope, receive, send)


def _allowed(headers: dict[str, str], scheme: str) -> bool:
    origin = headers.get("origin", "")
    if not origin:
        return False
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    name, value = settings.SECURE_PROXY_SSL_HEADER
    secure = scheme == "wss" or headers.get(name.removeprefix("HTTP_").replace("_", "-").lower()) == value
    own = f"{'https' if secure else 'http'}://{headers.get('host', '')}"
    return _parts(origin) is not None and _parts(origin) == _parts(own)


def _parts(origin: str) -> tuple[str, str, int | None] | None:
    """Scheme, host and port; None for what is no origin."""
    try:
        parts = urlsplit(origin)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None
