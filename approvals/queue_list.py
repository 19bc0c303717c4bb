"""The list at the left of the desk: what waits, in bunches, and what was decided lately."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils.safestring import SafeString

from approvals import waiting
from approvals.alike import Bunch, bunches
from approvals.lists import STAMPED, ListRow, desk_rows, late_stamps, list_rows, stamps
from approvals.models import ToolCall
from approvals.presentation import mark
from approvals.states import UNSETTLED
from approvals.waiting import Facet, Filters

LISTED = 200  # waiting calls in the list, the most urgent first; nobody works through more at once
LATELY = 5
QUICK = 2  # tools that have a button of their own


@dataclass(frozen=True)
class Item:
    """One entry of the list: a call, or several that are alike."""

    rows: list[ListRow]
    differs: str = ""

    @property
    def first(self) -> ListRow:
        return self.rows[0]

    @property
    def several(self) -> bool:
        return len(self.rows) > 1

    @property
    def ids(self) -> str:
        return ",".join(str(row.call.pk) for row in self.rows)

    @property
    def what_differs(self) -> SafeString:
        return mark(self.differs)


class QueueList:
    """`calls`: those that the reader sees."""

    def __init__(self, calls: QuerySet[ToolCall], reader: User, filters: Filters) -> None:
        self._calls, self._reader, self.filters = calls, reader, filters

    @cached_property
    def items(self) -> list[Item]:
        return _items(self._pending[:LISTED], self._reader)

    @cached_property
    def unknown(self) -> list[ListRow]:
        found = self.filters.only(self._reader, waiting.unknown(self._calls))
        return desk_rows(found[:LISTED], self._reader)

    @cached_property
    def lately(self) -> list[ListRow]:
        decided = self._calls.filter(decided_at__isnull=False).order_by("-decided_at")
        return list_rows(decided[:LATELY])

    @cached_property
    def more(self) -> int:
        """How many wait that are not listed."""
        shown = sum(len(item.rows) for item in self.items)
        return self._pending.count() - shown if shown == LISTED else 0

    @cached_property
    def facets(self) -> dict[str, list[Facet]]:
        """What the calls that need somebody can be narrowed down to, whatever they are narrowed down to now."""
        return waiting.facets(self._calls.filter(status__in=UNSETTLED), self.filters)

    @property
    def total(self) -> int:
        """How many need somebody that the reader sees: those that wait, and those whose outcome nobody knows."""
        return sum(facet.count for facet in self.facets["risk"])

    @cached_property
    def mine(self) -> int:
        """How many of these wait for the reader."""
        return self._calls.filter(waiting.for_me(self._reader), status__in=UNSETTLED).count()

    @property
    def quick(self) -> list[Facet]:
        """The filters that are one click away: what is risky, and the tools that ask most."""
        risky = [facet for facet in self.facets["risk"] if facet.value == "high" or facet.chosen]
        tools = [facet for place, facet in enumerate(self.facets["tool"]) if place < QUICK or facet.chosen]
        return risky + (tools if len(self.facets["tool"]) > 1 or self.filters.tool else [])

    @property
    def rest(self) -> dict[str, list[Facet]]:
        """The filters that are chosen from lists, where there is something to choose."""
        names = ("group", "agent", "tool")
        return {
            name: self.facets[name]
            for name in names
            if len(self.facets[name]) > 1 or getattr(self.filters, name)
        }

    def shows(self, number: int, stamp: str, *, cut: bool) -> bool:
        """Whether a page shows what there is. Of a list that is cut, so many first rows have to be right."""
        number, wanted = min(number, LISTED), min(number if cut else number + 1, LISTED)
        unknown = list(self._light(self.filters.only(self._reader, waiting.unknown(self._calls)))[:LISTED])
        pending = list(self._light(self._pending)[: max(wanted - len(unknown), 0)])
        lately = list(
            self._light(self._calls.filter(decided_at__isnull=False).order_by("-decided_at"))[:LATELY]
        )
        total = stamps(unknown + pending, self._reader) ^ late_stamps(lately)
        return number == len(unknown + pending) and f"{total:08x}" == stamp

    def _light(self, calls: QuerySet[ToolCall]) -> QuerySet[ToolCall]:
        return calls.select_related(None).prefetch_related(None).only(*STAMPED)

    def changed(self, ids: Iterable[UUID]) -> dict[str, list[ListRow]]:
        """Of these calls the rows that are in the list, and those that are there no more; unseen ones in neither."""
        found = list(self._calls.filter(pk__in=list(ids)))
        still = set(
            self.filters.only(self._reader, self._calls.filter(pk__in=ids)).values_list("pk", flat=True)
        )
        waits = [call for call in found if call.status in UNSETTLED and call.pk in still]
        gone = [call for call in found if call not in waits]
        return {"waits": desk_rows(waits, self._reader), "gone": desk_rows(gone, self._reader)}

    def next(self) -> ToolCall | None:
        """What to decide next: what waits for the reader and nobody else looks after, if there is any."""
        others = Q(taken_until__gt=Now()) & ~Q(taken_by=self._reader)
        mine = self._pending.filter(waiting.for_me(self._reader)).exclude(others)
        rest = self.filters.only(self._reader, waiting.unknown(self._calls))
        return mine.first() or self._pending.first() or rest.first()

    def with_others(self, call: ToolCall) -> list[ToolCall]:
        """The calls that share a row with this one, itself among them; none where it has a row of its own."""
        rows = next((item.rows for item in self.items if any(row.call == call for row in item.rows)), [])
        return [row.call for row in rows] if len(rows) > 1 else []

    @cached_property
    def _pending(self) -> QuerySet[ToolCall]:
        return self.filters.only(self._reader, waiting.pending(self._calls))


def _items(calls: Iterable[ToolCall], reader: User) -> list[Item]:
    calls = list(calls)
    rows = {row.call.pk: row for row in desk_rows(calls, reader)}
    others = {pk for pk, row in rows.items() if row.waits_for}
    return [_item(bunch, rows) for bunch in bunches(calls, apart=others)]


def _item(bunch: Bunch, rows: dict[UUID, ListRow]) -> Item:
    return Item([rows[call.pk] for call in bunch.calls], bunch.differs)
