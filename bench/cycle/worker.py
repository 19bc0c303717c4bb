"""Runs one contestant in a process of its own and prints one line of JSON.

    python -m bench.cycle.worker plain|nod cycle|growth --workdir FOLDER

A contestant is a module with a class `Peer`:

    Peer(workdir)                 opens its store, DATABASE_URL
    chat(sid, prompt)             one turn of text, stored
    pause(sid) -> ticket          says "send"; returns once the run is paused and that is durable
    resume(sid, ticket) -> text   builds the agent anew, approves, runs the tool, stores and returns the answer
    state_bytes(sid) -> int       bytes of JSON that are stored for the session
    close()
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from bench import script


def cycle(peer: Any, sid: str) -> float:
    """Milliseconds of one whole cycle; asserts that the tool ran once, and not before the approval."""
    before = len(script.SENT)
    paused, ticket = _timed(lambda: peer.pause(sid))
    assert len(script.SENT) == before, "the protected tool ran before the approval"
    resumed, text = _timed(lambda: peer.resume(sid, ticket))
    assert len(script.SENT) == before + 1, "the tool did not run exactly once"
    assert script.SENT[-1] == tuple(script.EMAIL.values()), "it ran with other arguments"
    assert text.startswith("Done:"), text
    return paused + resumed


def cycles(peer: Any, count: int, log: Log) -> dict[str, Any]:
    for number in range(5):
        cycle(peer, f"warm-{os.getpid()}-{number}")
    gc.collect()
    log.start()
    processor = time.process_time()
    took = [cycle(peer, f"one-{os.getpid()}-{number}") for number in range(count)]
    processor = (time.process_time() - processor) * 1000 / count
    return {"ms": took, "cpu_ms": processor, **log.a_cycle(count)}


def growth(peer: Any, count: int, log: Log) -> dict[str, Any]:
    """The same at 10, 100 and 1,000 messages of one session."""
    found = {}
    for length in (10, 100, 1000):
        sid = f"long-{os.getpid()}-{length}"
        for _ in range(length // 2):
            peer.chat(sid, script.CHAT)
        stored = peer.state_bytes(sid)
        log.start()
        took = [cycle(peer, sid) for _ in range(count)]
        found[str(length)] = {"ms": took, "stored": stored, **log.a_cycle(count)}
    return found


class Log:
    """The write-ahead log's bytes and syncs, as PostgreSQL counts them."""

    def start(self) -> None:
        self._bytes, self._syncs = _written(), _syncs()

    def a_cycle(self, count: int) -> dict[str, float]:
        return {"bytes": (_written() - self._bytes) / count, "syncs": (_syncs() - self._syncs) / count}


def _written() -> int:
    return _ask("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")


def _syncs() -> int:
    _ask("SELECT 1 FROM (SELECT pg_stat_force_next_flush()) AS flushed")
    # of those that serve clients: the writer in the background syncs by itself, and nobody waits for it
    return _ask(
        "SELECT sum(fsyncs)::bigint FROM pg_stat_io "
        "WHERE object = 'wal' AND context = 'normal' AND backend_type = 'client backend'"
    )


def _ask(query: str) -> int:
    from django.db import connection  # it is configured by now

    with connection.cursor() as cursor:
        cursor.execute(query)
        return int(cursor.fetchone()[0])


def _timed(step: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    value = step()
    return (time.perf_counter() - started) * 1000, value


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=["plain", "nod"])
    parser.add_argument("mode", choices=["cycle", "growth"])
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--count", type=int, default=60)
    options = parser.parse_args()
    peer = import_module(f"bench.cycle.{options.peer}").Peer(options.workdir)
    run = cycles if options.mode == "cycle" else growth
    print("JSON " + json.dumps(run(peer, options.count, Log())))
    peer.close()


if __name__ == "__main__":
    main()
