"""The lifecycle of a call."""

import pytest

from agents.states import ACTIVE, RunStatus
from approvals.states import FINAL, NEXT, RUNNABLE, Status


def reachable(start):
    found, new = set(), {start}
    while new:
        found |= new
        new = {after for status in new for after in NEXT.get(status, ())} - found
    return found


def test_it_knows_every_status():
    assert set(NEXT) | FINAL == set(Status)
    assert not set(NEXT) & FINAL


@pytest.mark.parametrize(
    "status", [Status.DENIED, Status.EXPIRED, Status.CANCELLED, Status.BLOCKED, Status.LAPSED]
)
def test_it_never_starts_what_was_refused(status):
    assert reachable(status) == {status}


def test_it_starts_only_what_was_allowed_or_approved():
    assert {status for status, after in NEXT.items() if Status.STARTED in after} == RUNNABLE


def test_it_approves_only_what_is_pending():
    assert {status for status, after in NEXT.items() if Status.APPROVED in after} == {Status.PENDING}


def test_it_never_goes_back():
    for status in Status:
        assert status not in {end for after in NEXT.get(status, ()) for end in reachable(after)}


def test_it_speaks_the_words_of_the_api():
    assert all(status.value == status.name.lower() for status in Status)
    assert set(ACTIVE) == set(RunStatus) - {RunStatus.DONE, RunStatus.FAILED, RunStatus.STOPPED}
