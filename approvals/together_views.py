"""Calls that are alike on one card: looked at and decided as those that the page shows, never as "all"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import trigger_client_event

from approvals.actions import decisions, together
from approvals.actions.together import Became, Seen
from approvals.alike import MOST
from approvals.desk_page import INCOMPLETE, page, queue_list
from approvals.errors import CommentRequired, InvalidInput, NotFound, Refusal
from approvals.models import Decision, ToolCall
from approvals.requests import Request, as_uuid, calls_of, reviewer, wants
from approvals.states import Choice
from approvals.together_cards import Result, Together
from approvals.waiting import Filters


@never_cache
@require_safe
def show(request: Request) -> HttpResponse:
    """The calls of the address on one card."""
    reviewer(request)
    card = _card(request, request.GET.get("ids", ""), _keys(request.GET.get("out", "")))
    card.form = "deny" if request.GET.get("form") == "deny" else ""
    if wants(request, "desk-detail") and request.GET.get("seen") == card.seen:
        return HttpResponse(status=204)
    return _answer(request, card)


@never_cache
@require_POST
def decide(request: Request) -> HttpResponse:
    """Approve or deny those calls; answers with what came of each."""
    reviewer(request)
    card = _sent(request)
    try:
        batch, became = together.decide_together(
            request.user, _seen(request), _choice(request), request.POST.get("comment", "")
        )
    except NotFound as missing:
        raise Http404(missing.message) from None
    except Refusal as refused:
        return _answer(request, _explained(card, refused, request), status=refused.http_status)
    asked = len(request.POST.getlist("item"))
    if not wants(request, "desk-detail"):
        return redirect("approvals:decided_together", batch)
    return _told(request, batch, [one for one in became if one.refused], missed=asked - len(became))


@never_cache
@require_safe
def result(request: Request, batch: UUID) -> HttpResponse:
    """What became of the calls that this person decided together; `left`: those that others had decided."""
    reviewer(request)
    lost = _visible(request, request.GET.get("left", ""))
    return _told(request, batch, [Became(call, decisions.lost(call)) for call in lost])


@never_cache
@require_POST
def undo(request: Request, batch: UUID) -> HttpResponse:
    """Take back one's decisions on calls that were decided together, where nothing has come of them yet."""
    reviewer(request)
    try:
        became = together.undo_together(request.user, batch)
    except NotFound as missing:
        raise Http404(missing.message) from None
    return _told(request, batch, [one for one in became if one.refused])


def _sent(request: Request) -> Together:
    """The card as it was, should what it sent not be taken; what it decides stands in the items alone."""
    items = ",".join(item.partition(":")[0] for item in request.POST.getlist("item"))
    ids = request.POST.get("ids", "") or items
    return _card(request, ids, frozenset(_keys(ids)) - frozenset(_keys(items)))


def _keys(ids: str) -> list[UUID]:
    return [found for text in ids.split(",")[: MOST + 1] if (found := as_uuid(text))]


def _visible(request: Request, ids: str) -> list[ToolCall]:
    wanted = _keys(ids)
    return sorted(calls_of(request).filter(pk__in=wanted), key=lambda call: wanted.index(call.pk))


def _card(request: Request, ids: str, out: Iterable[UUID] = ()) -> Together:
    calls = _visible(request, ids)
    if not calls:
        raise Http404("There are no such calls, or they are not yours to see.")
    return Together(calls, request.user, frozenset(out) & {call.pk for call in calls})


def _explained(card: Together, refused: Refusal, request: Request) -> Together:
    card.form = "deny" if request.POST.get("choice") == Choice.DENY else ""
    card.comment = request.POST.get("comment", "")
    if isinstance(refused, CommentRequired) or (card.form and isinstance(refused, InvalidInput)):
        card.field_error = refused.message
    else:
        card.notice = refused.message
    return card


def _answer(request: Request, card: Together, status: int = 200) -> HttpResponse:
    context = {"together": card, "chosen": True, "query": _filters(request)}
    if wants(request, "desk-detail"):
        return render(request, "together.html#card", context, status=status)
    return page(request, queue_list(request), status, **context)


def _filters(request: Request) -> str:
    """Those of the list beside the card, for links that lead back to it."""
    shown = urlsplit(request.htmx.current_url or "").query if request.htmx else ""
    return Filters.of(QueryDict(shown) if shown else request.GET).query


def _told(request: Request, batch: UUID, left: Sequence[Became] = (), missed: int = 0) -> HttpResponse:
    """What became of a batch. `left`: those that could not be decided, or be taken back, just now; `missed`: those
    that the database went away from."""
    made = Decision.objects.filter(batch=batch, by=request.user).order_by("pk")
    calls = {call.pk: call for call in calls_of(request).filter(pk__in=made.values("call"))}
    if not calls and not left:
        raise Http404("You have decided nothing together like this.")
    card = Result([calls[pk] for pk in made.values_list("call", flat=True) if pk in calls], batch, list(left))
    if request.GET.get("seen") == card.seen:
        return HttpResponse(status=204)
    context: dict[str, Any] = {"result": card, "missed": missed, "chosen": True, "query": _filters(request)}
    if not wants(request, "desk-detail"):
        return page(request, queue_list(request), **context)
    changed = {"calls": [str(pk) for pk in calls]}
    return trigger_client_event(
        render(request, "together.html#result", context), "nod:refresh", changed, after="settle"
    )


def _choice(request: Request) -> Choice:
    if request.POST.get("choice", "") not in Choice.values:
        raise InvalidInput(INCOMPLETE)
    return Choice(request.POST["choice"])


def _seen(request: Request) -> list[Seen]:
    return [_one(item) for item in request.POST.getlist("item")]


def _one(item: str) -> Seen:
    call, version, digest = (item.split(":") + ["", ""])[:3]
    found = as_uuid(call)
    if found is None or not (version.isascii() and version.isdecimal()) or len(version) > 9:
        raise InvalidInput(INCOMPLETE)
    return Seen(found, int(version), digest)
