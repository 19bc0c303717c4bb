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
    if not _is_due() or not _moved().exists():
        return 0
    with audit.audited():
        audit.hold("")
        return _write_down() if _is_due() else 0


def checkpoint() -> int:
    """Write down the ends of the chains that moved lately. Returns how many chains.

    From then on a chain that loses entries, or disappears, contradicts the desk's own chain.
    """
    with audit.audited():
        audit.hold("")
        return _write_down()


def _is_due() -> bool:
    last = _checkpoints().first()
    return last is None or not AuditEntry.objects.filter(pk=last.pk, at__gt=Now() - EVERY).exists()


def _write_down() -> int:
    """All of it, in the caller's transaction, which holds the desk's chain: the next one sees no less than this."""
    names = sorted(set(_moved().values_list("session", flat=True).distinct()))
    for start in range(0, len(names), BATCH):
        heads = AuditHead.objects.filter(chain__in=names[start : start + BATCH]).order_by("chain")
        audit.record(CHECKPOINT, "system", heads={head.chain: [head.position, head.hash] for head in heads})
    return len(names)


def _moved() -> Any:
    """Entries of chains that the last checkpoint may not have seen."""
    return AuditEntry.objects.filter(seq__gt=_since()).exclude(session="").order_by()


def _since() -> int:
    """A number that all which the last checkpoint did not see come after.

    An entry may be numbered before a checkpoint and committed after it, but not by more than its transaction takes:
    a few milliseconds, and never EVERY (settings.DATABASES ends transactions that stand still for 15 s).
    """
    last = _checkpoints().first()
    before = _checkpoints().filter(at__lte=last.at - EVERY).first() if last else None
    return before.seq if before else 0


def _checkpoints() -> Any:
    return AuditEntry.objects.filter(kind=CHECKPOINT).order_by("-seq")


def export() -> Iterator[dict[str, Any]]:
    """All entries, oldest first. The last one says that this export was made.

    A checkpoint before it covers all others, so that the export can be verified without the database: from before
    the one until after the other nobody writes.
    """
    with audit.audited():
        audit.hold("")  # before the table: whoever has this waits for that
        settle_numbers()
        _write_down()
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
