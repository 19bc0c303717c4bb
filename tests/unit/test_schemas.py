"""Schemas that strangers wrote: what is applied of them costs little and reaches nowhere."""

import jsonschema
import pytest

from approvals.errors import InvalidInput
from approvals.schemas import check, tame

SCHEMA = {
    "type": "object",
    "properties": {
        "amount": {"type": "number", "minimum": 0, "description": "In euros."},
        "to": {"type": "array", "items": {"type": "string", "maxLength": 9}},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
    },
    "required": ["amount"],
    "additionalProperties": False,
}


def test_what_is_plain_stays():
    assert tame(SCHEMA) == SCHEMA


@pytest.mark.parametrize(
    "part",
    [
        {"$ref": "http://127.0.0.1:1/secrets"},
        {"$dynamicRef": "#x"},
        {"pattern": "(a+)+$"},
        {"patternProperties": {"(a+)+$": {}}},
        {"allOf": [{"$ref": "#"}]},
        {"not": {}},
        {"if": {}, "then": {}},
        {"uniqueItems": True},
        {"contains": {}},
    ],
    ids=lambda part: next(iter(part)),
)
def test_what_may_cost_much_goes(part):
    assert tame({"type": "object", "properties": {"a": part}, **part}) == {
        "type": "object",
        "properties": {"a": {}},
    }


def test_it_ends_with_what_is_nested_deeply():
    deep: dict[str, object] = {"type": "string"}
    for _ in range(100):
        deep = {"items": deep}
    jsonschema.Draft202012Validator(tame(deep)).is_valid([])


@pytest.mark.parametrize(
    "schema", [{"type": "array"}, {"properties": 5}, {"x": "y" * 32_001}, {"default": 1e400}]
)
def test_it_says_what_is_wrong(schema):
    with pytest.raises(InvalidInput, match="^definition: "):
        check(schema)


def test_what_is_too_long_is_not_even_looked_through(monkeypatch):
    """A megabyte of schema would hold a web process for seconds."""
    monkeypatch.setattr(jsonschema.Draft202012Validator, "check_schema", None)
    with pytest.raises(InvalidInput, match="longer than 32,000 bytes"):
        check({"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(2000)}})
