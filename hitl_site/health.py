"""`/healthz`: the process answers. `/readyz`: database, Redis and a worker do too."""

from __future__ import annotations

import threading
from collections.abc import Callable

import redis
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse, JsonResponse

from hitl_site.celery import app

PATIENCE = 3.0  # seconds for each part


@login_not_required
def alive(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok", content_type="text/plain")


@login_not_required
def ready(request: HttpRequest) -> JsonResponse:
    """200 with {"database": "ok", "redis": "ok", "worker": "ok"}; 503 where one of them is not."""
    parts = {"database": _check(_database), "redis": _check(_redis), "worker": _check(_worker)}
    return JsonResponse(parts, status=200 if set(parts.values()) == {"ok"} else 503)


def _check(probe: Callable[[], str]) -> str:
    """What the probe says, within its time: a broker that hangs must not hang this page."""
    said: list[str] = []

    def ask() -> None:
        try:
            said.append(probe())
        except Exception as error:  # a probe reports whatever is wrong
            said.append(type(error).__name__)
        finally:
            connections.close_all()

    asker = threading.Thread(target=ask, daemon=True)
    asker.start()
    asker.join(PATIENCE)
    return said[0] if said else "no answer"


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "ok"


def _redis() -> str:
    url = settings.REDIS_URL.replace("valkey://", "redis://")
    with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
        return "ok" if client.ping() else "no answer"


def _worker() -> str:
    return "ok" if app.control.ping(timeout=1.0, limit=1) else "no worker answers"
