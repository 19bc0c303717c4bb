"""Calls that are alike on one card: looked at and decided as those that the page shows, never as "all"."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import trigger_client_event

from approvals import permissions
from approvals.actions import together
from approvals.actions.together import Became, Seen
from approvals.alike import MOST, Bunch, alike
from approvals.desk_page import INCOMPLETE, page, queue_list
from approvals.errors import CommentRequired, InvalidInput, NotFound, Refusal
from approvals.models import ToolCall
from approvals.presentation import Row, rows
from approvals.requests import Request, as_uuid, calls_of, reviewer, wants
from approvals.states import Choice, Status


@dataclass
class Together:
    """The card of several calls."""

    calls: list[ToolCall]
    user: User
    form: str = ""
    comment: str = ""
    field_error: str = ""
    notice: str = ""

    @property
    def first(self) -> ToolCall:
        return self.calls[0]

    @property
    def ids(self) -> str:
        return ",".join(str(call.pk) for call in self.calls)

    @property
    def seen(self) -> str:
        """Changes whenever the card would look different."""
        shown = [(str(call.pk), call.version, call.status, call.approvals) for call in self.calls]
        return sha256(repr(shown).encode()).hexdigest()[:16]

    @cached_property
    def waiting(self) -> list[ToolCall]:
        return [call for call in self.calls if call.status == Status.PENDING]

    @cached_property
    def bunch(self) -> Bunch | None:
        """Those that still wait, where they belong together."""
        return alike(self.waiting) if len(self.waiting) > 1 else None

    @cached_property
    def refusal(self) -> Refusal | None:
        return next(filter(None, (permissions.refusal(self.user, call) for call in self.waiting)), None)

    @property
    def same(self) -> list[Row]:
        """The arguments that are the same in all of them."""
        differs = self.bunch.differs if self.bunch else ""
        shared = {name: value for name, value in self.first.arguments.items() if name != differs}
        return rows(shared)

    @property
    def members(self) -> list[tuple[ToolCall, Row | None]]:
        """Each call, with the argument in which it differs."""
        differs = self.bunch.differs if self.bunch else ""
        return [
            (call, rows({differs: call.arguments[differs]})[0] if differs else None) for call in self.waiting
        ]


@never_cache
@require_safe
def show(request: Request) -> HttpResponse:
    """The calls of the address on one card."""
    reviewer(request)
    card = _card(request, request.GET.get("ids", ""))
    card.form = "deny" if request.GET.get("form") == "deny" else ""
    if wants(request, "desk-detail") and request.GET.get("seen") == card.seen:
        return HttpResponse(status=204)
    return _answer(request, card)


@never_cache
@require_POST
def decide(request: Request) -> HttpResponse:
    """Approve or deny those calls; answers with what came of each."""
    reviewer(request)
    card = _card(request, ",".join(item.partition(":")[0] for item in request.POST.getlist("item")))
    try:
        batch, became = together.decide_together(
            request.user, _seen(request), _choice(request), request.POST.get("comment", "")
        )
    except NotFound as missing:
        raise Http404(missing.message) from None
    except Refusal as refused:
        return _answer(request, _explained(card, refused, request), status=refused.http_status)
    return _told(request, became, batch=batch)


@never_cache
@require_POST
def undo(request: Request, batch: UUID) -> HttpResponse:
    """Take back one's decisions on calls that were decided together, where nothing has come of them yet."""
    reviewer(request)
    try:
        became = together.undo_together(request.user, batch)
    except NotFound as missing:
        raise Http404(missing.message) from None
    return _told(request, became, undone=True)


def _card(request: Request, ids: str) -> Together:
    wanted = [found for text in ids.split(",")[: MOST + 1] if (found := as_uuid(text))]
    calls = sorted(calls_of(request).filter(pk__in=wanted), key=lambda call: wanted.index(call.pk))
    if not calls:
        raise Http404("There are no such calls, or they are not yours to see.")
    return Together(calls, request.user)


def _explained(card: Together, refused: Refusal, request: Request) -> Together:
    card.form = "deny" if request.POST.get("choice") == Choice.DENY else ""
    card.comment = request.POST.get("comment", "")
    if isinstance(refused, CommentRequired) or (card.form and isinstance(refused, InvalidInput)):
        card.field_error = refused.message
    else:
        card.notice = refused.message
    return card


def _answer(request: Request, card: Together, status: int = 200) -> HttpResponse:
    if wants(request, "desk-detail"):
        return render(request, "together.html#card", {"together": card, "chosen": True}, status=status)
    return page(request, queue_list(request), status, together=card, chosen=True)


def _told(request: Request, became: list[Became], **context: Any) -> HttpResponse:
    """What came of each: on the card, or in the list where the page is a new one."""
    if not wants(request, "desk-detail"):
        return redirect("approvals:queue")
    done = [one for one in became if one.refused is None]
    context |= {
        "became": became,
        "done": len(done),
        "left": [one for one in became if one.refused],
        "chosen": True,
    }
    changed = {"calls": [str(one.call.pk) for one in became]}
    return trigger_client_event(
        render(request, "together.html#became", context), "nod:refresh", changed, after="settle"
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
