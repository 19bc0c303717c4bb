"""Places at which the chaos harness (tests/chaos) lets a process die, freeze or wait.

Off unless FAILPOINTS names a folder, which the settings refuse with DEBUG off. A file POINT--KEY in that folder arms
a point, once, for one session; its text is the action:

    kill    the process is gone (SIGKILL)
    freeze  it stands still until somebody sends SIGCONT
    wait    it says so in POINT--KEY.reached and goes on once there is a POINT--KEY.go
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from django.conf import settings

POINTS = (
    "posted",
    "claimed",
    "pausing",
    "paused",
    "deciding",
    "decided",
    "starting",
    "started",
    "acted",
    "recorded",
    "finishing",
)
LONGEST = 120.0  # seconds that a point waits for its .go


def reach(point: str, key: str) -> None:
    """Does what the point is armed with for this session, if it is."""
    if settings.FAILPOINTS is None:
        return
    armed: Path = settings.FAILPOINTS / f"{point}--{key}"
    taken = armed.with_suffix(".taken")
    try:
        armed.rename(taken)  # one process takes it
    except FileNotFoundError:
        return
    _act(taken.read_text().strip(), armed)


def _act(action: str, armed: Path) -> None:
    if action in ("kill", "freeze"):
        armed.with_suffix(".pid").write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)
        return
    armed.with_suffix(".reached").touch()
    deadline = time.monotonic() + LONGEST
    with contextlib.suppress(OSError):
        while not armed.with_suffix(".go").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
