"""What trust would have covered, had it been given before: shown to whoever is about to give it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from django.utils.safestring import SafeString

from approvals.models import ToolCall
from approvals.presentation import mark, summary
from approvals.states import Effect, Status
from approvals.trusting import differing

LAST = 12


@dataclass(frozen=True)
class Past:
    """An earlier call of the tool. `became`: what was decided, in a word. `never`: why no trust would cover it.
    `differs`: the arguments that are others."""

    call: ToolCall
    summary: SafeString
    became: str
    never: str
    differs: tuple[str, ...]

    @property
    def denied(self) -> bool:
        return self.call.status == Status.DENIED

    @property
    def differs_json(self) -> str:
        return json.dumps(self.differs)


@dataclass(frozen=True)
class TrustPreview:
    """The last calls of the tool, the newest first."""

    past: tuple[Past, ...]

    @property
    def covered(self) -> int:
        """How many of them trust in any arguments covers."""
        return sum(not each.never for each in self.past)

    @property
    def denied(self) -> str:
        """How many of those were denied, as the end of a sentence: "; 2 of these were denied"."""
        count = sum(each.denied for each in self.past if not each.never)
        return f"; {count} of these {'was' if count == 1 else 'were'} denied" if count else ""


def preview(call: ToolCall) -> TrustPreview:
    """The last calls of this tool in this session, newest first; this one is not among them."""
    arguments = call.arguments if isinstance(call.arguments, dict) else {}
    same = ToolCall.objects.filter(session=call.session, tool=call.tool).exclude(pk=call.pk)
    past = tuple(_past(each, call, arguments) for each in same.order_by("-pk")[:LAST])
    return TrustPreview(past)


def _past(each: ToolCall, call: ToolCall, arguments: dict[str, object]) -> Past:
    theirs = each.arguments if isinstance(each.arguments, dict) else {}
    differs = tuple(differing(arguments, theirs))
    return Past(each, mark(summary(each.arguments)), _became(each), _never(each, call), differs)


_BECAME = {
    Status.PENDING: "waiting",
    Status.DENIED: "denied",
    Status.EXPIRED: "expired",
    Status.CANCELLED: "cancelled",
    Status.BLOCKED: "blocked",
}


def _became(each: ToolCall) -> str:
    """What was decided; whether it ran then is another question."""
    asked = "approved" if each.groups else "allowed"
    return _BECAME.get(Status(each.status), "trusted" if each.trust_id else asked)


def _never(each: ToolCall, call: ToolCall) -> str:
    if (each.definition, each.provider) != (call.definition, call.provider):
        return "the tool was another one then"
    if each.effect == Effect.ALWAYS_ASK:
        return "it was always to be asked for"
    return "a policy blocked it" if each.effect == Effect.BLOCK else ""
