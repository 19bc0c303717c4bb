"""`python -m tests.chaos`: breaks a Nod in every known place, and counts. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from pathlib import Path

from approvals.failpoints import POINTS
from tests.chaos import report
from tests.chaos.cases import Case, Client, Outcome
from tests.chaos.faults import faults
from tests.chaos.site import Site, site

AT_ONCE = 10
RESULTS = Path(__file__).resolve().parents[2] / "var" / "chaos"


def main() -> int:
    """0 when everything held in every run, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--points", default=",".join(POINTS))
    parser.add_argument("--faults", default="")
    asked = parser.parse_args()
    failed = 0
    for database in asked.database or ("sqlite", "postgresql"):
        names = asked.faults.split(",") if asked.faults else faults(database)
        failed += _run(database, asked.points.split(","), names, range(asked.seeds))
    return 1 if failed else 0


def _run(database: str, points: list[str], names: list[str], seeds: range) -> int:
    print(f"{database}: {len(points)} places, {len(names)} faults, {len(seeds)} seeds", flush=True)
    with site(database) as nod:
        outcomes = asyncio.run(play(nod, points, names, seeds))
        audit = verify(nod)
    print(report.table(outcomes))
    print(audit)
    for one in outcomes:
        for problem in one.problems:
            print(f"  {one.point}, {one.fault}, seed {one.seed} ({one.plan}): {problem}")
    report.save(RESULTS / f"{database}.json", database, outcomes, audit)
    return sum(bool(one.problems) for one in outcomes) + ("all genuine" not in audit)


async def play(nod: Site, points: list[str], names: list[str], seeds: range) -> list[Outcome]:
    """All runs: those of one fault and one place side by side, since they do the same to the site."""
    alice, rita = Client(nod, "alice", "chat"), Client(nod, "rita", "review")
    outcomes: list[Outcome] = []
    places = asyncio.Semaphore(AT_ONCE)

    async def one(point: str, fault: str, seed: int) -> Outcome:
        async with places:
            return await Case(nod, alice, rita, point, fault, seed).play()

    for fault in names:
        for point in points:
            found = await asyncio.gather(*(one(point, fault, seed) for seed in seeds))
            outcomes += found
            bad = sum(bool(each.problems) for each in found)
            print(f"  {fault} at {point}: {len(found)} runs, {bad} bad", flush=True)
    await alice.close()
    await rita.close()
    return outcomes


def verify(nod: Site) -> str:
    """What `manage.py audit verify` says."""
    try:
        return nod.system.manage("audit", "verify").strip()
    except subprocess.CalledProcessError as error:
        return str(error.stderr).strip()


if __name__ == "__main__":
    sys.exit(main())
