"""What an agent elsewhere says became of a call, as the Converse content blocks that results are kept as."""

from __future__ import annotations

import json
from typing import Any

from approvals.digest import too_deep
from approvals.errors import InvalidInput
from approvals.fields import storable

MOST = 256_000  # characters


def blocks_of(result: Any) -> list[dict[str, Any]]:
    """Text, any JSON value, or content blocks of text and JSON.

    Raises InvalidInput for more than a person looks through; the lease holds, so that less can be sent.
    """
    if too_deep(result):
        raise InvalidInput("result: it is nested too deeply. Send it flatter; the lease still holds.")
    try:
        length = len(json.dumps(result, allow_nan=False))
    except ValueError:
        raise InvalidInput(
            "result: NaN and infinity are no JSON. Send text; the lease still holds."
        ) from None
    if length > MOST:
        raise InvalidInput(f"result: send at most {MOST:,} characters of JSON; the lease still holds.")
    return _blocks(_storable(result))


def _blocks(result: Any) -> list[dict[str, Any]]:
    if result is None:
        return []
    if isinstance(result, str):
        return [{"text": result}]
    if isinstance(result, list) and result and all(map(_is_block, result)):
        return result
    return [{"json": result if isinstance(result, dict) else {"items": result}}]


def _is_block(value: Any) -> bool:
    if not isinstance(value, dict) or len(value) != 1:
        return False
    return isinstance(value.get("text"), str) or isinstance(value.get("json"), dict)


def _storable(value: Any) -> Any:
    """Text of which pages can show every character."""
    match value:
        case str():
            return storable(value)
        case list():
            return [_storable(each) for each in value]
        case dict():
            return {storable(name): _storable(each) for name, each in value.items()}
    return value
