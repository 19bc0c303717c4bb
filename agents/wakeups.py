"""Wakes workers from a thread of its own: no request waits for the broker, not even for one that hangs.

A wake-up may be lost. The run is in the database, and the sweeper finds it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Iterator
from contextvars import ContextVar

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

    def wake(self, task: str, thing: str) -> None:
        with contextlib.suppress(queue.Full):
            self._ids.put_nowait((task, thing))

    def _work(self) -> None:
        while True:
            task, thing = self._ids.get()
            try:
                current_app.send_task(f"agents.tasks.{task}", (thing,), ignore_result=True)
                self._broken = False
            except Exception as error:  # whatever the broker's client raises; the thread must live on
                if not self._broken:
                    logger.warning("The broker does not answer (%s); runs start when it is back.", error)
                self._broken = True


_lock = threading.Lock()
_current: Waker | None = None


def wake(run_id: str) -> None:
    """Wake a worker for a run, unless this process takes it itself."""
    if not _kept.get():
        _send("advance", run_id)


def ask(call_id: str) -> None:
    """Wake a worker for a call that the operator's hook is to be given."""
    _send("ask", call_id)


def try_model(trial_id: str) -> None:
    """Wake a worker that asks a model the question of an administrator's trial."""
    _send("try_model", trial_id)


_kept: ContextVar[bool] = ContextVar("kept", default=False)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Runs that become due in this block wake nobody: whoever opened it takes them. The sweeper knows them all."""
    token = _kept.set(True)
    try:
        yield
    finally:
        _kept.reset(token)


def _send(task: str, thing: str) -> None:
    """Hand one id on and return; a forked child gets a thread of its own."""
    global _current
    with _lock:
        if _current is None or _current.pid != os.getpid():
            _current = Waker()
    _current.wake(task, thing)
