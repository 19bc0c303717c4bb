"""The tools of this code base, entered into the approval desk's catalogue."""

from agents.definitions import definition
from agents.tools.registry import catalogue
from approvals.actions.tools import register


def register_local() -> None:
    """Register every tool in agents/tools. They ship with Nod, so people have looked at them."""
    for tool in catalogue().values():
        register(definition(tool), looked_at=True)
