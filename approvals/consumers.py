"""The reviewers' socket."""

from __future__ import annotations

from approvals import events, permissions
from approvals.sockets import DoorbellSocket


class ApprovalsSocket(DoorbellSocket):
    """`/ws/approvals/`: something in the queue changed."""

    def topic(self) -> str | None:
        return events.APPROVALS if permissions.may_review(self.user) else None
