"""How durable a commit has to be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def unsynced() -> Iterator[None]:
    """A transaction that may be lost in a power cut, in return for not waiting for the disk.

    For what can be done once more: a claim on a run carries a key of its own, so that one which was lost is worth
    nothing. Never for what a person decided or an effect that was started. All or nothing it is all the same, and
    later commits carry it to the disk.
    """
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        level = _ask("PRAGMA synchronous")  # SQLite takes it before a transaction only
        _tell(f"PRAGMA synchronous={min(level, 1)}")
        try:
            with transaction.atomic():
                yield
        finally:
            _tell(f"PRAGMA synchronous={level}")
        return
    with transaction.atomic():
        if connection.vendor == "postgresql":
            _tell("SET LOCAL synchronous_commit TO OFF")
        yield


def _tell(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _ask(statement: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return int(cursor.fetchone()[0])
