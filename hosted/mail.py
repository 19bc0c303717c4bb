"""Where mail goes that has nowhere to go: an agent must never say of it that it was sent."""

from typing import Any

from django.core.mail.backends.base import BaseEmailBackend

from agents.tools.registry import ToolError


class NoMailServer(BaseEmailBackend):
    """The backend while EMAIL_URL is not set."""

    def send_messages(self, email_messages: Any) -> int:
        raise ToolError("no mail server is set. Give the runtime an EMAIL_URL. Nothing was sent.")
