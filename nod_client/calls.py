"""One call in a `with` block, and what to say of a call that does not run."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from nod_client.errors import AlreadyRan, NodError, NotApproved

if TYPE_CHECKING:
    from nod_client.client import Claimed, Nod

logger = logging.getLogger("nod_client")

MAY_RUN = frozenset(("allowed", "approved"))
REFUSED = frozenset(("invalid_json", "invalid_input"))
MOST_TEXT = 20_000  # characters of a result that Nod does not take as it is
RAN = frozenset(("started", "succeeded", "failed", "unknown"))


class Call:
    """The block runs only when the call is claimed; how it ends is reported."""

    def __init__(
        self, nod: Nod, tool: str, arguments: dict[str, Any], *, key: str, reason: str, wait: float
    ) -> None:
        self._nod, self._tool, self._asked = nod, tool, arguments
        self._key, self._reason, self._wait = key, reason, wait
        self.arguments: dict[str, Any] = {}
        self.idempotency_key = ""
        self.edited = False
        self.result: Any = None

    def __enter__(self) -> Self:
        """Raises NotApproved, AlreadyRan, Unreachable, NodError: the block does not run then."""
        call = self._nod.ask(self._tool, self._asked, key=self._key, reason=self._reason)
        call = self._nod.decided(call, self._wait)
        if call["status"] not in MAY_RUN:
            raise (AlreadyRan if call["status"] in RAN else NotApproved)(told(call), call)
        self._claimed: Claimed = self._nod.claim(call)
        self.arguments = self._claimed.arguments
        self.idempotency_key = self._claimed.idempotency_key
        self.edited = call["proposed"] is not None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """An exception is a failure, and goes on. After Ctrl-C nobody knows: nothing is reported."""
        if error is not None and not isinstance(error, Exception):
            return
        result = self.result if error is None else f"{type(error).__name__}: {error}"[:2000]
        try:
            self._report(result, succeeded=error is None)
        except NodError as problem:
            logger.warning("Nod could not be told what became of %s: %s", self._claimed.id, problem)

    def _report(self, result: Any, *, succeeded: bool) -> None:
        """What is no JSON, or too much of it, goes as text: its form must not leave the outcome unknown."""
        try:
            self._nod.report(self._claimed, succeeded=succeeded, result=result)
        except NodError as problem:
            if problem.code not in REFUSED:
                raise
            text = _plain(result)[:MOST_TEXT]
            self._nod.report(self._claimed, succeeded=succeeded, result=text)


def _plain(result: Any) -> str:
    try:
        return str(result)
    except Exception as error:  # nested too deeply, or an object that cannot say what it is
        return f"({type(result).__name__}, which is no text: {type(error).__name__})"


def told(call: dict[str, Any]) -> str:
    """Why a call does not run, for a model or a person."""
    match call["status"]:
        case "denied":
            denial = next(
                one
                for one in reversed(call["decisions"])
                if one["decision"] == "deny" and not one["undone_at"]
            )
            return f"Denied by {denial['by']}: {denial['comment']} Nothing was done. Do not try it again unchanged."
        case "blocked":
            why = call["why"] or (f"the policy “{call['policy']}”." if call["policy"] else "a policy.")
            return f"Blocked: {why} Nothing was done."
        case "expired":
            return "Nobody decided in time. Nothing was done."
        case "cancelled":
            return "Nobody decided in time, so the call was withdrawn. Nothing was done."
        case "lapsed":
            return f"It was allowed, and may not run any more. {call['why']} Nothing was done.".strip()
        case "pending":
            return "It waits for people to decide. Nothing was done yet."
        case "succeeded" | "failed":
            return f"It ran before, and {call['status']}. It was not done again."
    return (
        "It was started before, and nobody knows yet what became of it. Do not try it again; a person looks."
    )
