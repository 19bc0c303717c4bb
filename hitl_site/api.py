"""The API at /api/v1/: its parts, and its errors as RFC 9457 problems."""

from __future__ import annotations

import logging
from functools import wraps
from http import HTTPStatus
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from agents.api import router as sessions
from approvals.api import problem, trail
from approvals.errors import Refusal
from approvals.outside_api import router as calls
from hitl_site import outage

api_log = logging.getLogger("nod.api")
api = NinjaAPI(
    title="Nod",
    version="1",
    description="The approval desk for AI agents. Send `Authorization: Bearer TOKEN`; `manage.py token` makes one.",
    docs_url="docs",
    openapi_url="openapi.json",
)
api.add_router("sessions", sessions)
api.add_router("calls", calls)
api.add_router("audit", trail)


def urls() -> tuple[list[Any], str, str]:
    """The API's addresses. They take tokens, no session cookie, so the sign-in page is not for them."""
    patterns: list[Any]
    patterns, app, namespace = api.urls
    for pattern in patterns:
        pattern.callback = login_not_required(_problems_only(pattern.callback))
    patterns.append(re_path("", csrf_exempt(login_not_required(_nothing_here))))
    return patterns, app, namespace


def _problems_only(view: Any) -> Any:
    """The view, with ninja's plain text for a wrong method made a problem like all others."""
    if iscoroutinefunction(view):

        @wraps(view)
        async def answers(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            return _as_problem(await view(request, *args, **kwargs))
    else:

        @wraps(view)
        def answers(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            return _as_problem(view(request, *args, **kwargs))

    return answers


def _as_problem(response: HttpResponse) -> HttpResponse:
    if response.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
        return response
    refusal = answer("method_not_allowed", 405, f"This address takes {response['Allow']}.")
    refusal["Allow"] = response["Allow"]
    return refusal


def _nothing_here(request: HttpRequest) -> HttpResponse:
    return answer("not_found", 404, "There is nothing at this address.")


def answer(code: str, status: int, detail: str, **extra: Any) -> HttpResponse:
    body = problem(code, status, HTTPStatus(status).phrase, detail, **extra)
    return JsonResponse(body, status=status, content_type="application/problem+json")


@api.exception_handler(Refusal)
def on_refusal(request: HttpRequest, error: Refusal) -> HttpResponse:
    return answer(error.code, error.http_status, error.message, **error.extra)


@api.exception_handler(AuthenticationError)
def on_no_token(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    response = answer(
        "unauthenticated", 401, "Send Authorization: Bearer TOKEN with a token that is not revoked."
    )
    response["WWW-Authenticate"] = "Bearer"
    return response


@api.exception_handler(ValidationError)
def on_invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    problems = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors]
    return answer("invalid_input", 422, "; ".join(problems), errors=problems)


@api.exception_handler(Http404)
def on_missing(request: HttpRequest, error: Http404) -> HttpResponse:
    return answer("not_found", 404, "There is nothing at this address.")


@api.exception_handler(HttpError)
def on_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    code = {400: "invalid_json", 405: "method_not_allowed", 429: "too_many"}.get(error.status_code, "error")
    return answer(code, error.status_code, str(error))


@api.exception_handler(OperationalError)
@api.exception_handler(InterfaceError)
def on_outage(request: HttpRequest, error: Exception) -> HttpResponse:
    outage.note(error)
    response = answer("unavailable", 503, outage.SENTENCE)
    response["Retry-After"] = outage.RETRY_AFTER
    return response


@api.exception_handler(Exception)
def on_fault(request: HttpRequest, error: Exception) -> HttpResponse:
    """A fault of ours: logged with its trace; the caller learns no internals."""
    if settings.DEBUG:
        raise error
    api_log.exception("fault in %s %s", request.method, request.path)
    return answer("fault", 500, "Something went wrong on our side. Nothing was decided. Try again.")
