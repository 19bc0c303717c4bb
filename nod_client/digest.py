"""The digest of what will run: the same bytes as Nod digests (docs/architecture.md)."""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785


def definition_hash(name: str, description: str, schema: Any) -> str:
    """Of a tool, as this agent has it."""
    return _sha256({"description": description, "name": name, "schema": schema})


def call_digest(*, session: str, tool: str, definition: str, arguments: Any) -> str:
    """Of a call with these arguments."""
    return _sha256({"arguments": arguments, "definition": definition, "session": session, "tool": tool})


def _sha256(value: Any) -> str:
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()
