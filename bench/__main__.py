"""Runs every measurement and prints tables; the same as JSON under var/bench/."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from bench import (
    audit_cost,
    browser,
    cycle,
    desk,
    insights,
    latency,
    memory,
    paused,
    policies,
    race,
    saturated,
    throughput,
)
from bench.stats import Row, table
from bench.system import systems
from tests.postgres import end_on_signals

PARTS = ("browser", "desk", "system", "cycle", "race", "audit", "policies", "insights", "paused")
RACE = {"sqlite": 400, "postgresql": 1500}  # calls
OUT = Path(__file__).resolve().parent.parent / "var" / "bench"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--rounds", type=int, default=60, help="how often a latency is taken")
    parser.add_argument("--cycles", type=int, default=160, help="cycles of the throughput run")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--browser-rounds", type=int, default=30)
    parser.add_argument("--paused", type=int, default=10_000, help="runs that wait at once")
    parser.add_argument("--waiting", type=int, default=10_000, help="calls on the desk that wait at once")
    parser.add_argument("--only", action="append", choices=PARTS, help="leave the other parts out")
    options = parser.parse_args()
    end_on_signals()
    databases = options.database or ["sqlite", "postgresql"]
    results: dict[str, Any] = {}
    for part in options.only or PARTS:
        results[part] = _part(part, databases, options)
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{time.strftime('%Y-%m-%dT%H%M%S')}.json"
    path.write_text(json.dumps(results, indent=1))
    print(f"Written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


def _part(part: str, databases: list[str], options: argparse.Namespace) -> Any:
    if part == "system":
        return {kind: _system(kind, options) for kind in databases}
    if part == "race":
        return _print("eight reviewers decide the same calls", [_race(kind) for kind in databases])
    if part == "audit":
        return {kind: _print(f"{kind}: a decision's audit", audit_cost.measure(kind)) for kind in databases}
    if part == "policies":
        return {kind: _policies(kind) for kind in databases}
    if part == "insights":
        return {kind: _print(f"{kind}: the page of figures", insights.measure(kind)) for kind in databases}
    if part == "browser":
        title = "sqlite, Chromium: how long people wait, ms"
        return _print(title, browser.measure(options.browser_rounds))
    if part == "desk":
        return _desk(options.waiting)
    if part == "cycle":
        return _print("postgresql: the durable cycle in one process", cycle.measure())
    return _print("postgresql: paused runs", paused.measure(options.paused))


def _print(title: str, rows: list[Row]) -> list[Row]:
    print(table(title, rows), flush=True)
    return rows


def _desk(waiting: int) -> dict[str, Any]:
    found = desk.measure(waiting)
    _print("sqlite, Chromium: the queue page, and the first decision", found["page"])
    _print("sqlite, Chromium: what an open queue page moves when one call comes", found["update"])
    _print("sqlite, Chromium: 30 decisions by keyboard", found["keyboard"])
    return found


def _policies(kind: str) -> dict[str, Any]:
    verdicts, dry_run = policies.measure(kind)
    _print(f"{kind}: a verdict", verdicts)
    _print(f"{kind}: a dry run", dry_run)
    return {"verdicts": verdicts, "dry_run": dry_run}


def _race(kind: str) -> Row:
    return {"database": kind, **race.measure(kind, RACE[kind])}


def _system(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    with systems(kind) as system, system.up() as up:
        idle = memory.measure(up)
        waits = latency.measure(system, options.rounds)
        rate = throughput.measure(system, options.cycles)
        most = saturated.measure(system, options.cycles)
    _print(f"{kind}: how long people wait, ms", waits)
    _print(f"{kind}: whole cycles, {throughput.PEOPLE} people at once", [rate])
    _print(f"{kind}: approvals, {saturated.REVIEWERS} reviewers at once; ms of a POST", [most])
    _print(f"{kind}: memory, idle", idle)
    return {"latency_ms": waits, "throughput": rate, "saturated": most, "memory": idle}


if __name__ == "__main__":
    main()
