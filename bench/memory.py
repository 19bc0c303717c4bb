"""Memory of all processes of `manage.py up`, idle."""

from __future__ import annotations

import psutil

from bench.stats import Row


def measure(up: psutil.Process) -> list[Row]:
    """MiB a process; PSS counts pages that processes share once."""
    rows: list[Row] = []
    for process in [up, *up.children(recursive=True)]:
        memory = process.memory_full_info()
        rows.append({"process": _name(process), "RSS MiB": _mib(memory.rss), "PSS MiB": _mib(memory.pss)})
    total: Row = {"process": "all"}
    for column in ("RSS MiB", "PSS MiB"):
        total[column] = round(sum(float(row[column]) for row in rows), 1)
    return [*rows, total]


def _name(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    for word in ("valkey-server", "daphne", " worker", " up"):
        if word in words:
            return word.strip()
    return str(process.name())


def _mib(size: int) -> float:
    return round(size / 2**20, 1)
