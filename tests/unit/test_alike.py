"""Which waiting calls are looked at and decided together."""

from uuid import uuid4

import pytest

from approvals.alike import MOST, alike, bunches
from approvals.models import ToolCall
from approvals.states import Status

MAIL = {"to": "dev@example.com", "subject": "Launch", "body": "On Thursday.\nBest regards"}


def call(arguments=MAIL, **fields):
    fields = {"tool": "send_email", "agent": "assistant", "requested_by_id": 1, "risk": "medium", **fields}
    fields.setdefault("digest", uuid4().hex)
    fields.setdefault("terms", {"groups": ["reviewers"]})
    return ToolCall(pk=uuid4(), arguments=arguments, status=Status.PENDING, groups="|reviewers|", **fields)


def shape(calls):
    return [(len(bunch.calls), bunch.differs) for bunch in bunches(calls)]


def test_the_same_calls_of_different_sessions_belong_together():
    assert shape([call(session="a"), call(session="b"), call(session="c")]) == [(3, "")]


def test_one_short_argument_may_differ():
    calls = [call({**MAIL, "to": f"dev{number}@example.com"}) for number in range(6)]
    assert shape(calls) == [(6, "to")]


@pytest.mark.parametrize(
    "change",
    [
        {"tool": "send_fax"},
        {"agent": "other"},
        {"requested_by_id": 2},
        {"policy": "Another"},
        {"definition": "another"},
        {"risk": "high"},
        {"terms": {"groups": ["reviewers"], "trust_max_uses": 3}},
        {"arguments": {**MAIL, "to": "a@example.com", "subject": "Other"}},
        {"arguments": {**MAIL, "cc": "a@example.com"}},
        {"arguments": {**MAIL, "body": "Another text.\n" * 50}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_differs_in_more_stays_apart(change):
    assert shape([call(), call(**change)]) == [(1, ""), (1, "")]


@pytest.mark.parametrize(
    "fields",
    [
        {"quorum": 2},
        {"terms": {"confirm": "send"}},
        {"terms": {"justify": True}},
        {"proposed": {"to": "x"}},
        {"arguments": {**MAIL, "to": "dev@ex\u0430mple.com"}},
        {"arguments": {**MAIL, "password": "hunter2"}},
        {"arguments": ["not", "named"]},
    ],
    ids=["quorum", "word", "reason", "edited", "deceptive", "masked", "no object"],
)
def test_what_asks_for_more_than_a_glance_stays_apart(fields):
    assert shape([call(**fields), call(**fields)]) == [(1, ""), (1, "")]


def test_whoever_keeps_some_apart_gets_them_apart():
    calls = [call(), call(), call()]
    assert [len(bunch.calls) for bunch in bunches(calls, apart={calls[1].pk})] == [2, 1]


def test_each_bunch_stands_where_its_first_call_was_and_none_is_lost():
    calls = [call(), call({"path": "a"}, tool="read_file"), call(), call({"path": "b"}, tool="read_file")]
    found = bunches(calls)
    assert [[one.tool for one in bunch.calls] for bunch in found] == [["send_email"] * 2, ["read_file"] * 2]
    assert {one.pk for bunch in found for one in bunch.calls} == {one.pk for one in calls}


def test_the_larger_bunch_comes_about():
    same_to = [call({**MAIL, "subject": f"Launch {number}"}) for number in range(3)]
    same_subject = [call({**MAIL, "to": f"dev{number}@example.com"}) for number in range(4)]
    assert sorted(shape(same_to + same_subject)) == [(3, "subject"), (4, "to")]


def test_a_bunch_has_an_end():
    assert [len(bunch.calls) for bunch in bunches([call() for _ in range(MOST + 7)])] == [MOST, 7]


def test_alike_is_said_of_all_or_none():
    assert alike([call(), call()]) is not None
    assert alike([call(), call(tool="send_fax")]) is None
    assert alike([]) is None
