"""Digests: equal means that the same bytes will run."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.digest import DEEPEST, call_digest, canonical, definition_hash
from approvals.errors import InvalidArguments

PARTS = {
    "session": "s1",
    "tool": "send_email",
    "definition": "d" * 64,
    "arguments": {"to": "a@x.org", "n": 1},
}
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
exact = st.floats(-(2**53) + 1, 2**53 - 1) | st.floats(1e21, allow_infinity=False)
number = st.integers(-(2**53) + 1, 2**53 - 1) | exact
value = st.recursive(
    st.none() | st.booleans() | number | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
arguments = st.dictionaries(text, value, max_size=5)


def digest(**changes):
    return call_digest(**{**PARTS, **changes})


def test_it_is_the_sha256_of_the_canonical_form():
    body = '{"arguments":{"n":1,"to":"a@x.org"},"definition":"%s","session":"s1","tool":"send_email"}' % (
        "d" * 64
    )
    assert digest() == hashlib.sha256(body.encode()).hexdigest()


@pytest.mark.parametrize(
    "changes",
    [
        {"session": "s2"},
        {"tool": "send_mail"},
        {"definition": "e" * 64},
        {"arguments": {"to": "a@x.org", "n": 2}},
        {"arguments": {"to": "a@x.org", "n": "1"}},
        {"arguments": {"to": "a@x.org", "n": 1, "cc": None}},
        {"arguments": {"to": "a@x.org ", "n": 1}},
    ],
)
def test_it_changes_with_every_part(changes):
    assert digest(**changes) != digest()


@given(arguments)
def test_it_survives_storage_and_transport(given_arguments):
    there_and_back = json.loads(json.dumps(given_arguments))
    assert canonical(there_and_back) == canonical(given_arguments)
    assert canonical(json.loads(canonical(given_arguments))) == canonical(given_arguments)


@given(arguments)
def test_it_ignores_the_order_of_keys(given_arguments):
    turned = dict(reversed(given_arguments.items()))
    assert digest(arguments=turned) == digest(arguments=given_arguments)


@given(arguments, arguments)
def test_it_tells_different_arguments_apart(one, other):
    assert (digest(arguments=one) == digest(arguments=other)) == (canonical(one) == canonical(other))


@pytest.mark.parametrize(
    "bad",
    [
        float("nan"),
        float("inf"),
        -float("inf"),
        2**60,
        -(2**60),
        2**53,
        1e16,
        -(2.0**53),
        "\ud800",
        "a\udfffb",
        b"bytes",
        {1, 2},
    ],
    ids=repr,
)
@pytest.mark.parametrize("wrap", [lambda bad: bad, lambda bad: {"a": [{"b": bad}]}], ids=["bare", "deep"])
def test_it_refuses_what_has_no_exact_form(bad, wrap):
    with pytest.raises(InvalidArguments):
        canonical(wrap(bad))


@pytest.mark.parametrize("key", [1, None, "\ud800"], ids=repr)
def test_it_refuses_odd_keys(key):
    with pytest.raises(InvalidArguments):
        canonical({key: "value"})


def test_it_refuses_what_is_nested_too_deeply():
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidArguments):
        canonical(deep)


def test_what_it_takes_can_be_shown_from_a_deep_stack():
    """An agent asks from a shallow stack, pages are made in a deep one: the limit is no matter of the stack."""
    value: object = "x"
    for _ in range(DEEPEST):
        value = [value]
    assert canonical(value)
    with pytest.raises(InvalidArguments, match="nested more than 200 deep"):
        canonical([value])


@pytest.mark.parametrize("odd", ["\0", "\u202e", "\U000e0041", "é", "e\u0301", "\u2028"], ids=ascii)
def test_it_keeps_odd_characters_as_they_are(odd):
    assert json.loads(canonical({"a": odd})) == {"a": odd}


def test_it_tells_composed_from_decomposed():
    assert digest(arguments={"a": "é"}) != digest(arguments={"a": "e\u0301"})


def test_it_hashes_a_definition_as_a_whole():
    plain = definition_hash("t", "Does it.", {"type": "object"})
    assert plain == definition_hash("t", "Does it.", {"type": "object"})
    others = [
        ("u", "Does it.", {"type": "object"}),
        ("t", "Does it!", {"type": "object"}),
        ("t", "Does it.", {}),
    ]
    assert plain not in {definition_hash(*other) for other in others}
