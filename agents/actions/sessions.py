"""What people do with their chats beside writing in them: name them, put them away, find them again."""

from __future__ import annotations

from django.db.models.functions import Now

from agents.models import Session
from approvals import audit
from approvals.errors import InvalidInput
from approvals.fields import storable

MAX_TITLE = 200


@audit.audited(durable=True)
def rename(session: Session, title: str, actor: str) -> None:
    """Raises InvalidInput for a name that says nothing."""
    title = " ".join(storable(title).split())
    if not any(char.isprintable() and not char.isspace() for char in title):
        raise InvalidInput("The name is empty. Write a few words.")
    if len(title) > MAX_TITLE:
        raise InvalidInput(f"The name has {len(title)} characters; {MAX_TITLE} is the most. Shorten it.")
    before, session.title = session.title, title
    if Session.objects.filter(pk=session.pk).exclude(title=title).update(title=title):
        audit.record("session.renamed", actor, session=session.key, before=before, after=title)


@audit.audited(durable=True)
def archive(session: Session, actor: str) -> None:
    """Out of the list of chats, until it gets a message or is taken back. Nothing stops."""
    if Session.objects.filter(pk=session.pk, archived_at=None).update(archived_at=Now()):
        audit.record("session.archived", actor, session=session.key)


@audit.audited(durable=True)
def unarchive(session: Session, actor: str) -> None:
    if Session.objects.filter(pk=session.pk, archived_at__isnull=False).update(archived_at=None):
        audit.record("session.unarchived", actor, session=session.key)
