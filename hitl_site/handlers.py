"""How HTTP requests come to Django: in one thread each, but for those that wait.

Django's own handler changes threads twice for each middleware that has a synchronous hook, twenty times here, which
was half of a request's time (docs/decisions/0010-one-thread-a-request.md).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from servestatic.middleware import ServeStaticMiddleware

Application = Callable[[Any, Any, Any], Awaitable[Any]]


class OneThread(ASGIHandler):
    """Middleware and view of a request in one thread. A view that awaits for long would hold it."""

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        return await sync_to_async(self.get_response, thread_sensitive=True)(request)


class StaticFiles(ServeStaticMiddleware):  # type: ignore[misc]
    """ServeStatic's, which is async only, and left out of requests that stay in one thread: none is for a file."""

    sync_capable = True

    def __init__(self, get_response: Any) -> None:
        if not iscoroutinefunction(get_response):
            raise MiddlewareNotUsed
        super().__init__(get_response)


def by_duration(quick: Application, patient: Application) -> Application:
    """Long polls and files go to `patient`, whose requests hold no thread while they wait; all others to `quick`."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        waits = b"wait=" in scope["query_string"] or scope["path"].startswith(settings.STATIC_URL)
        await (patient if waits else quick)(scope, receive, send)

    return application
