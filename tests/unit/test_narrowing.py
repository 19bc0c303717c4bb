"""Conditions for calls like one that was made: they hold for it, and for nothing that only looks like it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.conditions import Context, check, holds
from approvals.narrowing import narrowings


def conditions(**arguments):
    return {each.words: each.condition for each in narrowings(arguments)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"to": "Dev@Example.com"}, {"to is Dev@Example.com", "to is an address at example.com"}),
        ({"amount": 1500}, {"amount is at most 1,500"}),
        ({"path": "reports/2026/q1.csv"}, {"path is reports/2026/q1.csv", "path is below reports/2026/"}),
        ({"paths": ["a/b", "a/c"]}, {"all of paths are below a/"}),
        ({"to": ["x@b.org", "y@b.org"]}, {"all of to are addresses at b.org"}),
        ({"force": True, "note": None}, {"force is true", "note is null"}),
        ({"odd name": 'say "hi"'}, {'odd name is say "hi"'}),
        ({"body": "x" * 81}, set()),
        ({"body": "two\nlines"}, set()),
        ({"path": "../secret/x"}, {"path is ../secret/x"}),
        ({"to": "a@b.org, c@d.org"}, {"to is a@b.org, c@d.org"}),
        ({"paths": []}, set()),
        ({"to\u202e": "x", "a\0b": 1}, set()),
        ({"paths": ["a/b", "c/d"]}, set()),
    ],
)
def test_it_finds_what_a_policy_could_name(arguments, words):
    assert set(conditions(**arguments)) == words


@pytest.mark.parametrize(
    ("arguments", "words", "others"),
    [
        (
            {"to": "a@example.com"},
            "to is an address at example.com",
            [
                "a@example.com.evil.org",
                "evil@x.org, a@example.com",
                "a@examplexcom",
                "a@sub.example.com",
                "@example.com",
            ],
        ),
        (
            {"path": "reports/a.csv"},
            "path is below reports/",
            ["reports/../../etc/passwd", "reportsx/a", "/reports/a.csv"],
        ),
    ],
)
def test_what_only_looks_like_it_does_not_count(arguments, words, others):
    condition = conditions(**arguments)[words]
    [name] = arguments
    for other in others:
        assert not holds(condition, Context({"args": {name: other}})), other


texts = st.text(max_size=30) | st.from_regex(r"[a-z]+@[a-z]+\.[a-z]{2,3}", fullmatch=True)
values = (
    texts
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.lists(texts, max_size=3)
)


@given(st.dictionaries(st.text(max_size=8), values, max_size=3))
def test_each_can_be_saved_and_holds_for_where_it_came_from(arguments):
    for each in narrowings(arguments):
        check(each.condition)
        assert holds(each.condition, Context({"args": arguments}))
