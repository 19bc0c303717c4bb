"""The tools of this code base, entered into the approval desk's catalogue."""

from functools import cache

from agents.tools.registry import Tool, catalogue
from approvals.actions.tools import Definition, register


def register_local() -> None:
    """Register every tool in agents/tools. They ship with Nod, so people have looked at them."""
    for tool in catalogue().values():
        register(definition(tool), looked_at=True)


@cache
def definition(tool: Tool) -> Definition:
    """The tool as this process has it in its code."""
    return Definition(
        name=tool.name,
        description=tool.description,
        schema=tool.schema,
        risk=tool.risk,
        idempotent=tool.idempotent,
        timeout=int(tool.timeout),
    )
