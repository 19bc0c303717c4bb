"""The audit trail: written in the transaction of the change, or the change does not happen.

Entries of a transaction are collected by `audited()` and stored at its very end. The lock on the head of their
chain is so held only for the commit, and always taken last: two transactions cannot wait for each other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.utils.dateparse import parse_datetime

from approvals import chain
from approvals.models import AuditEntry, AuditHead, ToolCall

logger = logging.getLogger("nod.audit")

BROKEN = "audit.broken"
CLOCK = {
    "postgresql": "clock_timestamp()",
    "sqlite": "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')",
}


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


def record(
    kind: str, actor: str, *, call: ToolCall | None = None, session: str = "", tool: str = "", **data: Any
) -> None:
    """Store one entry."""
    write(entry(kind, actor, call=call, session=session, tool=tool, **data))


def write(*entries: AuditEntry) -> None:
    """Store entries, in order; inside `audited()` at its end. Refuses to work outside a transaction."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError(
            "An audit entry belongs into the transaction of its change."
        )
    collected = _collected()
    if collected is None:
        _store(list(entries))
    else:
        collected.extend(entries)


@contextmanager
def audited(*, durable: bool = False) -> Iterator[None]:
    """A transaction whose audit entries are stored at its end, as a block or a decorator.

    Inside another one it is a part of that.
    """
    outer = _collected()
    with transaction.atomic(durable=durable):
        if outer is not None:
            yield from _part(outer)
            return
        collected: list[AuditEntry] = []
        connection.nod_audit = collected  # type: ignore[attr-defined]
        try:
            yield
            _store(collected)
        finally:
            connection.nod_audit = None  # type: ignore[attr-defined]


def _collected() -> list[AuditEntry] | None:
    found: list[AuditEntry] | None = getattr(connection, "nod_audit", None)
    return found


def _part(outer: list[AuditEntry]) -> Iterator[None]:
    """What is rolled back leaves no entries."""
    before = len(outer)
    try:
        yield
    except BaseException:
        del outer[before:]
        raise


def _store(entries: list[AuditEntry]) -> None:
    """A failure ends the transaction, also where somebody catches it: no change without its entry."""
    with transaction.mark_for_rollback_on_error(connection.alias):
        _store_by_chain(entries)


def _store_by_chain(entries: list[AuditEntry]) -> None:
    by_chain: dict[str, list[AuditEntry]] = {}
    for each in entries:
        by_chain.setdefault(each.session, []).append(each)
    names = sorted(by_chain, reverse=True)  # in one order for all, so that nobody waits in a circle
    # All heads before any entry: an export holds the desk's head while it waits for those who write.
    heads = {name: _take_head(name, len(by_chain[name])) for name in names}
    for name in names:
        _append(name, by_chain[name], heads[name])


def hold(name: str) -> None:
    """Keep the chain as it is until the end of the caller's transaction, for all others."""
    _take_head(name, 0)


def _append(name: str, entries: list[AuditEntry], head: Taken) -> None:
    position, last, at = _untampered(name, len(entries), head)
    for each in entries:
        each.at, each.prev = at, last
        each.hash = last = chain.entry_hash(settings.AUDIT_KEYS, fields(each))
    _write(entries, [last, chain.seal(settings.AUDIT_KEYS, name, position, last), name])


_COLUMNS = [field for field in AuditEntry._meta.concrete_fields if not field.primary_key]
_ADD = (
    f"INSERT INTO {AuditEntry._meta.db_table} ({', '.join(str(field.column) for field in _COLUMNS)}) VALUES "
)
_ROW = f"({', '.join(['%s'] * len(_COLUMNS))})"
_MOVE = f"UPDATE {AuditHead._meta.db_table} SET hash = %s, seal = %s WHERE chain = %s"
AT_ONCE = 99  # entries in one statement: SQLite may take 999 values
_BOTH = f"WITH added AS (%s), moved AS ({_MOVE.replace('%s', '%%s')}) SELECT seq FROM added"


def _write(entries: list[AuditEntry], head: list[str]) -> None:
    """Entries and head, in SQL and where it can be in one statement: each step of each call does this."""
    *first, last = (entries[at : at + AT_ONCE] for at in range(0, len(entries), AT_ONCE))
    with connection.cursor() as cursor:
        for some in first:
            _add(cursor, some)
        if connection.vendor == "postgresql":
            _add(cursor, last, _BOTH, head)
        else:
            _add(cursor, last)
            cursor.execute(_MOVE, head)


def _add(cursor: Any, entries: Sequence[AuditEntry], frame: str = "%s", more: Sequence[str] = ()) -> None:
    values = [
        field.get_db_prep_save(getattr(each, field.attname), connection)
        for each in entries
        for field in _COLUMNS
    ]
    add = f"{_ADD}{', '.join([_ROW] * len(entries))} RETURNING seq"
    cursor.execute(frame % add, [*values, *more])
    for each, seq in zip(entries, sorted(seq for (seq,) in cursor.fetchall()), strict=True):
        each.seq = seq


class Taken(NamedTuple):
    """A head as it was found, but for its position, which is that behind the entries to come."""

    position: int
    hash: str
    seal: str
    now: datetime


def _take_head(name: str, count: int) -> Taken:
    """Lock the chain's head until the commit, and move it on by so many entries."""
    table = AuditHead._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (chain, position, hash, seal) VALUES (%s, %s, '', %s) "
            f"ON CONFLICT (chain) DO UPDATE SET position = {table}.position + excluded.position "
            f"RETURNING position, hash, seal, {CLOCK[connection.vendor]}",
            [name, count, chain.seal(settings.AUDIT_KEYS, name, 0, "")],
        )
        position, last, seal, now = cursor.fetchone()
    return Taken(position, last, seal, _time(now))


def _untampered(name: str, count: int, head: Taken) -> tuple[int, str, datetime]:
    """How many entries there will be, the last hash, now; a head whose seal is broken gets an entry first."""
    before = head.position - count
    if chain.seal_is_genuine(settings.AUDIT_KEYS, name, before, head.hash, head.seal):
        return head.position, head.hash, head.now
    logger.error("The audit trail of %r was tampered with. Run `manage.py audit verify`.", name)
    last = _note_tampering(name, before, head.hash, head.seal, head.now)
    return _moved(name), last, head.now


def _note_tampering(name: str, position: int, last: str, seal: str, at: datetime) -> str:
    """An entry that keeps the evidence: the new seal would otherwise cover up what was done to the old one."""
    found = entry(BROKEN, "system", session=name, position=position, hash=last, seal=seal)
    found.at, found.prev = at, last
    found.hash = chain.entry_hash(settings.AUDIT_KEYS, fields(found))
    found.save(force_insert=True)
    return found.hash


def _moved(name: str) -> int:
    """The head's position, one further."""
    table = AuditHead._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET position = position + 1 WHERE chain = %s RETURNING position", [name]
        )
        return int(cursor.fetchone()[0])


def _time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    parsed = parse_datetime(value)
    assert parsed is not None, value
    return parsed.replace(tzinfo=UTC)


def fields(found: AuditEntry) -> dict[str, Any]:
    """An entry as it is hashed, exported and shown by the API."""
    return {
        "seq": found.seq,
        "at": chain.moment(found.at),
        "kind": found.kind,
        "actor": found.actor,
        "session": found.session,
        "call": found.call,
        "tool": found.tool,
        "digest": found.digest,
        "data": found.data,
        "prev": found.prev,
        "hash": found.hash,
    }
