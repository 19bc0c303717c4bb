"""What a provider says of a tool. Plain data: an agent that runs without Nod's database has it too."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from approvals.digest import definition_hash
from approvals.states import Risk


@dataclass(frozen=True)
class Definition:
    """What a provider says of one of its tools."""

    name: str
    description: str
    schema: dict[str, Any]
    provider: str = "local"
    risk: str = Risk.MEDIUM
    idempotent: bool = False
    timeout: int = 30

    @cached_property
    def hash(self) -> str:
        return definition_hash(self.name, self.description, self.schema)
