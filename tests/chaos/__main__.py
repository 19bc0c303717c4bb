"""`python -m tests.chaos`: breaks a Nod in every known place, and counts. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from approvals.failpoints import POINTS
from tests.chaos import report
from tests.chaos.cases import Case, Client, Outcome
from tests.chaos.faults import faults
from tests.chaos.site import Site, site
from tests.postgres import end_on_signals

AT_ONCE = 20
# Each stops the one web server, or a worker, for 18 s: the others wait. Some worker is awake as a rule.
FROZEN_AT_ONCE, AWAKE = 4, 6
RESULTS = Path(__file__).resolve().parents[2] / "var" / "chaos"


def main() -> int:
    """0 when everything held in every run, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--points", default=",".join(POINTS))
    parser.add_argument("--faults", default="")
    asked = parser.parse_args()
    end_on_signals()
    failed = 0
    for database in asked.database or ("sqlite", "postgresql"):
        names = asked.faults.split(",") if asked.faults else faults(database)
        failed += _run(database, asked.points.split(","), names, range(asked.seeds))
    return 1 if failed else 0


def _run(database: str, points: list[str], names: list[str], seeds: range) -> int:
    print(f"{database}: {len(points)} places, {len(names)} faults, {len(seeds)} seeds", flush=True)
    outcomes, audits = [], []
    for fault in names:
        with site(database, AWAKE) if fault == "freeze" else site(database) as nod:
            outcomes += asyncio.run(play(nod, points, fault, seeds))
            audits.append(verify(nod))
    audit = "\n".join(audits)
    print(report.table(outcomes))
    print(audit)
    complain(outcomes)
    report.save(RESULTS / f"{database}.json", database, outcomes, audit)
    return sum(bool(one.problems) for one in outcomes) + sum("all genuine" not in one for one in audits)


async def play(nod: Site, points: Sequence[str], fault: str, seeds: Iterable[int]) -> list[Outcome]:
    """All runs of one fault: those of one place side by side, since they do the same to the site."""
    cases: list[Case] = []
    async with Client(nod, "alice", "chat") as alice, Client(nod, "rita", "review") as rita:
        for point in points:
            these = [Case(nod, alice, rita, point, fault, seed) for seed in seeds]
            await side_by_side(these, FROZEN_AT_ONCE if fault == "freeze" else AT_ONCE)
            if not any(case.outcome.fired for case in these):
                these[0].outcome.problems.append("no fault: not one of these runs came to the place")
            bad = sum(bool(case.outcome.problems) for case in these)
            print(f"  {fault} at {point}: {len(these)} runs, {bad} bad", flush=True)
            complain(case.outcome for case in these)
            cases += these
    for case in cases:
        case.judge_again()
    return [case.outcome for case in cases]


def complain(outcomes: Iterable[Outcome]) -> None:
    for one in outcomes:
        for problem in one.problems:
            print(f"  {one.point}, {one.fault}, seed {one.seed} ({one.plan}): {problem}", flush=True)


async def side_by_side(cases: Iterable[Case], at_once: int = AT_ONCE) -> None:
    """Plays them, so many at a time."""
    places = asyncio.Semaphore(at_once)

    async def one(case: Case) -> None:
        async with places:
            await case.play()

    await asyncio.gather(*(one(case) for case in cases))


def verify(nod: Site) -> str:
    """What `manage.py audit verify` says."""
    try:
        return nod.system.manage("audit", "verify").strip()
    except subprocess.CalledProcessError as error:
        return str(error.stderr).strip()


if __name__ == "__main__":
    sys.exit(main())
