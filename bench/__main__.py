"""Runs every measurement and prints tables; the same as JSON under var/bench/."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from bench import browser, latency, memory, throughput
from bench.stats import table
from bench.system import systems

OUT = Path(__file__).resolve().parent.parent / "var" / "bench"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--rounds", type=int, default=60, help="how often a latency is taken")
    parser.add_argument("--cycles", type=int, default=160, help="cycles of the throughput run")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--browser-rounds", type=int, default=30)
    parser.add_argument("--no-browser", action="store_true")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    if not options.no_browser:
        results["browser_ms"] = browser.measure(options.browser_rounds)
        print(table("sqlite, Chromium: how long people wait, ms", results["browser_ms"]))
    results |= {kind: _one(kind, options) for kind in options.database or ["sqlite", "postgresql"]}
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{time.strftime('%Y-%m-%dT%H%M%S')}.json"
    path.write_text(json.dumps(results, indent=1))
    print(f"Written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


def _one(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    with systems(kind) as system, system.up() as up:
        idle = memory.measure(up)
        waits = latency.measure(system, options.rounds)
        rate = throughput.measure(system, options.cycles)
    print(table(f"{kind}: how long people wait, ms", waits))
    print(table(f"{kind}: whole cycles, {throughput.PEOPLE} people at once", [rate]))
    print(table(f"{kind}: memory, idle", idle))
    return {"latency_ms": waits, "throughput": rate, "memory": idle}


if __name__ == "__main__":
    main()
