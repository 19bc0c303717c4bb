"""The chat's socket."""

from __future__ import annotations

from agents.models import Session
from approvals import events, permissions
from approvals.sockets import DoorbellSocket


class ChatSocket(DoorbellSocket):
    """`/ws/chat/<session>/`: the session changed, and the text of the answer as it is written."""

    def topic(self) -> str | None:
        session = self.scope["url_route"]["kwargs"]["session"]
        if (
            not permissions.may_chat(self.user)
            or not Session.objects.filter(pk=session, user=self.user).exists()
        ):
            return None
        return events.session_topic(str(session))
