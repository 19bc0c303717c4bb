"""The front door, and the pages for when something is not as it should be."""

from __future__ import annotations

from math import ceil
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template import loader
from django.templatetags.static import static
from django.views.decorators.cache import never_cache
from django_htmx.http import HttpResponseClientRefresh

from approvals import permissions
from approvals.requests import Request


@never_cache
def home(request: Request) -> HttpResponse:
    """To the page that this person comes for."""
    if permissions.may_review(request.user):
        return redirect("approvals:queue")
    if permissions.may_chat(request.user):
        return redirect("agents:new")
    if request.user.is_staff:
        return redirect("admin:index")
    return render(request, "nothing.html")


@login_not_required
def favicon(request: HttpRequest) -> HttpResponse:
    """Browsers ask here on pages that name no icon, such as the admin's."""
    return redirect(static("img/favicon.svg"))


@login_not_required
def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The page was open too long, or somebody signed in anew in another tab. A reload mends it."""
    if getattr(request, "htmx", False):
        response = HttpResponseClientRefresh()
        response.status_code = 403
        return response
    return render(request, "403_csrf.html", status=403)


def forbidden(request: HttpRequest, exception: Any = None) -> HttpResponse:
    return _error(request, "403.html", 403, str(exception or ""))


def not_found(request: HttpRequest, exception: Any = None) -> HttpResponse:
    return _error(request, "404.html", 404)


def broken(request: HttpRequest) -> HttpResponse:
    """Needs no database, no session, no context processor."""
    return HttpResponse(loader.render_to_string("500.html"), status=500)


def _error(request: HttpRequest, template: str, status: int, why: str = "") -> HttpResponse:
    """The page; only its message where htmx puts it into another page."""
    part = f"{template}#message" if getattr(request, "htmx", False) else template
    try:
        return render(request, part, {"why": why}, status=status)
    finally:
        _give_back()


def _give_back() -> None:
    """Django's async handler makes error pages in a thread of no request, and would leave a connection there."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


def locked_out(request: HttpRequest, credentials: object, *args: object, **kwargs: object) -> HttpResponse:
    """A name was tried with too many wrong passwords from one address (django-axes calls this)."""
    minutes = ceil(settings.AXES_COOLOFF_TIME.total_seconds() / 60)
    context = {"locked_for": f"at most {minutes} minutes", "next": request.POST.get("next", "")}
    return render(request, "login.html", context, status=429)
