"""Finds what is due, in a thread of each worker. Redis, the broker and any message may be lost: the rows are there.

A thread rather than a Celery task: a task would wait behind eight long runs, and for a broker that is away. Many
copies do no harm, since each duty is one query on an index and each change a compare-and-set by the database's clock.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable

import redis
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connections

from agents import asking
from agents.actions import runs
from approvals.actions import announcing, attention, calls, leases, sending, trail

logger = logging.getLogger("nod.sweeper")

DUTIES: tuple[Callable[[], int], ...] = (
    runs.sweep,
    calls.expire_due,
    leases.sweep,
    attention.escalate_due,
    runs.sweep_ends,
    trail.checkpoint_if_due,
    announcing.note_due,
    asking.sweep,
)
# They wait for mail servers and push services, so they have a thread of their own.
SLOW: tuple[Callable[[], int], ...] = (sending.send_due,)

SWEPT = "nod:swept"
"""Where Redis has when a sweep last ended, in seconds since 1970. For /metrics; nothing depends on it."""


class Sweeper:
    """Sweeps until it is stopped. An outage of the database costs one log line."""

    def __init__(self, *, slow: bool = False) -> None:
        self._slow = slow
        self._stop = threading.Event()
        self._broken: set[str] = set()  # the duties that failed last time
        name = "nod-messages" if slow else "nod-sweeper"
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns once a sweep that is under way has ended."""
        self._stop.set()
        self._thread.join(5)

    def _work(self) -> None:
        # Spread out, so that the workers of a site do not all ask at once.
        every = settings.SWEEP_EVERY.total_seconds()
        while not self._stop.wait(random.uniform(0.5, 1.0) * every):
            self.sweep()
            if not self._slow:
                _note_swept()

    def sweep(self) -> None:
        """All duties once. Whatever fails, the others are done, and it goes on."""
        for duty in SLOW if self._slow else DUTIES:
            if self._stop.is_set():
                return
            try:
                duty()
                self._broken.discard(duty.__qualname__)
            except DatabaseError as error:
                if not self._broken:
                    logger.warning("The database does not answer (%s); the sweeper tries on.", _line(error))
                self._broken.add(duty.__qualname__)
                connections.close_all()
            except Exception:
                logger.exception("A sweep failed; the next one tries again.")
        connections.close_all()  # between two sweeps it holds none


def _note_swept() -> None:
    line = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)
    with contextlib.suppress(redis.RedisError, OSError), line as client:
        client.set(SWEPT, int(time.time()))


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
