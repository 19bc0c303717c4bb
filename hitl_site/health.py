"""`/healthz`: the process answers. `/readyz`: database, Redis and a worker do too."""

from __future__ import annotations

from collections.abc import Callable

import redis
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse

from hitl_site.celery import app


@login_not_required
def alive(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok", content_type="text/plain")


@login_not_required
def ready(request: HttpRequest) -> JsonResponse:
    """200 with {"database": "ok", "redis": "ok", "worker": "ok"}; 503 where one of them is not."""
    parts = {"database": _check(_database), "redis": _check(_redis), "worker": _check(_worker)}
    return JsonResponse(parts, status=200 if set(parts.values()) == {"ok"} else 503)


def _check(probe: Callable[[], str]) -> str:
    try:
        return probe()
    except Exception as error:  # a probe reports whatever is wrong
        return type(error).__name__


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
