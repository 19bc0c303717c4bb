"""The sockets. They push doorbells; what a client sends is ignored."""

from typing import Any

from channels.security.websocket import WebsocketDenier
from django.urls import path, re_path

from agents.consumers import ChatSocket
from approvals.consumers import ApprovalsSocket
from approvals.sockets import DoorbellSocket


def _asgi(socket: type[DoorbellSocket]) -> Any:
    """Django's path() is typed for HTTP views only."""
    return socket.as_asgi()


_nothing_here: Any = WebsocketDenier.as_asgi()

websocket_urlpatterns: list[Any] = [
    path("ws/approvals/", _asgi(ApprovalsSocket)),
    path("ws/chat/<uuid:session>/", _asgi(ChatSocket)),
    re_path("", _nothing_here),  # what follows no route would be a fault with a traceback
]
