"""What can go wrong. After each of these nothing has run, unless the error says otherwise."""

from __future__ import annotations

from typing import Any


class NodError(Exception):
    """Nod refused. `code` is for programs (docs/api.md lists them), the message for people and models."""

    def __init__(self, message: str, code: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.message, self.code, self.status = message, code, status


class Unreachable(NodError):
    """Nod does not answer, or not as Nod does."""


class NotApproved(NodError):
    """It was denied, blocked or withdrawn, or nobody decided in time. `call` is the call as Nod has it."""

    def __init__(self, message: str, call: dict[str, Any]) -> None:
        super().__init__(message, str(call["status"]))
        self.call = call


class AlreadyRan(NotApproved):
    """It was started before, with the same key: what came of it is in `call`, as far as Nod knows."""
