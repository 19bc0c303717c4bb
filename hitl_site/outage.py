"""While the database does not answer: 503 with a sentence, and one line in the log for each outage.

Without it each request would write a trace, and pages that poll would fill the log.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template import loader
from django.utils.deprecation import MiddlewareMixin

from approvals.sockets import TRY_AGAIN

logger = logging.getLogger("nod.web")

DOWN = (OperationalError, InterfaceError)
SENTENCE = (
    "The database does not answer. A change is made whole or not at all: "
    "look at it again in a moment, before you repeat anything."
)
RETRY_AFTER = "5"  # seconds

LULL = 5.0  # seconds; connections that died with the server may be noticed so long after it is back

_lock = threading.Lock()
_away = False
_noted = -LULL  # when a failure was last noted, by time.monotonic()


def note(error: Exception) -> None:
    """Say it once. Django gives the dead connection up at the end of the request."""
    global _away, _noted
    with _lock:
        now = time.monotonic()
        if not _away and now - _noted > LULL:
            line = str(error).strip().partition("\n")[0]
            logger.warning("The database does not answer (%s); requests are told to come back.", line)
        _away, _noted = True, now


def over() -> None:
    """The database has answered."""
    global _away
    if _away:
        with _lock:
            _away = False


class DatabaseAway(MiddlewareMixin):
    """Stands before everything that asks the database. The API says it in its own way (api.py)."""

    def process_view(self, request: HttpRequest, *view: Any) -> HttpResponse | None:
        """Loads the person here, where the answer can still be chosen."""
        try:
            bool(request.user.is_authenticated)
        except DOWN as error:
            return _answer(error)
        return None

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """The outage is over when somebody who had to be loaded gets an answer."""
        with contextlib.suppress(*DOWN):
            if _away and response.status_code < 500 and request.user.is_authenticated:
                over()
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return _answer(exception) if isinstance(exception, DOWN) else None


class SocketsAway:
    """Closes sockets whose person nobody can look up, so that they come back. One log line for each outage."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        opened = False

        async def sent(message: Any) -> None:
            nonlocal opened
            opened = opened or message["type"] == "websocket.accept"
            await send(message)

        try:
            await self.inner(scope, receive, sent)
        except DOWN as error:
            note(error)
            if not opened:  # a refused handshake looks like a network fault to a browser
                await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": TRY_AGAIN})


def _answer(error: Exception) -> HttpResponse:
    note(error)
    page = loader.render_to_string("503.html", {"sentence": SENTENCE})
    return HttpResponse(page, status=503, headers={"Retry-After": RETRY_AFTER, "Cache-Control": "no-store"})
