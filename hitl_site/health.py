"""`/healthz`: the process answers. `/readyz`: database, Redis and a worker do too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import redis
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse, JsonResponse

from hitl_site.celery import app

PATIENCE = 5.0  # seconds for each part; a busy machine is not a broken one


@login_not_required
def alive(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok", content_type="text/plain")


@login_not_required
def ready(request: HttpRequest) -> JsonResponse:
    """200 with {"database": "ok", "redis": "ok", "worker": "ok"}; 503 where one of them is not."""
    parts = _ask_all({"database": _database, "redis": _redis, "worker": _worker})
    return JsonResponse(parts, status=200 if set(parts.values()) == {"ok"} else 503)


def _ask_all(probes: dict[str, Callable[[], str]]) -> dict[str, str]:
    """What each probe says within PATIENCE; all at once, since a part that hangs must not hang this page."""
    said: dict[str, str] = {}

    def ask(name: str, probe: Callable[[], str]) -> None:
        try:
            said[name] = probe()
        except Exception as error:  # a probe reports whatever is wrong
            said[name] = type(error).__name__
        finally:
            connections.close_all()

    askers = [threading.Thread(target=ask, args=item, daemon=True) for item in probes.items()]
    for asker in askers:
        asker.start()
    deadline = time.monotonic() + PATIENCE
    for asker in askers:
        asker.join(max(deadline - time.monotonic(), 0))
    return {name: said.get(name, "no answer") for name in probes}


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "ok"


def _redis() -> str:
    url = settings.REDIS_URL.replace("valkey://", "redis://")
    with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
        return "ok" if client.ping() else "no answer"


def _worker() -> str:
    return "ok" if app.control.ping(timeout=PATIENCE - 1, limit=1) else "no worker answers"
