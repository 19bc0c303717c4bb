"""Cards of several calls: those that can be decided together, and those that were."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from uuid import UUID

from django.contrib.auth.models import User
from django.utils.safestring import SafeString

from approvals import permissions
from approvals.actions.edits import schema_of
from approvals.actions.together import Became
from approvals.alike import Bunch, alike
from approvals.because import Because, because
from approvals.cards import Card, undo_may_help
from approvals.errors import Refusal
from approvals.lists import ListRow, desk_rows
from approvals.models import ToolCall
from approvals.presentation import Row, mark, rows
from approvals.states import UNSETTLED, Status
from approvals.wording import State, state, stopped_by


@dataclass(frozen=True)
class Member:
    """One of several calls, with the argument in which it differs. `toggled`: which are left out if this one is, or is
    not any more."""

    row: ListRow
    differs: Row | None
    out: bool
    toggled: str


@dataclass
class Together:
    """The card of several calls. `out`: those that the reader leaves out; they are shown, and not decided."""

    calls: list[ToolCall]
    user: User
    out: frozenset[UUID] = frozenset()
    form: str = ""
    comment: str = ""
    field_error: str = ""
    notice: str = ""

    @property
    def first(self) -> ToolCall:
        """Whose tool, policy and person the card tells: one of those that it would decide, if it would decide any."""
        return (self.waiting or self.pending or self.calls)[0]

    @property
    def ids(self) -> str:
        return ",".join(str(call.pk) for call in self.calls)

    @property
    def seen(self) -> str:
        """Changes whenever the card would look different."""
        shown = [(str(call.pk), call.version, call.status, call.approvals) for call in self.calls]
        return sha256(repr((shown, self.left_out)).encode()).hexdigest()[:16]

    @property
    def left_out(self) -> str:
        return self._listed(self.out)

    def _listed(self, keys: Set[UUID]) -> str:
        return ",".join(str(call.pk) for call in self.calls if call.pk in keys)

    @cached_property
    def pending(self) -> list[ToolCall]:
        return [call for call in self.calls if call.status == Status.PENDING]

    @cached_property
    def waiting(self) -> list[ToolCall]:
        """Those that would be decided."""
        return [call for call in self.pending if call.pk not in self.out]

    @cached_property
    def bunch(self) -> Bunch | None:
        """Those that still wait, where they belong together, left out or not."""
        return alike(self.pending) if len(self.pending) > 1 else None

    @cached_property
    def refusal(self) -> Refusal | None:
        return next(filter(None, (permissions.refusal(self.user, call) for call in self.waiting)), None)

    @property
    def same(self) -> list[Row]:
        """The arguments that are the same in all of them."""
        differs = self.bunch.differs if self.bunch else ""
        shared = {name: value for name, value in self.first.arguments.items() if name != differs}
        properties = schema_of(self.first.tool).get("properties", {})
        return rows(shared, properties if isinstance(properties, dict) else ())

    @property
    def members(self) -> list[Member]:
        differs = self.bunch.differs if self.bunch else ""
        return [
            Member(
                row,
                rows({differs: row.call.arguments[differs]})[0] if differs else None,
                row.call.pk in self.out,
                self._listed(self.out ^ {row.call.pk}),
            )
            for row in desk_rows(self.pending, self.user)
        ]

    @property
    def who_may(self) -> str:
        return Card(self.first, self.user).who_may

    @property
    def because(self) -> Because | None:
        """What the policy is about; in what they differ is told of each."""
        found = because(self.first)
        return found and replace(found, here=SafeString())

    @property
    def prompt(self) -> SafeString:
        """What the person wrote, where that is the same for all."""
        written = {call.prompt for call in self.waiting}
        return mark(written.pop() if len(written) == 1 else "")


@dataclass
class Result:
    """The calls of a batch as they are by now."""

    calls: list[ToolCall]
    batch: UUID
    left: list[Became]

    @property
    def told(self) -> list[tuple[ToolCall, State]]:
        stopped = stopped_by(self.calls)
        return [(call, state(call, stopped_by=stopped.get(call.pk, ""))) for call in self.calls]

    @property
    def seen(self) -> str:
        return sha256(
            repr([(str(call.pk), call.version, call.status) for call in self.calls]).encode()
        ).hexdigest()[:16]

    @property
    def lost(self) -> str:
        """The ids of those that others had decided before, for the address."""
        mine = {call.pk for call in self.calls}
        return ",".join(str(one.call.pk) for one in self.left if one.call.pk not in mine)

    @cached_property
    def decided(self) -> list[ToolCall]:
        """Those of which the decision stands."""
        return [call for call in self.calls if call.status != Status.PENDING]

    @cached_property
    def held_up(self) -> bool:
        """Whether what was approved does not run yet, since other calls of the same turn wait for somebody."""
        runs = {call.run for call in self.calls if call.status == Status.APPROVED and call.run}
        return ToolCall.objects.filter(run__in=runs, status__in=UNSETTLED).exists() if runs else False

    @cached_property
    def undoable(self) -> int:
        return sum(undo_may_help(call) for call in self.decided)
