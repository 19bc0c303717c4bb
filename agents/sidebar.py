"""A person's chats beside the conversation: the list, what is archived, what a search finds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Length

from agents.models import Message, Run, Session
from approvals.fields import storable

LISTED = 100
CHUNK = 20  # messages that a search has in memory at once
LOOKED_AT = 2_000  # messages of a search; the newest
LONGEST = (
    250_000  # characters of a message, as JSON, that a search looks at: results of tools are longer at times
)
MAX_QUERY = 200


@dataclass
class Sidebar:
    """`query`: what is searched for. `archived`: the archive is shown. `form`: of the open session, rename."""

    sessions: list[Session]
    query: str = ""
    archived: bool = False
    has_archived: bool = False


def sidebar(user: User, query: str = "", *, archived: bool = False) -> Sidebar:
    query = storable(query).strip()[:MAX_QUERY]
    mine = Session.objects.filter(user=user)
    if query:
        rows = mine.filter(Q(title__icontains=query) | Q(pk__in=_saying(user, query)))
    else:
        rows = mine.filter(archived_at__isnull=not archived)
    has_archived = mine.filter(archived_at__isnull=False).exists()
    return Sidebar(list(_with_state(rows)[:LISTED]), query, archived and not query, has_archived)


def _with_state(rows: QuerySet[Session]) -> QuerySet[Any]:
    """With the state of their last run, newest first."""
    last = Run.objects.filter(session=OuterRef("pk")).order_by("-created_at", "-pk").values("status")[:1]
    return rows.defer("state").annotate(last_run=Subquery(last)).order_by("-active_at", "-pk")


def _saying(user: User, query: str) -> set[UUID]:
    """The sessions in whose messages the words stand. The database looks through their JSON; what it finds is read."""
    escaped = json.dumps(query)[1:-1]  # as JSON has it in the column
    matching = (
        Message.objects.filter(session__user=user, note=False, content__icontains=escaped)
        .alias(length=Length("content"))
        .filter(length__lte=LONGEST)
        .order_by("-pk")
        .only("session_id", "content")
    )
    wanted, found = query.casefold(), set[UUID]()
    rows = list(matching[:CHUNK])
    for _ in range(LOOKED_AT // CHUNK):
        found |= {row.session_id for row in rows if wanted in row.text.casefold()}
        if len(rows) < CHUNK or len(found) >= LISTED:
            break
        rows = list(matching.filter(pk__lt=rows[-1].pk).exclude(session_id__in=found)[:CHUNK])
    return found
