"""The tool catalogue: what tools there are, and which definitions a person has looked at."""

from __future__ import annotations

from django.db.models.functions import Now

from approvals import audit
from approvals.definitions import Definition
from approvals.models import Tool


@audit.audited()
def register(definition: Definition, *, looked_at: bool, actor: str = "system") -> Tool:
    """Enter a tool, or its new definition, into the catalogue.

    `looked_at`: the definition ships with this code base, so that people have reviewed it.
    """
    row = Tool.objects.filter(name=definition.name).first()
    fields = {
        "provider": definition.provider,
        "description": definition.description,
        "schema": definition.schema,
        "definition": definition.hash,
        "idempotent": definition.idempotent,
        "timeout": definition.timeout,
        "owner_id": None,
    }
    if row and all(getattr(row, name) == value for name, value in fields.items()):
        Tool.objects.filter(pk=row.pk).update(last_seen=Now())
        return row
    if looked_at:
        fields["looked_at"] = definition.hash
    if row is None:
        fields["risk"] = definition.risk
    tool, _ = Tool.objects.update_or_create(name=definition.name, defaults=fields | {"last_seen": Now()})
    before = row.definition if row else None
    audit.record("tool.changed", actor, tool=tool.name, before=before, after=definition.hash)
    return tool


@audit.audited()
def look_at(tool: Tool, actor: str, seen: str = "") -> bool:
    """A person has looked at the definition: the one as it was loaded, or `seen`. Policies may allow it from now on.

    False where it is another by now.
    """
    definition = seen or tool.definition
    looked_at = Tool.objects.filter(pk=tool.pk, definition=definition).update(looked_at=definition)
    if looked_at:
        audit.record("tool.changed", actor, tool=tool.name, looked_at=definition)
    return bool(looked_at)
