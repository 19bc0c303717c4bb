"""Digests: SHA-256 over the RFC 8785 (JCS) form, so that equal means the same bytes will run."""

import hashlib
from typing import Any

import rfc8785

from approvals.errors import InvalidArguments

DEEPEST = (
    200  # lists and objects inside each other; what is deeper could be stored, and then be shown nowhere
)


def canonical(value: Any) -> bytes:
    """The RFC 8785 bytes of a JSON value.

    Raises InvalidArguments for what has no canonical form: NaN and infinity, integers beyond 2**53 - 1
    (other readers would round them), lone surrogates, keys that are no strings, and for what is nested too deeply.
    """
    if too_deep(value):
        raise InvalidArguments(f"The arguments are nested more than {DEEPEST} deep. Send them flatter.")
    try:
        _refuse_long_floats(value)
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeError, RecursionError) as error:
        raise InvalidArguments(
            f"The arguments have no exact JSON form ({error or type(error).__name__}). "
            "Use numbers up to 2**53, valid text, and strings for long numbers."
        ) from None


def too_deep(value: Any) -> bool:
    """Whether lists and objects go deeper than anybody reads; looks without recursion."""
    level = [value]
    for _ in range(DEEPEST + 1):
        holders = [each for each in level if isinstance(each, dict | list | tuple)]
        if not holders:
            return False
        level = [inner for each in holders for inner in (each.values() if isinstance(each, dict) else each)]
    return True


def _refuse_long_floats(value: Any) -> None:
    """RFC 8785 writes 1e16 as 10000000000000000, which comes back as an integer that is too long."""
    if isinstance(value, float) and 2**53 <= abs(value) < 1e21:
        raise rfc8785.FloatDomainError(value)
    if isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            _refuse_long_floats(each)


def definition_hash(name: str, description: str, schema: Any) -> str:
    """Hex SHA-256 of a tool's definition: when it changes, approvals and trust for it end."""
    return _sha256({"description": description, "name": name, "schema": schema})


def call_digest(*, session: str, tool: str, definition: str, arguments: Any) -> str:
    """Hex SHA-256 of what will run: the tool, its definition hash, the arguments, the session."""
    return _sha256({"arguments": arguments, "definition": definition, "session": session, "tool": tool})


def _sha256(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()
