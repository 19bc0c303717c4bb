"""Audit entries. They are written in the transaction of the change, or the change does not happen."""

from typing import Any

from django.db import transaction

from approvals.models import AuditEntry, ToolCall


def entry(
    kind: str, actor: str, *, call: ToolCall | None = None, session: str = "", tool: str = "", **data: Any
) -> AuditEntry:
    """One unsaved entry; a call fills in its session, tool and digest."""
    if call is None:
        return AuditEntry(kind=kind, actor=actor, session=session, tool=tool, data=data)
    return AuditEntry(
        kind=kind,
        actor=actor,
        session=call.session,
        call=str(call.pk),
        tool=call.tool,
        digest=call.digest,
        data=data,
    )


def write(*entries: AuditEntry) -> None:
    """Store entries, in order. Refuses to work outside a transaction, so that change and entry are one."""
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError(
            "An audit entry belongs into the transaction of its change."
        )
    AuditEntry.objects.bulk_create(entries)


def record(
    kind: str, actor: str, *, call: ToolCall | None = None, session: str = "", tool: str = "", **data: Any
) -> None:
    """Store one entry."""
    write(entry(kind, actor, call=call, session=session, tool=tool, **data))
