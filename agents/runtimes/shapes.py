"""Whether what came over a wire is what it should be, before Nod stores, shows or runs any of it."""

from __future__ import annotations

from typing import Any

LARGEST_COUNT = 2**31 - 1


def is_message(message: Any) -> bool:
    """A whole message of the loop: what its model wrote, or the results of tools."""
    if not isinstance(message, dict) or message.keys() != {"role", "content"}:
        return False
    if not are_blocks(message["content"]):
        return False
    match message["role"]:
        case "assistant":
            return all(map(_is_written, message["content"]))
        case "user":
            return bool(message["content"]) and all(map(_is_result, message["content"]))
    return False


def are_blocks(content: Any) -> bool:
    """Converse content blocks; one that has a text has text in it."""
    return isinstance(content, list) and all(
        isinstance(block, dict) and isinstance(block.get("text", ""), str) for block in content
    )


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_object(value: Any) -> bool:
    return isinstance(value, dict)


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_COUNT


def _is_written(block: dict[str, Any]) -> bool:
    return "toolResult" not in block and ("toolUse" not in block or is_use(block["toolUse"]))


def is_use(use: Any) -> bool:
    """Its input may be of any type: the gate refuses what is no object."""
    return (
        isinstance(use, dict)
        and "input" in use
        and isinstance(use.get("toolUseId"), str)
        and isinstance(use.get("name"), str)
    )


def _is_result(block: dict[str, Any]) -> bool:
    result = block.get("toolResult")
    return (
        block.keys() == {"toolResult"}
        and isinstance(result, dict)
        and isinstance(result.get("toolUseId"), str)
        and result.get("status") in ("success", "error")
        and are_blocks(result.get("content"))
    )
