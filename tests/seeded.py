"""The demo's rows, kept once they were made: seeding takes a hundred queries, and most tests begin with it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import transaction
from django.db.models import Model

from agents.models import Agent
from agents.tools.workspace import seed_workspace
from approvals.models import AuditEntry, AuditHead, Tool, ToolPolicy

# What `manage.py seed` makes, in the order in which it can be stored.
MODELS: tuple[type[Model], ...] = (
    Group,
    User,
    User.groups.through,
    Agent,
    Agent.tools.through,
    ToolPolicy,
    AuditEntry,
)

_kept: dict[Any, tuple[list[list[Model]], list[AuditHead]]] = {}


@transaction.atomic
def seed() -> None:
    """What `manage.py seed` leaves behind, with a model that never waits. Rows are the same for the same beginning."""
    before = {model: _keys(model) for model in MODELS}
    tools = tuple(Tool.objects.order_by("pk").values_list("pk", "definition"))
    beginning = (tuple(before.values()), tools, tuple(settings.AUDIT_KEYS), settings.DEMO)
    if beginning in _kept:
        rows, heads = _kept[beginning]
        for model, made in zip(MODELS, rows, strict=True):
            model._default_manager.bulk_create(made)
        fields = ["position", "hash", "seal"]
        AuditHead.objects.bulk_create(
            heads, update_conflicts=True, unique_fields=["chain"], update_fields=fields
        )
        seed_workspace()
        return
    call_command("seed", verbosity=0)
    Agent.objects.update(parameters={"delay_ms": 0})
    rows = [list(model._default_manager.exclude(pk__in=before[model]).order_by("pk")) for model in MODELS]
    _kept[beginning] = rows, list(AuditHead.objects.all())


def _keys(model: type[Model]) -> tuple[Any, ...]:
    return tuple(model._default_manager.order_by("pk").values_list("pk", flat=True))
