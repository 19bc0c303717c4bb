"""Which processes outlive what should have ended them."""

from __future__ import annotations

from collections.abc import Iterable

import psutil


def still_running(processes: Iterable[psutil.Process], within: float = 2) -> list[psutil.Process]:
    """Those that have not ended after so many seconds.

    A process whose parent has died goes to the system's first process, which takes its time to collect it: until
    then it has ended, but is there.
    """
    return [process for process in psutil.wait_procs(list(processes), timeout=within)[1] if _runs(process)]


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
