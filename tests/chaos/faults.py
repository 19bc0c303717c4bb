"""What happens at a failpoint, and what the harness does meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import time
from pathlib import Path

from tests.chaos.site import Site

FROZEN = 18.0  # seconds; longer than a lease
ACTIONS = {
    "kill": "kill",
    "kill-all": "wait",
    "freeze": "freeze",
    "redis": "wait",
    "flush": "wait",
    "database": "wait",
}
"""Each fault, and the action of the failpoint that brings it about."""


def faults(database: str) -> list[str]:
    """Those that this database knows: SQLite has no server that could crash."""
    return [name for name in ACTIONS if name != ("flush" if database == "postgresql" else "database")]


class Fault:
    """One fault at one place for one session."""

    def __init__(self, site: Site, point: str, name: str, session: str) -> None:
        self._site, self.name = site, name
        self._armed = site.points / f"{point}--{session}"
        self._lock = _lock_of(site)

    def arm(self) -> None:
        temporary = self._armed.with_suffix(".new")
        temporary.write_text(ACTIONS[self.name])
        temporary.rename(self._armed)

    @property
    def fired(self) -> bool:
        return self._armed.with_suffix(".taken").exists()

    async def happen(self) -> None:
        """Returns once the fault is over. Cancel it when the run ended without coming to the place."""
        while not self.fired:
            await asyncio.sleep(0.02)
        span = [time.monotonic(), math.inf]
        self._site.faults.append(span)
        try:
            await self._take_place()
        finally:
            span[1] = time.monotonic()

    async def _take_place(self) -> None:
        if self.name == "freeze":
            await self._thaw()
        elif ACTIONS[self.name] == "wait":
            await self._until(self._armed.with_suffix(".reached"))
            async with self._lock:  # one crash of a server at a time
                await asyncio.to_thread(self._break)
            self._armed.with_suffix(".go").touch()

    def _break(self) -> None:
        match self.name:
            case "kill-all":
                for process in (self._site.web, *self._site.workers):
                    process.kill()
            case "redis":
                self._site.valkey.kill()
            case "flush":
                _flush(self._site)
            case "database":
                assert self._site.postgres
                self._site.postgres.crash()

    async def _thaw(self) -> None:
        pid = self._armed.with_suffix(".pid")
        await self._until(pid)
        await asyncio.sleep(FROZEN)
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(pid.read_text()), signal.SIGCONT)

    @staticmethod
    async def _until(path: Path) -> None:
        while not path.exists():
            await asyncio.sleep(0.02)


def _flush(site: Site) -> None:
    import redis

    redis.Redis(unix_socket_path=str(site.socket)).flushall()


_locks: dict[int, asyncio.Lock] = {}


def _lock_of(site: Site) -> asyncio.Lock:
    return _locks.setdefault(id(site), asyncio.Lock())
