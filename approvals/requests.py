"""The request as the pages see it: somebody is signed in, and htmx may have asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.models import User
from django.http import HttpRequest

if TYPE_CHECKING:
    from django_htmx.middleware import HtmxDetails


class Request(HttpRequest):
    """For annotations only. LoginRequiredMiddleware and HtmxMiddleware make it true."""

    user: User
    htmx: HtmxDetails


def wants(request: Request, target: str) -> bool:
    """htmx asks for the part of the page that goes into the element with this id."""
    return bool(request.htmx) and not request.htmx.history_restore_request and request.htmx.target == target
