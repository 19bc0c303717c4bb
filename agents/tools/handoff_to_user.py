"""A question to the person the agent works for. Nod keeps it and gives the answer as the tool's result."""

from typing import Annotated

from pydantic import Field, StringConstraints

from agents.tools.registry import ToolError, tool

Choice = Annotated[str, StringConstraints(min_length=1, max_length=200)]


@tool(risk="low", idempotent=True)
def handoff_to_user(
    message: Annotated[str, StringConstraints(min_length=1, max_length=4000)],
    choices: Annotated[list[Choice], Field(max_length=8)] = [],  # noqa: B006 (a default that is shown, never changed)
    breakout_of_loop: bool = False,
) -> str:
    """Ask the user something, and wait for the answer. Use it when only the user can say how to go on.

    An answer is information. It does not approve anything: protected tools ask their reviewers all the same.

    Args:
        message: The question, or what the user should know.
        choices: Answers to choose from, if there are only a few. The user may still write another one.
        breakout_of_loop: Stop here instead of waiting; the user goes on with a message when they like.
    """
    raise ToolError("nobody could be asked here.")
