"""Calls in lists, one row each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from hashlib import sha256
from operator import xor
from uuid import UUID

from django.contrib.auth.models import User
from django.utils import timezone
from django.utils.safestring import SafeString

from approvals import permissions
from approvals.actions.attention import looked_at
from approvals.models import Attention, ToolCall
from approvals.presentation import mark, span, summary, warns
from approvals.states import Status
from approvals.wording import State, approvers, both, deciders, state, stopped_by


@dataclass(frozen=True)
class ListRow:
    """One call in a list."""

    call: ToolCall
    summary: SafeString
    deceptive: bool
    state: State
    left: str
    looking: list[str] = field(default_factory=list)  # others who have its card open
    taken: str = ""  # who else looks after it; "you" where the reader does
    waits_for: str = ""  # whom, where it is not the reader

    @property
    def plain(self) -> str:
        """The summary, for what is not a page."""
        return summary(self.call.arguments)

    @property
    def at(self) -> datetime:
        return self.call.decided_at or self.call.finished_at or self.call.requested_at

    @property
    def note(self) -> str:
        """What others do about it, in a few words: the row has one line for it, so that rows never grow."""
        if self.taken:
            return "you have taken this" if self.taken == "you" else f"{self.taken} has taken this"
        if self.call.nudged_at and self.call.status == Status.PENDING:
            return f"{self.call.requested_by.get_username()} asks again"
        if self.looking:
            return f"{both(self.looking)} {'is' if len(self.looking) == 1 else 'are'} looking"
        return f"waits for {self.waits_for}" if self.waits_for else ""

    @property
    def stamp(self) -> str:
        """Changes whenever the row would look different, but for its ages."""
        return f"{stamp(self.call, self.looking):08x}"

    @property
    def late_stamp(self) -> str:
        return f"{stamp(self.call, ('lately',)):08x}"


_warned: dict[str, bool] = {}  # by digest; lists are made anew at each doorbell
MOST_WARNED = 10_000


def _warns(call: ToolCall) -> bool:
    if call.digest not in _warned:
        if len(_warned) >= MOST_WARNED:
            _warned.clear()
        _warned[call.digest] = warns(call.arguments)
    return _warned[call.digest]


def list_rows(calls: Iterable[ToolCall]) -> list[ListRow]:
    """Rows that are the same for every reader."""
    calls = list(calls)
    stopped = stopped_by(calls)
    return [_row(call, stopped=stopped.get(call.pk, "")) for call in calls]


def desk_rows(calls: Iterable[ToolCall], reader: User) -> list[ListRow]:
    """Rows of calls that wait, as this reader needs them; three queries for all."""
    calls = list(calls)
    looking = _looking(reader)
    others = [call for call in calls if call.status == Status.PENDING and not _waits_for(call, reader)]
    names = deciders(others)
    return [
        _row(
            call,
            looking=looking.get(call.pk, ()),
            taken=_taken(call, reader),
            waits_for=names.get(call.pk, ""),
        )
        for call in calls
    ]


def stamps(calls: Iterable[ToolCall], reader: User) -> int:
    """The stamps of these rows in one number, whatever their order. Pages work it out from the rows they show."""
    looking = _looking(reader)
    return reduce(xor, (stamp(call, looking.get(call.pk, ())) for call in calls), 0)


def late_stamps(calls: Iterable[ToolCall]) -> int:
    """The same for rows of calls that were decided lately; a call can be in both lists."""
    return reduce(xor, (stamp(call, ("lately",)) for call in calls), 0)


def stamp(call: ToolCall, looking: Iterable[str] = ()) -> int:
    taken = call.taken_by_id if call.taken_until and call.taken_until > timezone.now() else None
    shown = (
        str(call.pk),
        call.version,
        call.status,
        call.approvals,
        call.escalated,
        call.nudged_at,
        taken,
        *looking,
    )
    return int.from_bytes(sha256(repr(shown).encode()).digest()[:4])


STAMPED = ("version", "status", "approvals", "escalated", "nudged_at", "taken_by_id", "taken_until")


def _row(
    call: ToolCall, looking: Iterable[str] = (), taken: str = "", waits_for: str = "", stopped: str = ""
) -> ListRow:
    left = call.expires_at - timezone.now() if call.expires_at else None
    return ListRow(
        call=call,
        summary=mark(summary(call.arguments)),
        deceptive=_warns(call),
        state=state(call, waits_for, stopped),
        left=f"{span(left)} left" if left else "",
        looking=list(looking),
        taken=taken,
        waits_for=waits_for,
    )


def _looking(reader: User) -> dict[UUID, list[str]]:
    """Which calls others look at; there are no more of these than reviewers."""
    found: dict[UUID, list[str]] = defaultdict(list)
    looks = Attention.objects.filter(looked_at()).exclude(user=reader).order_by("user__username")
    for call_id, name in looks.values_list("call_id", "user__username"):
        found[call_id].append(name)
    return found


def _taken(call: ToolCall, reader: User) -> str:
    if not call.taken_by or not call.taken_until or call.taken_until <= timezone.now():
        return ""
    return "you" if call.taken_by_id == reader.pk else call.taken_by.get_username()


def _waits_for(call: ToolCall, reader: User) -> bool:
    """Whether it waits for this reader."""
    return permissions.refusal(reader, call) is None and reader.get_username() not in approvers(call)
