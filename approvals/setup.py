"""Makes the groups and triggers that Nod needs, after every migrate. Running it again changes nothing."""

from __future__ import annotations

from typing import Any

from django.db import connections

from approvals import triggers
from approvals.permissions import ADMINISTRATORS, AUDITORS, CHAT_USERS
from approvals.policy import REVIEWERS

RIGHTS: dict[str, tuple[str, ...]] = {
    CHAT_USERS: (),
    REVIEWERS: ("approvals.review_toolcall",),
    AUDITORS: (
        "approvals.review_toolcall",  # to see the queue; deciding takes one of a call's groups
        "approvals.view_toolpolicy",
        "approvals.view_tool",
        "approvals.view_toolcall",
        "approvals.view_decision",
        "approvals.view_trustgrant",
        "approvals.view_auditentry",
    ),
    ADMINISTRATORS: (
        "approvals.review_toolcall",
        *(f"approvals.{verb}_toolpolicy" for verb in ("view", "add", "change", "delete")),
        *(f"agents.{verb}_agent" for verb in ("view", "add", "change", "delete")),
        *(f"auth.{verb}_user" for verb in ("view", "add", "change")),
        *(f"auth.{verb}_group" for verb in ("view", "add", "change")),
        "approvals.view_tool",
        "approvals.change_tool",
        "approvals.view_toolcall",
        "approvals.view_decision",
        "approvals.view_auditentry",
        "approvals.view_trustgrant",
        "approvals.change_trustgrant",
        "approvals.view_apitoken",
        "approvals.change_apitoken",
        "agents.view_session",
        "agents.view_run",
        "agents.change_run",
        "agents.view_message",
    ),
}
"""What each group may do, as Django permissions. An administrator may take rights away; they come back
with the next migrate, so use groups of your own for narrower roles."""


def ensure_groups(**kwargs: Any) -> None:
    """Receiver of post_migrate. Rights of apps that are not migrated yet follow when these are."""
    from django.contrib.auth.models import Group, Permission

    known = {
        f"{app}.{codename}": pk
        for pk, app, codename in Permission.objects.values_list("pk", "content_type__app_label", "codename")
    }
    for name, rights in RIGHTS.items():
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.add(*(known[right] for right in rights if right in known))


def ensure_triggers(using: str, **kwargs: Any) -> None:
    """Receiver of post_migrate: SQLite drops a table's triggers whenever a migration makes the table anew."""
    connection = connections[using]
    if {triggers.TABLE, triggers.MARK} <= set(connection.introspection.table_names()):
        triggers.create(connection)
