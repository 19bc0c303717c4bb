"""The audit trail as a whole: checkpoints, export, verification."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from approvals import audit
from approvals.audit import audited
from approvals.models import AuditEntry, AuditHead
from approvals.verify import CHECKPOINT, EXPORTED, Fault, Head, Verifier

EVERY = timedelta(seconds=60)
BATCH = 500  # heads that one checkpoint writes down: about 60 kB


def checkpoint_if_due() -> int:
    """Write down where the chains end, if the last checkpoint is old; safe in many copies. Returns how many."""
    recent = AuditEntry.objects.filter(kind=CHECKPOINT, at__gt=Now() - EVERY)
    if recent.exists() or not _moved().exists():
        return 0
    return checkpoint()


def checkpoint() -> int:
    """Write down the end of each chain that moved since it was written down last. Returns how many chains.

    From then on a chain that loses entries, or disappears, contradicts the desk's own chain.
    """
    written = 0
    while count := _checkpoint():
        written += count
        if count < BATCH:
            break
    return written


@audit.change()
def _checkpoint() -> int:
    heads = list(_locked(_moved())[:BATCH])
    if heads:
        # Those that were locked cannot have moved since.
        AuditHead.objects.filter(pk__in=[head.pk for head in heads]).update(checked=F("position"))
        ends = {head.chain: [head.position, head.hash] for head in heads}
        audit.record(CHECKPOINT, "system", heads=ends)
    return len(heads)


def _moved() -> Any:
    """Chains that the last checkpoint does not cover. The desk's own holds the checkpoints and needs none."""
    return AuditHead.objects.exclude(chain="").filter(position__gt=F("checked")).order_by("chain")


def _locked(heads: Any) -> Any:
    """A chain that is being written to is left for the next time: nobody waits for a checkpoint."""
    can_skip = connection.features.has_select_for_update_skip_locked
    return heads.select_for_update(skip_locked=can_skip)


def export(after: int = 0) -> Iterator[dict[str, Any]]:
    """All entries behind number `after`, oldest first. The last one says that this export was made.

    A checkpoint before it covers all others, so that the export can be verified without the database.
    """
    checkpoint()
    with audited():
        last = audit.entry(EXPORTED, "system")
        audit.write(last)
    entries = AuditEntry.objects.filter(seq__gt=after, seq__lte=last.seq).order_by("seq")
    yield from map(audit.fields, entries.iterator(chunk_size=1000))


def verify() -> tuple[Verifier, Fault | None]:
    """Read the whole trail as it is at this moment. The fault, if any, is the first one."""
    verifier = Verifier(settings.AUDIT_KEYS)
    alone = not connection.in_atomic_block
    with transaction.atomic():
        if alone and connection.vendor == "postgresql":  # entries and heads of one moment
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for entry in AuditEntry.objects.order_by("seq").iterator(chunk_size=1000):
            if fault := verifier.read(audit.fields(entry)):
                return verifier, fault
        heads = AuditHead.objects.values_list("chain", "position", "hash", "seal")
        return verifier, verifier.end(Head(*head) for head in heads.iterator(chunk_size=1000))


def verify_lines(lines: Iterator[tuple[int, Any]]) -> tuple[Verifier, Fault | None]:
    """The same for an export; needs no database."""
    verifier = Verifier(settings.AUDIT_KEYS)
    for _, fields in lines:
        if fault := verifier.read(fields):
            return verifier, fault
    return verifier, verifier.end_of_export()
