"""The desk: the list of what waits and the decision card. Every change is an action."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import trigger_client_event

from approvals.actions import decisions, settlements, undoing
from approvals.actions.decisions import Ruling
from approvals.actions.edits import as_changed
from approvals.actions.settlements import Settlement
from approvals.cards import Card
from approvals.desk_page import INCOMPLETE, page, queue_list
from approvals.edit_forms import edited
from approvals.errors import (
    CommentRequired,
    ConfirmRequired,
    InvalidArguments,
    InvalidInput,
    NotFound,
    NotTrustable,
    Refusal,
)
from approvals.models import ToolCall
from approvals.queue_list import QueueList
from approvals.requests import Request, as_uuid, records_of, reviewer, wants
from approvals.states import Choice, Outcome
from approvals.together_cards import Together

MOST_CHANGED = 50  # rows fetched by themselves; for more, pages fetch the list


@never_cache
@require_safe
def queue(request: Request) -> HttpResponse:
    """The queue, with the most urgent waiting call beside it."""
    reviewer(request)
    calls = queue_list(request)
    if wants(request, "queue-list"):
        return _list(request, calls)
    first = calls.next()
    if first and (several := calls.with_others(first)):
        return _shown(request, calls, together=Together(several, request.user))
    return _shown(request, calls, card=Card(first, request.user) if first else None)


def _shown(request: Request, calls: QueueList, **beside: Any) -> HttpResponse:
    if not wants(request, "desk-detail"):
        return page(request, calls, **beside)
    context = {**beside, "list": calls}
    shows = any(beside.values())
    return render(request, "queue.html#detail", context) if shows else HttpResponse(status=204)


def _list(request: Request, calls: QueueList) -> HttpResponse:
    """The list; only the rows of `changed`, where the page asks for these; nothing where it has them all."""
    if ids := _changed(request):
        return render(request, "queue.html#changed", {"list": calls, "rows": calls.changed(ids)})
    if _shows(request.GET.get("shown", ""), calls):
        return HttpResponse(status=204)
    return render(request, "queue.html#list", {"list": calls, "selected": request.GET.get("selected", "")})


def _shows(given: str, calls: QueueList) -> bool:
    """Whether the page has it all: how many rows it shows, their stamp, and whether its list is cut."""
    number, stamp, cut = (given.split("-") + ["", ""])[:3]
    sound = number.isascii() and number.isdecimal() and len(number) < 5
    return sound and calls.shows(int(number), stamp, cut=cut == "cut")


def _changed(request: Request) -> list[UUID]:
    given = request.GET.get("changed", "").split(",")[:MOST_CHANGED]
    return [found for text in given if (found := as_uuid(text))]


@never_cache
@require_safe
def call(request: Request, call_id: UUID) -> HttpResponse:
    """The queue with this call chosen."""
    reviewer(request)
    card = Card(find(request, call_id), request.user)
    card.form = card.opened(request.GET.get("form", ""))
    if not wants(request, "desk-detail"):
        return page(request, queue_list(request), card=card, chosen=True)
    if request.GET.get("seen") == card.seen:
        return HttpResponse(status=204)
    return render(request, "queue.html#detail", {"card": card, "chosen": True})


@never_cache
@require_POST
def decide(request: Request, call_id: UUID) -> HttpResponse:
    """Approve, deny or trust. Answers with the card as it stands then."""
    return _act(request, call_id, lambda: decisions.decide(call_id, request.user, _ruling(request, call_id)))


@never_cache
@require_POST
def undo(request: Request, call_id: UUID) -> HttpResponse:
    """Take one's own decision back."""
    return _act(request, call_id, lambda: undoing.undo(call_id, request.user, version_of(request)))


@never_cache
@require_POST
def settle(request: Request, call_id: UUID) -> HttpResponse:
    """Say what became of a call whose outcome is unknown."""
    return _act(request, call_id, lambda: settlements.settle(call_id, request.user, _settlement(request)))


def _act(request: Request, call_id: UUID, act: Callable[[], ToolCall]) -> HttpResponse:
    """Does it, and answers with the card as it stands then."""
    reviewer(request)
    refused: Refusal | None = None
    try:
        act()
    except NotFound as missing:
        raise Http404(missing.message) from None
    except Refusal as why:
        refused = why
    card = Card(find(request, call_id), request.user)
    if refused:
        _explain(card, refused, request)
    elif not wants(request, "desk-detail"):
        return redirect("approvals:call", call_id)
    status = refused.http_status if refused else 200
    changed = {"calls": [str(call_id)]}
    return trigger_client_event(answer(request, card, status=status), "nod:refresh", changed)


def answer(request: Request, card: Card, *, status: int = 200) -> HttpResponse:
    """The card, alone for htmx and in its page for others."""
    if wants(request, "desk-detail"):
        return render(request, "queue.html#detail", {"card": card, "chosen": True}, status=status)
    return page(request, queue_list(request), status, card=card, chosen=True)


@never_cache
@require_safe
def count(request: Request) -> HttpResponse:
    """How many calls wait for this person, for the header of pages that show no list."""
    reviewer(request)
    return render(request, "base.html#badge")


def find(request: Request, call_id: UUID) -> ToolCall:
    """The call, if it is this person's to see. Raises Http404."""
    found = records_of(request).filter(pk=call_id).first()
    if found is None:
        raise Http404("There is no such call, or it is not yours to see.")
    return found


def version_of(request: Request) -> int:
    """The version of the call that the form was for. Raises InvalidInput."""
    version = request.POST.get("version", "")
    if not (version.isascii() and version.isdecimal()) or len(version) > 9:
        raise InvalidInput(INCOMPLETE)
    return int(version)


def changed(request: Request) -> Any:
    """What a reviewer changed, and looked at. Raises InvalidInput."""
    try:
        return json.loads(request.POST.get("changed", ""))
    except (ValueError, RecursionError):
        raise InvalidInput(INCOMPLETE) from None


def _arguments(request: Request, call_id: UUID) -> dict[str, Any] | None:
    """The changed arguments, whole; None where they are to run as they are."""
    if "changed" not in request.POST:
        return None
    made = changed(request)
    if not isinstance(made, dict):
        raise InvalidInput(INCOMPLETE)
    return as_changed(find(request, call_id), request.POST.get("digest", ""), made)


def _ruling(request: Request, call_id: UUID) -> Ruling:
    """What the form says. The action checks what it means."""
    choice, seconds = request.POST.get("choice", ""), request.POST.get("trust_for", "")
    if choice not in Choice.values:
        raise InvalidInput(INCOMPLETE)
    return Ruling(
        choice=Choice(choice),
        version=version_of(request),
        digest=request.POST.get("digest", ""),
        comment=request.POST.get("comment", ""),
        arguments=_arguments(request, call_id),
        becomes=request.POST.get("becomes", ""),
        confirm=request.POST.get("confirm", ""),
        trust_same=tuple(request.POST.getlist("trust_same")),
        trust_uses=_uses(request.POST.get("trust_uses", "")),
        trust_for=timedelta(seconds=int(seconds)) if seconds.isdecimal() and len(seconds) < 9 else None,
    )


def _uses(text: str) -> int | None:
    text = text.strip()
    if text and not (text.isascii() and text.isdecimal() and len(text) < 9):
        raise InvalidInput("Trust covers a number of calls, such as 5. Leave it empty for any number.")
    return int(text) if text else None


def _settlement(request: Request) -> Settlement:
    outcome = request.POST.get("outcome", "")
    if outcome not in Outcome.values:
        raise InvalidInput(INCOMPLETE)
    note, word = request.POST.get("comment", ""), request.POST.get("confirm", "")
    return Settlement(Outcome(outcome), version_of(request), request.POST.get("digest", ""), note, word)


def _explain(card: Card, refused: Refusal, request: Request) -> None:
    """Put a refusal where it belongs: beside the field of the open form, or over the buttons."""
    card.form = card.opened(request.POST.get("choice", ""))
    if "changed" in request.POST:
        with suppress(InvalidInput):
            card.look_at(*edited(card.call, changed(request)))
    card.comment = request.POST.get("comment", "")
    card.sent = {
        "same": request.POST.getlist("trust_same"),
        "uses": request.POST.get("trust_uses", ""),
        "for": request.POST.get("trust_for", ""),
    }
    about_the_form = CommentRequired | ConfirmRequired | InvalidInput | InvalidArguments | NotTrustable
    if (card.form or card.unknown) and isinstance(refused, about_the_form):
        card.field_error = refused.message
    else:
        card.notice = refused.message
