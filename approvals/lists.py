"""Calls in lists, one row each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone
from django.utils.safestring import SafeString

from approvals.deception import deceptive
from approvals.models import ToolCall
from approvals.presentation import mark, span, summary
from approvals.wording import State, state


@dataclass(frozen=True)
class ListRow:
    """One call in a list."""

    call: ToolCall
    summary: SafeString
    deceptive: bool
    state: State
    left: str
    plain: str = ""  # the summary, for what is not a page

    @property
    def at(self) -> datetime:
        return self.call.decided_at or self.call.finished_at or self.call.requested_at


_looked_at: dict[str, bool] = {}  # by digest; lists are made anew at each doorbell
MOST_LOOKED_AT = 10_000


def _deceptive(call: ToolCall) -> bool:
    if call.digest not in _looked_at:
        if len(_looked_at) >= MOST_LOOKED_AT:
            _looked_at.clear()
        _looked_at[call.digest] = deceptive(call.arguments)
    return _looked_at[call.digest]


def list_rows(calls: Iterable[ToolCall]) -> list[ListRow]:
    now = timezone.now()
    return [
        ListRow(
            call=call,
            summary=mark(summary(call.arguments)),
            deceptive=_deceptive(call),
            state=state(call),
            plain=summary(call.arguments),
            left=f"{span(call.expires_at - now)} left" if call.expires_at else "",
        )
        for call in calls
    ]
