"""The audit trail as a whole: checkpoints, export, verification."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now

from approvals import audit
from approvals.models import AuditEntry, AuditHead
from approvals.verify import CHECKPOINT, EXPORTED, Fault, Head, Verifier

EVERY = timedelta(seconds=60)
BATCH = 500  # chains that one checkpoint writes down: about 60 kB


def checkpoint_if_due() -> int:
    """Write down where the chains end, if the last checkpoint is old; safe in many copies. Returns how many."""
    last = _checkpoints().first()
    if last and AuditEntry.objects.filter(pk=last.pk, at__gt=Now() - EVERY).exists():
        return 0
    return checkpoint()


def checkpoint() -> int:
    """Write down the ends of the chains that moved since the checkpoint before the last. Returns how many chains.

    From then on a chain that loses entries, or disappears, contradicts the desk's own chain. Going back by two
    finds what was numbered before the last checkpoint and committed after it.
    """
    recent = list(_checkpoints().values_list("seq", flat=True)[:2])
    since = recent[1] if len(recent) > 1 else 0
    moved = AuditEntry.objects.filter(seq__gt=since).exclude(session="")
    names = sorted(set(moved.order_by().values_list("session", flat=True).distinct()))
    for start in range(0, len(names), BATCH):
        _write_down(names[start : start + BATCH])
    return len(names)


@audit.audited()
def _write_down(names: list[str]) -> None:
    heads = AuditHead.objects.filter(chain__in=names).order_by("chain")
    audit.record(CHECKPOINT, "system", heads={head.chain: [head.position, head.hash] for head in heads})


def _checkpoints() -> Any:
    return AuditEntry.objects.filter(kind=CHECKPOINT).order_by("-seq")


def export() -> Iterator[dict[str, Any]]:
    """All entries, oldest first. The last one says that this export was made.

    A checkpoint before it covers all others, so that the export can be verified without the database.
    """
    checkpoint()
    with audit.audited():
        settle_numbers()
        last = audit.entry(EXPORTED, "system")
        audit.write(last)
    yield from map(audit.fields, _upto(last.seq).iterator(chunk_size=1000))


def _upto(seq: int) -> Any:
    return AuditEntry.objects.filter(seq__lte=seq).order_by("seq")


def read(after: int, limit: int) -> list[AuditEntry]:
    """The entries behind a number, oldest first. None with a lower number appears later."""
    with transaction.atomic():
        settle_numbers()
        return list(AuditEntry.objects.filter(seq__gt=after).order_by("seq")[:limit])


def settle_numbers() -> None:
    """In the caller's transaction: wait for the entries that have a number and are not committed yet.

    PostgreSQL numbers rows before they are committed; SQLite has one writer at a time.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {AuditEntry._meta.db_table} IN SHARE ROW EXCLUSIVE MODE")


def verify() -> tuple[Verifier, Fault | None]:
    """Read the whole trail as it is at this moment. The fault, if any, is the first one."""
    verifier = Verifier(settings.AUDIT_KEYS)
    with _one_moment():
        for entry in AuditEntry.objects.order_by("seq").iterator(chunk_size=1000):
            if fault := verifier.read(audit.fields(entry)):
                return verifier, fault
        heads = AuditHead.objects.values_list("chain", "position", "hash", "seal")
        return verifier, verifier.end(Head(*head) for head in heads.iterator(chunk_size=1000))


@contextmanager
def _one_moment() -> Iterator[None]:
    """Reads inside see the database as it was at the first of them, and keep nobody from writing."""
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic():
            _execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
    else:
        _execute("BEGIN DEFERRED")  # Django's own would take the lock for writing
        try:
            yield
        finally:
            _execute("ROLLBACK")


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def verify_lines(lines: Iterator[Any]) -> tuple[Verifier, Fault | None]:
    """The same for an export; needs no database."""
    verifier = Verifier(settings.AUDIT_KEYS)
    for fields in lines:
        if fault := verifier.read(fields):
            return verifier, fault
    return verifier, verifier.end_of_export()
