"""Wakes workers from a thread of its own: no request waits for the broker, not even for one that hangs.

A wake-up may be lost. The run is in the database, and the sweeper finds it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading

from celery import current_app

logger = logging.getLogger("nod.wakeups")

MOST = 10_000  # ids that wait for a broker that does not answer; the sweeper knows the others


class Waker:
    """Sends ids to Celery, in order. An outage costs one log line."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._broken = False
        self._ids: queue.Queue[tuple[str, str]] = queue.Queue(MOST)
        threading.Thread(target=self._work, name="nod-wakeups", daemon=True).start()

    def send(self, some_id: str, task: str) -> None:
        with contextlib.suppress(queue.Full):
            self._ids.put_nowait((some_id, task))

    def _work(self) -> None:
        while True:
            some_id, task = self._ids.get()
            try:
                current_app.send_task(task, (some_id,), ignore_result=True)
                self._broken = False
            except Exception as error:  # whatever the broker's client raises; the thread must live on
                if not self._broken:
                    logger.warning("The broker does not answer (%s); runs start when it is back.", error)
                self._broken = True


_lock = threading.Lock()
_current: Waker | None = None


def wake(run_id: str) -> None:
    """Have a worker take a run."""
    send(run_id, "agents.tasks.advance")


def send(some_id: str, task: str) -> None:
    """Hand one id on and return; a forked child gets a thread of its own."""
    global _current
    with _lock:
        if _current is None or _current.pid != os.getpid():
            _current = Waker()
    _current.send(some_id, task)
