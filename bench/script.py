"""What every contestant of the cycle benchmark plays: two tools, and a model that follows a script.

The names are those of the peers' benchmark (its bench/script.py), so that `bench/cycle/nod.py` runs in both.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

EMAIL = {"to": "dev@example.org", "subject": "Launch", "body": "Which features will be in the launch? " * 6}
REPLY = "Done: " + "here is a short paragraph that says how it went, in plain words. " * 5
CHAT = "Please go on, " + "and tell me a little more about what we talked about before. " * 3
SYSTEM = "You are a helpful assistant. Use your tools to act."
SENT: list[tuple[str, str, str]] = []
"""Every run of the protected tool in this process."""


def decide(prompt: str, results: int) -> tuple[str | None, Any]:
    """What the model does next: (tool, arguments), or (None, text). `results`: tool results since the prompt."""
    if prompt == "send" and not results:
        return "send_email", EMAIL
    wanted = int(prompt[6:]) if prompt.startswith("burst:") else 0
    return ("lookup", {"key": f"k{results}"}) if results < wanted else (None, REPLY)


def call_id() -> str:
    return f"call_{uuid4().hex}"


def send_email(to: str, subject: str, body: str) -> str:
    """Send an email.

    Args:
        to: Address of the recipient.
        subject: Subject line.
        body: Text of the message.
    """
    SENT.append((to, subject, body))
    return f"Sent to {to}."


def lookup(key: str) -> str:
    """Look a key up.

    Args:
        key: The key.
    """
    return f"The value of {key}."
