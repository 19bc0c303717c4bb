"""What came of all runs, as a table and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from tests.chaos.cases import Outcome

KINDS = ("doubled", "without approval", "lost", "stuck", "no fault")


def table(outcomes: Iterable[Outcome]) -> str:
    """One line for each fault: how often it fired, what was unknown, what went wrong, how long it took."""
    by_fault: dict[str, list[Outcome]] = {}
    for one in outcomes:
        by_fault.setdefault(one.fault, []).append(one)
    lines = [
        f"{'fault':10} {'runs':>5} {'fired':>5} {'mails':>5} {'set aside':>9} {'too late':>8} {'unknown':>7}  "
        f"{'p50 s':>6} {'max s':>6}  problems"
    ]
    lines += [_line(fault, found) for fault, found in by_fault.items()]
    lines.append(_line("all", [one for found in by_fault.values() for one in found]))
    return "\n".join(lines)


def _line(fault: str, found: list[Outcome]) -> str:
    fired = [one for one in found if one.fired]
    times = sorted(one.stood for one in fired) or [0.0]
    unknown = Counter(outcome for one in found for outcome in one.unknown)
    problems = Counter(_kind(problem) for one in found for problem in one.problems)
    ended = ", ".join(f"{count} {outcome}" for outcome, count in unknown.items())
    wrong = ", ".join(f"{count} {kind}" for kind, count in problems.items()) or "none"
    return (
        f"{fault:10} {len(found):5} {len(fired):5} {sum(one.mails for one in found):5} "
        f"{sum(one.set_aside for one in found):9} {sum(one.too_late for one in found):8} {sum(unknown.values()):7}  "
        f"{times[len(times) // 2]:6.1f} {times[-1]:6.1f}  {wrong}" + (f"   ({ended})" if ended else "")
    )


def _kind(problem: str) -> str:
    return next((kind for kind in KINDS if problem.startswith(kind)), "other")


def save(path: Path, database: str, outcomes: list[Outcome], audit: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    runs = [asdict(one) for one in outcomes]
    path.write_text(json.dumps({"database": database, "audit": audit, "runs": runs}, indent=1) + "\n")
