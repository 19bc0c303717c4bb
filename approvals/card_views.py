"""What a card gives besides decisions: the difference that an edit makes, hidden values, the whole text."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from approvals.actions import edits, secrets
from approvals.cards import EDIT, Card
from approvals.edit_forms import TOO_MANY, edited, form_of, read
from approvals.errors import InvalidInput, Refusal, TooLong
from approvals.presentation import plain, raw
from approvals.requests import Request, reviewer, wants
from approvals.sizes import TOO_LONG
from approvals.views import answer, changed, find, version_of


@never_cache
@require_POST
def edit(request: Request, call_id: UUID) -> HttpResponse:
    """The difference that a form makes, or the form again. It changes nothing: approving it does."""
    reviewer(request)
    card = Card(find(request, call_id), request.user)
    try:
        _check(card, request)
    except Refusal as refused:
        card.notice = refused.message
        if card.opened(EDIT) and "changed" not in request.POST:
            card.editing, card.form = read(card.call, request.POST.dict())[0], EDIT
        return answer(request, card, status=refused.http_status)
    if request.POST.get("step") == "back":
        card.look_at(edited(card.call, changed(request))[0], None)
        return answer(request, card)
    card.look_at(*read(card.call, request.POST.dict()))
    return answer(request, card, status=200 if card.edited else 422)


def _check(card: Card, request: Request) -> None:
    """Raises Refusal where this person cannot edit what they saw."""
    if card.refusal:
        raise card.refusal
    if card.too_long:
        raise TooLong(TOO_LONG)
    if card.too_many:
        raise InvalidInput(TOO_MANY)
    if request.POST.get("step") == "back":
        changed(request)
    if not card.pending or version_of(request) != card.call.version:
        raise edits.stale()
    edits.as_changed(card.call, request.POST.get("digest", ""), {})


@never_cache
@require_POST
def reveal(request: Request, call_id: UUID) -> HttpResponse:
    """The card with hidden values shown, this once. Who saw them is in the audit trail."""
    reviewer(request)
    card = Card(find(request, call_id), request.user)
    try:
        card.shown = secrets.reveal(card.call, request.user, request.POST.getlist("argument"))
    except InvalidInput as refused:
        card.notice = refused.message
        return answer(request, card, status=refused.http_status)
    if request.POST.get("form") == EDIT and not card.refusal and card.pending:
        card.form = card.opened(EDIT)
        card.editing = form_of(card.call, shown=card.shown, sent=request.POST.dict())
    return answer(request, card)


@never_cache
@require_safe
def whole(request: Request, call_id: UUID) -> HttpResponse:
    """The arguments as JSON: for htmx with what deceives marked, for others as plain text that is nothing else."""
    reviewer(request)
    call = find(request, call_id)
    if wants(request, f"raw-{call.digest}"):
        return render(request, "_raw.html", {"raw": raw(call.arguments)})
    response = HttpResponse(plain(call.arguments), content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = "inline"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "sandbox; default-src 'none'; frame-ancestors 'none'"
    return response
