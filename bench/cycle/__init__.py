"""The durable cycle in one process on PostgreSQL: Nod beside the plainest Django loop, in the same run.

Rounds alternate, so that what else the machine does falls on both. Medians of the rounds' medians.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench.stats import Row
from tests.postgres import server

ROOT = Path(__file__).resolve().parents[2]
PEERS = ("plain", "nod")


def measure(rounds: int = 5, count: int = 60, grown: int = 10) -> list[Row]:
    """A row for each contestant; the ratios are to the plain loop."""
    with server() as url, tempfile.TemporaryDirectory(prefix="nod-bench-") as folder:
        play = [{peer: _run(url, folder, peer, "cycle", count) for peer in PEERS} for _ in range(rounds)]
        grow = {peer: _run(url, folder, peer, "growth", grown) for peer in PEERS}
    floor = _median(play, "plain")
    return [_row(peer, play, grow[peer], floor) for peer in PEERS]


def _row(peer: str, play: list[dict[str, Any]], grow: dict[str, Any], floor: float) -> Row:
    took = _median(play, peer)
    ratios = [median(one[peer]["ms"]) / median(one["plain"]["ms"]) for one in play]
    at = {length: median(each["ms"]) for length, each in grow.items()}
    return {
        "": peer,
        "ms": round(took, 1),
        "x plain": round(took / floor, 2),
        "lowest": round(min(ratios), 2),
        "highest": round(max(ratios), 2),
        "cpu ms": round(median(one[peer]["cpu_ms"] for one in play), 1),
        "syncs": round(median(one[peer]["syncs"] for one in play), 1),
        "kB written": round(median(one[peer]["bytes"] for one in play) / 1000, 1),
        "at 10": round(at["10"], 1),
        "at 100": round(at["100"], 1),
        "at 1,000": round(at["1000"], 1),
        "kB at 10": round(grow["10"]["bytes"] / 1000, 1),
        "kB at 1,000": round(grow["1000"]["bytes"] / 1000, 1),
        "stored kB at 1,000": round(grow["1000"]["stored"] / 1000, 1),
    }


def _median(play: list[dict[str, Any]], peer: str) -> float:
    return float(median(median(one[peer]["ms"]) for one in play))


def _run(url: str, folder: str, peer: str, mode: str, count: int) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "bench.cycle.worker",
        peer,
        mode,
        "--workdir",
        folder,
        "--count",
        str(count),
    ]
    env = {**os.environ, "DATABASE_URL": url, "PYTHONPATH": str(ROOT), "OTEL_SDK_DISABLED": "true"}
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if line.startswith("JSON ")]
    if done.returncode or not found:
        raise RuntimeError(f"{peer} {mode} did not work:\n{done.stdout[-800:]}{done.stderr[-3000:]}")
    return dict(json.loads(found[-1][5:]))
