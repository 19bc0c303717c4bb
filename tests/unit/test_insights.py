"""The figures, as pure functions: against the plainest way to count the same."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals import charts
from approvals.charts import Part
from approvals.figures import Asked, Fate, Judged, by_reviewer, percentile, tallies, waiting_over_time
from approvals.insights_views import lasted, percent

TIMES = st.integers(0, 5000)


def _group(tool, agent, fate, edited, pairs):
    asked = [asked for asked, _ in pairs]
    return Asked(
        tool, agent, fate, edited, 0, asked, [None if fate == Fate.WAITING else sum(pair) for pair in pairs]
    )


CALLS = st.lists(
    st.builds(
        _group,
        st.sampled_from("abc"),
        st.sampled_from(["", "assistant"]),
        st.sampled_from([fate.value for fate in Fate]),
        st.integers(0, 1),
        st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=5),
    ),
    max_size=30,
)
JUDGED = st.lists(
    st.builds(
        Judged,
        st.sampled_from(["rita", "remy"]),
        st.sampled_from(["approve", "deny", "trust"]),
        st.integers(0, 1),
        st.lists(TIMES, min_size=1, max_size=5),
    ),
    max_size=30,
)


@given(st.lists(TIMES, min_size=1), st.sampled_from([50, 90]))
def test_a_percentile_is_the_shortest_time_in_which_so_many_were_decided(times, percent):
    found = percentile(sorted(times), percent)
    enough = [time for time in times if sum(other <= time for other in times) * 100 >= percent * len(times)]
    assert found == min(enough)


def test_there_is_no_percentile_of_nothing():
    assert percentile([], 50) is None


def _number(groups):
    return sum(len(group.asked) for group in groups)


@given(CALLS)
def test_tallies_count_each_call_once(groups):
    every, tools, agents = tallies(groups)
    assert every.asked == sum(tool.asked for tool in tools) == _number(groups)
    assert every.asked == sum(agent.asked for agent in agents)
    for tally, mine in [
        (every, groups),
        *((tool, [group for group in groups if group.tool == tool.name]) for tool in tools),
        *((agent, [group for group in groups if group.agent == agent.name]) for agent in agents),
    ]:
        for fate in Fate:
            assert tally.fates[fate] == _number(group for group in mine if group.fate == fate)
        decided = [group for group in mine if group.fate in ("approved", "denied")]
        took = [left - asked for each in decided for asked, left in zip(each.asked, each.left, strict=True)]
        assert tally.times == sorted(took)
        assert tally.edited == _number(group for group in mine if group.fate == "approved" and group.edited)


@given(JUDGED)
def test_reviewers_are_counted_by_name(groups):
    for tally in by_reviewer(groups):
        mine = [(group, took) for group in groups if group.by == tally.name for took in group.took]
        approvals = [(group, took) for group, took in mine if group.choice != "deny"]
        assert (tally.approved, tally.denied) == (len(approvals), len(mine) - len(approvals))
        assert tally.fast == sum(took < 2000 for _, took in approvals)
        assert tally.edited == sum(group.edited for group, _ in approvals)
        assert tally.times == sorted(took for _, took in mine)


@given(st.lists(st.tuples(TIMES, st.one_of(st.none(), TIMES)), max_size=40), st.integers(0, 2000))
def test_what_waited_is_told_backwards_from_now(pairs, start):
    calls = [(asked, None if took is None else asked + took) for asked, took in pairs]
    step, count = 500, 6
    end = start + step * count
    calls = [(asked, left) for asked, left in calls if asked < end and (left is None or left < end)]
    waiting = sum(left is None for _, left in calls)
    asked, left = [asked for asked, _ in calls], [left for _, left in calls]
    told = waiting_over_time(asked, left, waiting, start, step, count)
    for place, (came, waits) in enumerate(told):
        until = start + step * (place + 1)
        assert came == sum(until - step <= asked < until for asked, _ in calls)
        assert waits == sum(asked < until and (left is None or left >= until) for asked, left in calls)


@pytest.mark.parametrize(
    ("ms", "said"),
    [(None, "–"), (0, "0.0 s"), (1449, "1.4 s"), (42_900, "42 s"), (90_000, "1.5 min"), (7_200_000, "2.0 h"),
     (129_600_000, "1.5 days")],
)  # fmt: skip
def test_it_says_how_long_it_took(ms, said):
    assert lasted(ms) == said


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(0, 0, "–"), (0, 7, "0%"), (7, 7, "100%"), (1, 3, "33%"), (1, 1000, "1%"), (999, 1000, "99%")],
)
def test_it_says_a_share(part, whole, said):
    assert percent(part, whole) == said


# --- Drawings ---------------------------------------------------------------------------------------------
@given(st.integers(0, 400 * charts.DAY), st.integers(0, 400 * charts.DAY))
def test_a_longer_time_stands_further_to_the_right(one, other):
    longest = max(one, other)
    places = [charts.place(ms, longest) for ms in sorted((one, other))]
    assert 0 < places[0] <= places[1] < 1 and all(map(math.isfinite, places))


def test_drawings_escape_names():
    drawn = charts.stack([Part("approved", 1)], "<script>") + charts.times(1, 2, 3, '"><script>')
    assert "<script>" not in drawn and drawn.count("&lt;script&gt;") == 2


@given(st.lists(st.integers(0, 1000), max_size=90))
def test_drawings_over_time_hold_each_value(values):
    assert charts.columns(values, "").count("<rect") == sum(value > 0 for value in values)
    assert charts.area(values, "").count("L") == 2 * len(values) + 1


def test_a_stack_leaves_out_what_is_nothing():
    drawn = charts.stack([Part("approved", 0.25), Part("denied", 0), Part("expired", 0.75)], "so")
    assert 'x="25%" y="0" width="75%"' in drawn and "denied" not in drawn


@given(st.integers(0, 400 * charts.DAY))
def test_a_ruler_fits_a_phone(longest):
    assert 2 <= charts.ruler(longest).count("<text") <= 6
