"""The short form of `make chaos`: each place once with a process killed, and Redis killed or emptied in between."""

from __future__ import annotations

import pytest

from approvals.failpoints import POINTS
from tests.chaos import report
from tests.chaos.__main__ import side_by_side, verify
from tests.chaos.cases import Case, Client
from tests.chaos.site import site

pytestmark = [pytest.mark.xdist_group("chaos"), pytest.mark.timeout(300)]

FAULTS = [(point, "kill") for point in POINTS] + [
    ("paused", "redis"),
    ("decided", "redis"),
    ("decided", "flush"),
]


async def test_nothing_is_doubled_lost_or_stuck() -> None:
    with site("sqlite") as nod:
        async with Client(nod, "alice", "chat") as alice, Client(nod, "rita", "review") as rita:
            cases = [Case(nod, alice, rita, point, fault, seed=1) for point, fault in FAULTS]
            await side_by_side(cases)
        for case in cases:
            case.judge_again()
        outcomes = [case.outcome for case in cases]
        assert [one for one in outcomes if one.problems] == [], report.table(outcomes)
        assert "all genuine" in verify(nod)
