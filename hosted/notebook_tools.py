"""The notebook's three tools, with the notebook's words. The e-mail is really sent."""

from agents.tools.handoff_to_user import handoff_to_user
from agents.tools.registry import Tool, tool
from agents.tools.send_email import send_email as sender


@tool(risk="medium")
def send_email(to: str, subject: str, body: str) -> str:
    """Send a transactional email. Requires human approval before execution.

    Args:
        to: The address it goes to.
        subject: One line that says what it is about.
        body: The text of the email.
    """
    sender.function(to, subject, body)
    return f"Email successfully sent to {to!r} with subject {subject!r}"


@tool(risk="low", idempotent=True)
def get_weather() -> str:
    """Return weather."""
    return "sunny"  # demo only


TOOLS: dict[str, Tool] = {each.name: each for each in (send_email, get_weather, handoff_to_user)}
