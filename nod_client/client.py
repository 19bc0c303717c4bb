"""A client of Nod's API for agents that run elsewhere."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from nod_client.calls import Call
from nod_client.digest import call_digest
from nod_client.errors import NodError, NotApproved
from nod_client.wire import Wire

REPORT_PATIENCE = 60.0  # seconds for which a report is tried: what it tells of has happened
SLICE = 10.0  # seconds that one request waits for a decision


@dataclass(frozen=True)
class Claimed:
    """The call may run now, once, with exactly these arguments."""

    id: str
    arguments: dict[str, Any]
    idempotency_key: str
    lease: str


class Nod:
    """One agent's line to Nod. Thread-safe.

    Args:
        url: where Nod is, such as https://nod.example.org.
        token: of `manage.py token USER --scope agent`.
        session: one conversation, and how far trust reaches; a new one unless given.
        agent: its name, which reviewers see and policies may go by.
        timeout: seconds that one request may take.
        patience: seconds for which each step is tried again while Nod is away.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        session: str = "",
        agent: str = "",
        timeout: float = 15,
        patience: float = 10,
    ) -> None:
        self.session, self.agent, self.patience = session or uuid4().hex, agent, patience
        self._wire = Wire(url, token, timeout)

    # --- In one block ------------------------------------------------------------------------------
    def call(
        self, tool: str, arguments: dict[str, Any], *, key: str = "", reason: str = "", wait: float = 300
    ) -> Call:
        """`with nod.call("pay_invoice", {...}) as call:` runs the block once people or policies say yes.

        Inside, use `call.arguments`, since a reviewer may have changed them, and set `call.result`. `key` names the
        call, so that a program that starts anew does not do it twice.
        """
        return Call(self, tool, arguments, key=key or uuid4().hex, reason=reason, wait=wait)

    # --- Step by step ------------------------------------------------------------------------------
    def ask(
        self,
        tool: str,
        arguments: dict[str, Any],
        *,
        key: str,
        reason: str = "",
        definition: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The call, as Nod has it: `allowed`, `pending` or `blocked`; or further, where it was asked for before."""
        body = {
            "session": self.session,
            "tool": tool,
            "arguments": arguments,
            "agent": self.agent,
            "reason": reason,
            "idempotency_key": key,
        }
        if definition is not None:
            body["definition"] = definition
        return self._call("POST", "calls", body)

    def get(self, call_id: str, *, wait: float = 0) -> dict[str, Any]:
        """The call as it is now, or once it is no longer pending, or after `wait` seconds."""
        path = f"calls/{call_id}?wait={wait:.1f}" if wait else f"calls/{call_id}"
        return self._call("GET", path, wait=wait)

    def decided(
        self, call: dict[str, Any], wait: float, stopped: Callable[[], bool] = lambda: False
    ) -> dict[str, Any]:
        """Waits until people have decided, and withdraws what they have not in time."""
        until = time.monotonic() + wait
        while call["status"] == "pending":
            left = until - time.monotonic()
            if left <= 0 or stopped():
                return self.withdrawn(call)
            call = self.get(call["id"], wait=min(left, SLICE))
        return call

    def withdrawn(self, call: dict[str, Any]) -> dict[str, Any]:
        """The call, cancelled; or as it is, where it is too late for that."""
        try:
            return self._call("POST", f"calls/{call['id']}/cancel", {})
        except NodError as error:
            if error.code != "too_late":
                raise
            return self.get(call["id"])

    def claim(self, call: dict[str, Any], *, definition: str = "", lease_for: float | None = None) -> Claimed:
        """Start an allowed or approved call. Nothing has been claimed, or may run, where this raises.

        `definition`: the hash of the tool that is about to run; what Nod says of it otherwise.
        """
        lease = secrets.token_urlsafe(32)
        body = {"digest": call["digest"], "lease": lease, "lease_for": lease_for}
        given = self._call("POST", f"calls/{call['id']}/claim", body)
        claimed = Claimed(call["id"], given["arguments"], given["idempotency_key"], given["lease"])
        self._verify(call, claimed, definition)
        return claimed

    def report(self, claimed: Claimed, *, succeeded: bool, result: Any = None) -> dict[str, Any]:
        """Say what became of a claimed call. Where this raises, Nod calls its outcome unknown in the end."""
        status = "succeeded" if succeeded else "failed"
        body = {"lease": claimed.lease, "status": status, "result": result}
        return self._call("POST", f"calls/{claimed.id}/outcome", body, at_least=REPORT_PATIENCE)

    def _verify(self, call: dict[str, Any], claimed: Claimed, definition: str) -> None:
        """What is about to run has the digest that people decided on."""
        digest = call_digest(
            session=call["session"],
            tool=call["tool"],
            definition=definition or call["definition"],
            arguments=claimed.arguments,
        )
        if digest != call["digest"]:
            self.report(claimed, succeeded=False, result="Not run: it is not what the digest covers.")
            raise NotApproved("What Nod gave back is not what was approved. Nothing was done.", call)

    def _call(
        self, method: str, path: str, body: Any = None, *, at_least: float = 0, wait: float = 0
    ) -> dict[str, Any]:
        patience = max(self.patience, at_least)
        answer: dict[str, Any] = self._wire.send(method, path, body, patience=patience, wait=wait)
        return answer
