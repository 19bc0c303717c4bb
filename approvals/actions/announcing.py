"""Whom to write to about calls that wait: noted each time one begins to, taken up by one sweeper at a time, then told.

A message that was taken up and not ended (its worker died) is sent again after a while: one mail too many does no
harm, since its links only open pages; one too few may cost a decision (docs/decisions/0019-notifications.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.functions import Now

from approvals import audit
from approvals.models import ToolCall
from approvals.notice_models import Announcement, Kind, NoticePreference, Postbox, PushSubscription
from approvals.permissions import deciders, left_to
from approvals.states import UNSETTLED, Channel, Status

SYSTEM = "system"
NOTED_AT_ONCE = 200
KINDS = {Status.PENDING: Kind.WAITING, Status.UNKNOWN: Kind.UNKNOWN}
OF_PEOPLE = ("id", "username", "email")  # a worker may read no more of them


@dataclass(frozen=True)
class Parcel:
    """One message that is to be sent now: to whom, about which calls. `claim` makes it this sweeper's."""

    box: Postbox
    claim: int
    calls: Sequence[ToolCall]
    rows: Sequence[int]

    @property
    def user(self) -> User:
        person: User = self.box.user
        return person


def note_due() -> int:
    """Of each call that has waited for its minute: who is to hear of it. Returns how many calls."""
    due = ToolCall.objects.filter(announce_at__lte=Now()).order_by("announce_at")
    return sum(_note(call) for call in due[:NOTED_AT_ONCE])


@transaction.atomic
def _note(call: ToolCall) -> bool:
    """The first sweeper to take the mark off the call notes it: once each time that the call begins to wait."""
    if not ToolCall.objects.filter(pk=call.pk, announce_at=call.announce_at).update(announce_at=None):
        return False
    if call.status not in UNSETTLED:
        return True
    kind = KINDS[Status(call.status)]
    call.announcements.filter(kind=kind).exclude(told_at=None).delete()  # of an earlier time
    pairs = [(user, channel) for channel in _channels(call) for user in _reached(deciders(call), channel)]
    rows = [Announcement(call=call, user=user, channel=channel, kind=kind) for user, channel in pairs]
    Announcement.objects.bulk_create(rows, ignore_conflicts=True)
    boxes = [Postbox(user=user, channel=channel) for user, channel in pairs]
    Postbox.objects.bulk_create(boxes, ignore_conflicts=True)
    return True


def _channels(call: ToolCall) -> list[Channel]:
    return [Channel(name) for name in (call.term("notify") or "").split(",") if name]


def _reached(people: QuerySet[User], channel: Channel) -> QuerySet[User]:
    """Those of these people whom this channel reaches, and who want it."""
    if channel == Channel.PUSH:
        return people.filter(pk__in=PushSubscription.objects.values("user"))
    return people.exclude(email="").exclude(
        pk__in=NoticePreference.objects.filter(email=False).values("user")
    )


def parcels(channel: Channel) -> Iterator[Parcel]:
    """The messages of a channel that are due, each taken up just before it is given out."""
    waiting = _untold(OuterRef("user"), channel).filter(call__status__in=UNSETTLED)
    boxes = Postbox.objects.filter(Exists(waiting), channel=channel, free_at__lte=Now())
    for box in boxes.order_by("free_at"):
        if parcel := _take(box):
            yield parcel


def _untold(user: Any, channel: Channel) -> QuerySet[Announcement]:
    return Announcement.objects.filter(user=user, channel=channel, told_at=None)


@audit.audited()
def _take(box: Postbox) -> Parcel | None:
    """What is to be told now, if nobody else has taken it: compare-and-set on the box's claim."""
    mine = Postbox.objects.filter(pk=box.pk, claim=box.claim, free_at__lte=Now())
    if not mine.update(claim=F("claim") + 1, free_at=Now() + settings.NOTICE_LEASE):
        return None
    rows = _still_to_tell(box)
    if not rows:
        Postbox.objects.filter(pk=box.pk).update(free_at=Now())
        return None
    audit.write(
        *(
            audit.entry(
                "call.announced",
                SYSTEM,
                call=row.call,
                to=box.user.get_username(),
                channel=box.channel,
                about=row.kind,
            )
            for row in rows
            if row.taken_at is None
        )
    )
    keys = [row.pk for row in rows]
    Announcement.objects.filter(pk__in=keys, taken_at=None).update(taken_at=Now())
    return Parcel(box, box.claim + 1, [row.call for row in rows], keys)


def _still_to_tell(box: Postbox) -> list[Announcement]:
    """What was decided meanwhile, and what the person may decide or wants no more, is forgotten."""
    mine = Announcement.objects.filter(user=box.user_id, channel=box.channel)
    mine.exclude(call__status__in=UNSETTLED).delete()
    box.user = User.objects.only(*OF_PEOPLE).get(pk=box.user_id)
    rows = list(mine.filter(told_at=None).select_related("call").order_by("call__requested_at", "pk"))
    wanted = _reached(User.objects.filter(pk=box.user_id), Channel(box.channel)).exists()
    left = {call.pk for call in left_to(box.user_id, [row.call for row in rows])} if wanted else set()
    still = [row for row in rows if row.call_id in left and KINDS.get(Status(row.call.status)) == row.kind]
    gone = {row.pk for row in rows} - {row.pk for row in still}
    mine.filter(pk__in=gone).delete()  # no others: what was noted since then is for the next message
    _name_requesters([row.call for row in still])
    return still


def _name_requesters(calls: Sequence[ToolCall]) -> None:
    people = User.objects.only(*OF_PEOPLE).in_bulk({call.requested_by_id for call in calls})
    for call in calls:
        call.requested_by = people[call.requested_by_id]


@transaction.atomic
def told(parcel: Parcel) -> None:
    """It was handed over. The next message to this person waits a while, and says all of that time at once."""
    _box(parcel).update(free_at=Now() + settings.NOTICE_PAUSE, failures=0)
    Announcement.objects.filter(pk__in=parcel.rows).update(told_at=Now())


def failed(parcel: Parcel) -> None:
    """It was not handed over: tried again, later each time."""
    first, most = settings.NOTICE_BACKOFF
    pause = min(first * 2 ** min(parcel.box.failures, 10), most)
    _box(parcel).update(free_at=Now() + pause, failures=F("failures") + 1)


def _box(parcel: Parcel) -> QuerySet[Postbox]:
    """None, once somebody else has taken it up anew."""
    return Postbox.objects.filter(pk=parcel.box.pk, claim=parcel.claim)
