"""The definitions of the tools in this code base. No database, so that an agent on AgentCore has the same ones."""

from functools import cache

from agents.tools.registry import Tool
from approvals.definitions import Definition


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
