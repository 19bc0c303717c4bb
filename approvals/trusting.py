"""What a trust grant covers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from approvals.digest import canonical


def covers(scope: Mapping[str, Any], arguments: Mapping[str, Any]) -> bool:
    """Each argument that the scope names is there and is the same, byte for byte of its canonical form."""
    return all(
        name in arguments and canonical(arguments[name]) == canonical(value) for name, value in scope.items()
    )


def differing(scope: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    """The names of the arguments that keep the scope from covering these."""
    return [name for name, value in scope.items() if not covers({name: value}, arguments)]
