"""The desk as one page: the list at the left, and what the address names beside it."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render

from approvals.queue_list import QueueList
from approvals.requests import Request, calls_of
from approvals.waiting import Filters

INCOMPLETE = "The form was not complete. Reload the page and decide again."


def queue_list(request: Request) -> QueueList:
    """The list as the address narrows it down."""
    return QueueList(calls_of(request), request.user, Filters.of(request.GET))


def page(request: Request, calls: QueueList, status: int = 200, **context: Any) -> HttpResponse:
    """The whole page: the list, and beside it what `context` says."""
    card = context.get("card")
    context |= {"list": calls, "selected": str(card.call.pk) if card else "", "live_list": True}
    return render(request, "queue.html", context, status=status)
