"""Messages as the database keeps them and as Strands takes them: what JSON lacks is bytes.

A model's hidden reasoning comes as bytes and has to go back unchanged. It is kept as base64, as on Bedrock's wire.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any


def as_json(message: Any) -> dict[str, Any]:
    """A message of Strands, as the port has it."""
    return _with(message, lambda hidden: b64encode(hidden).decode())


def from_json(message: dict[str, Any]) -> dict[str, Any]:
    """A message of the port, as Strands has it."""
    return _with(message, b64decode)


def _with(message: Any, convert: Callable[[Any], Any]) -> dict[str, Any]:
    content = [_converted(block, convert) for block in message["content"]]
    return {"role": message["role"], "content": content}


def _converted(block: dict[str, Any], convert: Callable[[Any], Any]) -> dict[str, Any]:
    reasoning = block.get("reasoningContent")
    if not reasoning or "redactedContent" not in reasoning:
        return block
    return {"reasoningContent": {**reasoning, "redactedContent": convert(reasoning["redactedContent"])}}
