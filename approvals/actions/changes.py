"""Audits what administrators change; the admin's form writes the row itself."""

from __future__ import annotations

import hashlib
from typing import Any

from django.contrib.auth.models import Group, User

from approvals import audit
from approvals.models import Tool, ToolPolicy


def policy(policy: ToolPolicy) -> dict[str, Any]:
    """A policy as JSON: what it says, in the policy file's words."""
    return {
        "name": policy.name,
        "tool": policy.tool,
        "effect": policy.effect,
        "agent": policy.agent,
        "provider": policy.provider,
        "when": policy.when,
        "enabled": policy.enabled,
        "groups": sorted(policy.groups.values_list("name", flat=True)) if policy.pk else [],
        "quorum": policy.quorum,
        "requester_may_decide": policy.requester_may_decide,
        "requester_may_trust": policy.requester_may_trust,
        "open_for": policy.open_for.total_seconds(),
        "executable_for": policy.executable_for.total_seconds(),
        "risk": policy.risk,
        "confirm": policy.confirm,
        "justify": policy.justify,
        "trust_expires_in": policy.trust_expires_in.total_seconds(),
        "trust_max_uses": policy.trust_max_uses,
        "notify": policy.notify,
    }


def person(user: User) -> dict[str, Any]:
    """What decides what a person may do. The password counts by a fingerprint of its hash."""
    fingerprint = hashlib.sha256(user.password.encode()).hexdigest()[:12]
    return {
        "user": user.get_username(),
        "active": user.is_active,
        "staff": user.is_staff,
        "superuser": user.is_superuser,
        "email": user.email,
        "groups": sorted(user.groups.values_list("name", flat=True)) if user.pk else [],
        "rights": sorted(user.user_permissions.values_list("codename", flat=True)) if user.pk else [],
        "password": fingerprint,
    }


def group(group: Group) -> dict[str, Any]:
    rights = sorted(group.permissions.values_list("codename", flat=True)) if group.pk else []
    return {"group": group.name, "rights": rights}


def tool(tool: Tool) -> dict[str, Any]:
    return {"tool": tool.name, "risk": tool.risk, "looked_at": tool.looked_at}


def record(kind: str, actor: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
    """In the caller's transaction: what a row said before and says now; None where there was or is none."""
    if before != after:
        audit.record(kind, actor, before=before, after=after)
