"""The short form of `make chaos`: a process killed around each thing that is done; a worker that stands still for
longer than its lease, Redis killed or emptied, and on PostgreSQL a crash of the database."""

from __future__ import annotations

import pytest

from tests.chaos import report
from tests.chaos.__main__ import side_by_side, verify
from tests.chaos.cases import Case, Client
from tests.chaos.site import site

pytestmark = [pytest.mark.xdist_group("chaos"), pytest.mark.timeout(300)]

FAULTS = [
    ("claimed", "kill"),
    ("paused", "kill"),
    ("deciding", "kill"),
    ("started", "kill"),
    ("acted", "kill"),
    ("recorded", "kill"),
    ("paused", "redis"),
    ("decided", "redis"),
    ("decided", "flush"),
    ("started", "freeze"),
]
CRASHES = [(point, "database") for point in ("deciding", "started", "acted")]


@pytest.mark.parametrize(("database", "faults"), [("sqlite", FAULTS), ("postgresql", CRASHES)])
async def test_nothing_is_doubled_lost_or_stuck(database: str, faults: list[tuple[str, str]]) -> None:
    with site(database) as nod:
        async with Client(nod, "alice", "chat") as alice, Client(nod, "rita", "review") as rita:
            cases = [Case(nod, alice, rita, point, fault, seed=1) for point, fault in faults]
            # A worker that stands still holds calls of the cases beside it, too: given up, and sent as it goes on.
            for frozen in (False, True):
                await side_by_side(case for case in cases if (case.outcome.fault == "freeze") == frozen)
        for case in cases:
            case.judge_again()
        outcomes = [case.outcome for case in cases]
        assert [one for one in outcomes if one.problems] == [], report.table(outcomes)
        # one that was overtaken by the faults beside it is excused, most are not
        assert sum(one.fired for one in outcomes) >= len(faults) / 2, report.table(outcomes)
        assert "all genuine" in verify(nod)
