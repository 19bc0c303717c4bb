"""Conditions in CEL: what they may speak of, what they answer, and that no answer is never a yes."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.conditions import BadCondition, ConditionFailed, Context, arguments_in, check, holds

CALL = {
    "args": {"amount": 1500, "to": "Dev@Example.com", "paths": ["a/b", "a/c"], "note": None},
    "tool": "pay",
    "agent": "assistant",
    "session": "s1",
    "user": {"name": "alice", "groups": ["chat users"]},
    "now": datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
}


def answer(text, **changes):
    return holds(text, Context(CALL | changes))


@pytest.mark.parametrize(
    "text",
    [
        "args.amount > 1000",
        "args.amount >= 1500.0",
        'args.to.lowerAscii().endsWith("@example.com")',
        'args.paths.all(path, path.startsWith("a/"))',
        "args.note == null",
        "has(args.amount) && !has(args.currency)",
        'tool == "pay" && agent in ["assistant", "clerk"]',
        'session == "s1" && user.name == "alice" && "chat users" in user.groups',
        "now.getHours() < 17 && now.getDayOfWeek() in [0, 6]",
        'now > timestamp("2026-01-01T00:00:00Z")',
        'args.to.matches("^[^@]+@Example\\\\.com$")',
        "size(args.paths) == 2",
    ],
)
def test_it_is_met(text):
    check(text)
    assert answer(text) is True
    assert answer(f"!({text})") is False


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("args.cost > 1000", "there is no cost"),
        ("args.to > 1000", "no such overload"),
        ("args.amount", "it gives int, not true or false"),
        ("amount > 1000", "undefined variable"),
        ("args.paths[7] == 'x'", "index out of bounds"),
        ("args.amount / 0 > 1", "division by zero"),
        ("args.amount >", "it is no CEL"),
        ("lowerAscii(args.amount) == 'x'", "lowerAscii"),
    ],
)
def test_it_has_no_answer(text, why):
    with pytest.raises(ConditionFailed, match=why) as failed:
        answer(text)
    assert len(str(failed.value)) <= 200


def test_it_has_no_answer_without_the_time():
    with pytest.raises(ConditionFailed):
        holds("now.getHours() < 24", Context({"args": {}}))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("amount > 1000", "It speaks of “amount”. It may speak of args, tool,"),
        ("to == x", "“to” and “x”"),
        ("args.amount >", "character 14"),
        ("args.amount > 1 &&\n&& true", "line 2, character 1"),
        ("args.to.frob()", "There is no function “frob”. There are: all,"),
        ("args.to.endswith('x')", "There is no function “endswith”. Did you mean endsWith?"),
        ('args.to = "x"', "To compare, write =="),
        ("args.to == “x”", "Texts stand in straight quotes"),
        ("args.a or args.b", "For “or”, write ||"),
        ('args.to.matches("(")', "no pattern"),
        ("1 + 1", "neither true nor false"),
        ("args.paths.exists(path, pth == 'a')", "“pth”"),
        ("", "cannot be read"),
        ("(" * 500 + "true" + ")" * 500, "cannot be read"),
        ("true || " * 300 + "true", "longer than 2000 characters"),
    ],
)
def test_it_says_what_is_wrong_with_a_condition(text, why):
    with pytest.raises(BadCondition) as bad:
        check(text)
    assert why in str(bad.value)


def test_it_knows_which_arguments_a_condition_names():
    assert arguments_in("args.amount > 1 && has(args.to) || args['x'] == 1") == {"amount", "to"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PARTS = [
    "args.a",
    "args.b",
    "args.a.b",
    "args.a[0]",
    "size(args.a)",
    "1",
    "'x'",
    "2.5",
    "null",
    "true",
    "args",
    "now",
]
OPERATORS = ["==", ">", "<=", "+", "&&", "||", "in", "%", "/", "!="]


@given(
    st.dictionaries(st.sampled_from(["a", "b"]), json_values),
    st.lists(st.sampled_from(PARTS), min_size=2, max_size=4),
    st.lists(st.sampled_from(OPERATORS), min_size=3, max_size=3),
)
def test_it_answers_yes_or_no_or_fails_and_never_anything_else(args, parts, operators):
    text = parts[0]
    for operator, part in zip(operators, parts[1:], strict=False):
        text = f"({text}) {operator} {part}"
    try:
        assert holds(text, Context(CALL | {"args": args})) in (True, False)
    except ConditionFailed as failed:
        assert str(failed)


def test_a_failure_quotes_nothing_that_cannot_be_seen():
    with pytest.raises(ConditionFailed) as failed:
        answer('"x".matches(args.to)', args={"to": "(\0\u202e"})
    assert str(failed.value).isprintable()


@pytest.mark.parametrize(
    ("text", "items", "answered"),
    [
        ("args.paths.all(path, size(args.paths) > 0)", 1000, True),
        ("args.paths.all(path, size(args.paths) > 0)", 1001, False),
        ("args.paths.all(a, args.paths.exists(b, a == b))", 200, True),
        ("args.paths.all(a, args.paths.exists(b, a == b))", 201, False),
        ("args.paths.all(a, args.paths.all(b, args.paths.exists(c, c == a)))", 31, False),
        ("size(args.paths) > 1", 50_000, True),
    ],
)
def test_it_goes_through_no_more_than_it_can_in_a_moment(text, items, answered):
    began = time.monotonic()
    context = Context({"args": {"paths": [{"x": str(number)} for number in range(items)]}})
    if answered:
        assert holds(text, context) is True
    else:
        with pytest.raises(ConditionFailed, match="goes through more than"):
            holds(text, context)
    assert time.monotonic() - began < 5
