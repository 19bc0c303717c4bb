"""Middleware of the site.

Each has to work in async requests too (handlers.py): one that does not would make Django's own handler run API
clients that wait in threads, from which they cannot be called back when they are gone.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils.deprecation import MiddlewareMixin
from django.utils.http import url_has_allowed_host_and_scheme

from hitl_site.views import not_found


class ExpiredLogin(MiddlewareMixin):
    """An htmx request of somebody who is signed out gets 401 and is sent to sign in, then back to the page.

    htmx would follow a redirect by itself and put the sign-in page into the middle of another page.
    """

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if not getattr(request, "htmx", False) or not _goes_to_login(response):
            return response
        address = f"{resolve_url(settings.LOGIN_URL)}?{urlencode({'next': _page(request)})}"
        return HttpResponse(status=401, headers={"HX-Redirect": address, "Cache-Control": "no-store"})


class TooMuch(MiddlewareMixin):
    """A form larger than Django takes is refused with a sentence. Django would log it as an attack, with a trace."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        sent = request.META.get("CONTENT_LENGTH") or "0"
        if request.path.startswith("/api/") or not sent.isdecimal() or int(sent) <= most:
            return None
        text = f"Nod takes at most {most // 1024**2} MB at once. Go back, and send less.\n"
        return HttpResponse(text, status=413, content_type="text/plain; charset=utf-8")


class OnePerson(MiddlewareMixin):
    """A page that somebody else is signed in for by now, in another tab, is loaded anew before it does anything.

    Its fragments carry the new person's token, while its head still names the old one.
    """

    def process_view(self, request: HttpRequest, *view: Any) -> HttpResponse | None:
        page_of = request.headers.get("X-Nod-Person")
        if not page_of or not request.user.is_authenticated or page_of == str(request.user.pk):
            return None
        return HttpResponse(status=409, headers={"HX-Refresh": "true", "Cache-Control": "no-store"})


class CalmNotFound(MiddlewareMixin):
    """One 404 page everywhere. With DEBUG on, Django would show its own, with every address it knows."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        html = response.headers.get("Content-Type", "").startswith("text/html")
        return not_found(request) if settings.DEBUG and html and response.status_code == 404 else response


def _goes_to_login(response: HttpResponse) -> bool:
    if not isinstance(response, HttpResponseRedirect):
        return False
    return urlsplit(response.url).path == resolve_url(settings.LOGIN_URL)


def _page(request: HttpRequest) -> str:
    """The page that asked: path and query of the Referer, if it is this site's own."""
    home: str = resolve_url(settings.LOGIN_REDIRECT_URL)
    try:
        referer = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        return home
    page = f"{referer.path}?{referer.query}" if referer.query else referer.path
    own = referer.netloc == request.get_host() and page.startswith("/")
    return page if own and url_has_allowed_host_and_scheme(page, None) else home
