"""What Nod writes to people: how many calls wait, and where they are opened. Never arguments, never a way to decide."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from approvals.models import ToolCall
from approvals.presentation import span
from approvals.states import Status

LISTED = 20  # calls in one message, the riskiest first; the queue has the others
RISKS = ("high", "medium", "low")


def subject(calls: Sequence[ToolCall]) -> str:
    """Without a word that anybody else wrote."""
    return f"{'A call waits' if len(calls) == 1 else f'{len(calls)} calls wait'} for you"


def body(calls: Sequence[ToolCall]) -> str:
    """Plain text, a line and a link for each call."""
    now = timezone.now()
    lines = [f"{subject(calls)} at Nod.", ""]
    for call in _ordered(calls)[:LISTED]:
        lines += [f"- {_line(call, now)}", f"  {link(call)}"]
    if more := len(calls[LISTED:]):
        lines.append(f"- and {more} more")
    lines += [
        "",
        f"All that waits: {_address('approvals:queue')}",
        "",
        "These links only open pages. You sign in, look at the whole call, and decide there.",
        f"To get fewer of these: {_address('notices:settings')}",
        "",
    ]
    return "\n".join(lines)


def push(calls: Sequence[ToolCall]) -> dict[str, Any]:
    """What a browser is told: a number, and the page of this site that it opens."""
    one = len(calls) == 1
    return {"count": len(calls), "open": _path(calls[0]) if one else reverse("approvals:queue")}


def link(call: ToolCall) -> str:
    return f"{settings.PUBLIC_URL}{_path(call)}"


def _path(call: ToolCall) -> str:
    return reverse("approvals:call", args=[call.pk])


def _address(name: str) -> str:
    return f"{settings.PUBLIC_URL}{reverse(name)}"


def _ordered(calls: Sequence[ToolCall]) -> list[ToolCall]:
    return sorted(calls, key=lambda call: (RISKS.index(call.risk), call.requested_at))


def _line(call: ToolCall, now: datetime) -> str:
    what = f"{_plain(call.tool)} for {_plain(call.requested_by.get_username())}, {call.risk} risk"
    if call.status == Status.UNKNOWN:
        return f"Did it happen? {what}, asked {span(now - call.requested_at)} ago"
    return f"{what}, waiting {span(now - call.requested_at)}"


def _plain(text: str) -> str:
    """On one line, with nothing that cannot be seen."""
    return "".join(char if char.isprintable() else "�" for char in text)
