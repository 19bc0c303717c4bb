"""Time-ordered ids."""

import time
import uuid

from approvals.ids import uuid7


def test_it_is_a_version_7_uuid_of_now():
    before = time.time_ns() // 1_000_000
    made = uuid7()
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_it_sorts_by_time(monkeypatch):
    moments = [1_700_000_000_000_000_000 + step for step in (0, 300, 999_700, 1_000_000, 5_000_000_000)]
    made = []
    for moment in moments:
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: moment)
        made.append(uuid7())
    assert made == sorted(made)
    assert [str(each) for each in made] == sorted(map(str, made))


def test_it_never_makes_one_twice(monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
    assert len({uuid7() for _ in range(10_000)}) == 10_000
