"""Earlier decisions on calls that are like this one, and the reasons that people gave."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db.models import Q
from django.utils.safestring import SafeString

from approvals import permissions
from approvals.deception import deceptive
from approvals.models import Decision, ToolCall
from approvals.presentation import mark
from approvals.states import Choice
from approvals.trusting import differing

LOOKED_AT = 50  # of the latest decided calls of the tool
SHOWN = 3
REASONS = 4
REASON_CHARS = 120


@dataclass(frozen=True)
class Alike:
    """An earlier call, what was decided on it, and the names of the arguments that are others."""

    call: ToolCall
    decision: Decision
    differs: tuple[SafeString, ...]


def alike(call: ToolCall, user: User) -> list[Alike]:
    """The most alike of the latest decided calls of this tool by this agent; some argument has to be the same."""
    seen = permissions.visible_calls(user).filter(tool=call.tool, agent=call.agent, decided_at__isnull=False)
    latest = seen.exclude(pk=call.pk).prefetch_related("decisions__by").order_by("-decided_at")[:LOOKED_AT]
    found = []
    for each in latest:
        others, decision = _others(call.arguments, each.arguments), each.decision()
        if decision and len(others) < max(len(call.arguments), 1):
            found.append(Alike(each, decision, tuple(mark(name) for name in others)))
    return sorted(found, key=lambda one: len(one.differs))[:SHOWN]


def _others(mine: dict[str, object], theirs: dict[str, object]) -> list[str]:
    return [*differing(mine, theirs), *(name for name in theirs if name not in mine)]


def reasons(call: ToolCall, user: User) -> list[str]:
    """Short reasons of denials, the latest first: of this tool, or by this person. None that deceives."""
    calls = permissions.visible_calls(user)
    made = Decision.objects.filter(Q(call__tool=call.tool) | Q(by=user), choice=Choice.DENY, call__in=calls)
    texts = made.filter(undone_at=None).order_by("-pk").values_list("comment", flat=True)[:LOOKED_AT]
    short = (text.strip() for text in texts if len(text) <= REASON_CHARS and "\n" not in text)
    return [text for text in dict.fromkeys(short) if text and not deceptive(text)][:REASONS]
