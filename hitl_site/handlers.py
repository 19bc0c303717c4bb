"""How HTTP requests come to Django: in one thread each, but for those that wait and those for files.

Django's own handler changes threads twice for each middleware that has a synchronous hook, twenty times here, which
was half of a request's time (docs/decisions/0010-one-thread-a-request.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from servestatic.middleware import ServeStaticMiddleware

Application = Callable[[Any, Any, Any], Awaitable[Any]]

logger = logging.getLogger(__name__)

FILES = "hitl_site.handlers.StaticFiles"
FOR_EVER = "max-age=31536000, public, immutable"


class OneThread(ASGIHandler):
    """Middleware and view of a request in one thread, without what serves files."""

    def load_middleware(self, is_async: bool = False) -> None:
        everything = settings.MIDDLEWARE
        settings.MIDDLEWARE = [name for name in everything if name != FILES]
        try:
            super().load_middleware(is_async=False)
        finally:
            settings.MIDDLEWARE = everything

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Ends when the client is gone, while the thread goes to its end by itself and gives back what it holds.

        A thread cannot be broken off. daphne would wait ten seconds for it, then warn, and cancel what frees its
        connection to the database.
        """
        gone = asyncio.get_running_loop().create_future()

        async def told() -> Any:
            message = await receive()
            if message["type"] == "http.disconnect" and not gone.done():
                gone.set_result(None)
            return message

        work = asyncio.create_task(super().__call__(scope, told, send))
        try:
            await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # the server stops
            work.cancel()
            raise
        if work.done():
            work.result()
        else:
            _unattended.add(work)
            work.add_done_callback(_ended)

    async def read_body(self, receive: Any) -> Any:
        """Closed in any case: what is broken off as the server stops has no response that would do it."""
        body = await super().read_body(receive)
        if request := asyncio.current_task():
            request.add_done_callback(lambda _: body.close())
        return body

    async def listen_for_disconnect(self, receive: Any) -> None:
        """Hears that the client is gone, and stays: where it ended, Django would break off the request."""
        with suppress(RequestAborted):
            await super().listen_for_disconnect(receive)
        await asyncio.Future()

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        return await sync_to_async(self.get_response, thread_sensitive=True)(request)


_unattended: set[asyncio.Task[None]] = set()  # requests whose clients are gone; the loop itself holds no task


def _ended(work: asyncio.Task[None]) -> None:
    _unattended.discard(work)
    if not work.cancelled() and (error := work.exception()):
        logger.error("A request whose client was gone ended with an error.", exc_info=error)


class StaticFiles(ServeStaticMiddleware):  # type: ignore[misc]
    """ServeStatic's; what was asked for by its version (static.py) is kept by browsers, another version by nobody."""

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        if not self.autorefresh:  # it has read sizes and dates just now: versions of the same moment
            for address in self.files:
                _address_now(address)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await super().__call__(request)
        asked = request.GET.get("v")
        if asked and request.path_info.startswith(self.static_prefix):
            known = _address_now(request.path_info).endswith(f"?v={asked}")
            response["Cache-Control"] = FOR_EVER if known else "no-store"
        return response


def _address_now(path: str) -> str:
    return staticfiles_storage.url(path.removeprefix(settings.STATIC_URL))


def by_duration(quick: Application, patient: Application) -> Application:
    """Long polls go to `patient`, where they end as soon as their client is gone, and so do files."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        waits = b"wait=" in unquote_to_bytes(scope["query_string"])
        chosen = patient if waits or scope["path"].startswith(settings.STATIC_URL) else quick
        await chosen(scope, receive, send)

    return application
