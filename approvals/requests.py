"""The request as the pages see it: somebody is signed in, and htmx may have asked."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest

from approvals import permissions
from approvals.models import ToolCall

if TYPE_CHECKING:
    from django_htmx.middleware import HtmxDetails


class Request(HttpRequest):
    """For annotations only. LoginRequiredMiddleware and HtmxMiddleware make it true."""

    user: User
    htmx: HtmxDetails


def wants(request: Request, target: str) -> bool:
    """htmx asks for the part of the page that goes into the element with this id."""
    return bool(request.htmx) and not request.htmx.history_restore_request and request.htmx.target == target


def reviewer(request: Request) -> None:
    """Raises PermissionDenied for whoever may not open the approval queue."""
    if not permissions.may_review(request.user):
        raise PermissionDenied("Only reviewers see the approval queue.")


def calls_of(request: Request) -> QuerySet[ToolCall]:
    """The calls that this person sees, with what lists and cards tell of them."""
    return _with_people(permissions.visible_calls(request.user))


def records_of(request: Request) -> QuerySet[ToolCall]:
    """The calls that this person may look up, told the same way."""
    return _with_people(permissions.recorded_calls(request.user))


def _with_people(calls: QuerySet[ToolCall]) -> QuerySet[ToolCall]:
    return calls.select_related("requested_by", "taken_by").prefetch_related("decisions__by")


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
