"""Durations as people write them."""

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.durations import LONGEST, parse_duration
from approvals.errors import InvalidInput


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("45s", timedelta(seconds=45)),
        ("15m", timedelta(minutes=15)),
        ("8h", timedelta(hours=8)),
        ("2d", timedelta(days=2)),
        ("90", timedelta(seconds=90)),
        (90, timedelta(seconds=90)),
        (0.5, timedelta(seconds=0.5)),
        ("1.5h", timedelta(minutes=90)),
        (" 8 h ", timedelta(hours=8)),
        ("365d", LONGEST),
    ],
)
def test_it_reads(written, meant):
    assert parse_duration(written) == meant


@pytest.mark.parametrize(
    "written",
    ["", "h", "8 hours", "-5m", "0", "0s", "1e3", "nan", "inf", "366d", "9" * 400, "8h30m", "٣m\n", True, -1,
     float("nan"), float("inf"), 1e300],
    ids=lambda written: repr(written)[:20],
)  # fmt: skip
def test_it_refuses(written):
    with pytest.raises(InvalidInput):
        parse_duration(written)


@given(st.text() | st.integers() | st.floats())
def test_it_gives_a_usable_duration_or_refuses(written):
    with suppress(InvalidInput):
        assert timedelta() < parse_duration(written) <= LONGEST


@given(st.integers(1, 365), st.sampled_from("smhd"))
def test_it_reads_back_what_it_means(number, unit):
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    assert parse_duration(f"{number}{unit}").total_seconds() == number * seconds
