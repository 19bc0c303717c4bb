"""How durable a commit has to be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def unsynced() -> Iterator[None]:
    """The next transaction may be lost in a power cut, in return for not waiting for the disk.

    For what can be done once more: a claim on a run carries a key of its own, so that one which was lost is worth
    nothing. Never for what a person decided or an effect that was started. All or nothing it is all the same, and
    later commits carry it to the disk.
    """
    if connection.in_atomic_block:
        yield
        return
    loosen, tighten = _statements()
    _execute(loosen)
    try:
        yield
    finally:
        _execute(tighten)


def _statements() -> tuple[str, str]:
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            [level] = cursor.execute("PRAGMA synchronous").fetchone()
        return f"PRAGMA synchronous={min(level, 1)}", f"PRAGMA synchronous={level}"
    return "SET synchronous_commit TO OFF", "RESET synchronous_commit"


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
