"""The tools of this code base, entered into the approval desk's catalogue."""

from agents.tools.registry import catalogue
from approvals.actions.tools import Definition, register


def register_local() -> None:
    """Register every tool in agents/tools. They ship with Nod, so people have looked at them."""
    for tool in catalogue().values():
        definition = Definition(
            name=tool.name,
            description=tool.description,
            schema=tool.schema,
            risk=tool.risk,
            idempotent=tool.idempotent,
            timeout=int(tool.timeout),
        )
        register(definition, looked_at=True)
