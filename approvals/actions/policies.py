"""Audits what administrators do to policies; the admin's form writes the row itself."""

from __future__ import annotations

from typing import Any

from approvals import audit
from approvals.models import ToolPolicy


def described(policy: ToolPolicy) -> dict[str, Any]:
    """A policy as JSON: what it says, in the policy file's words."""
    return {
        "name": policy.name,
        "tool": policy.tool,
        "effect": policy.effect,
        "agent": policy.agent,
        "provider": policy.provider,
        "enabled": policy.enabled,
        "groups": sorted(policy.groups.values_list("name", flat=True)) if policy.pk else [],
        "requester_may_decide": policy.requester_may_decide,
        "open_for": policy.open_for.total_seconds(),
        "executable_for": policy.executable_for.total_seconds(),
        "risk": policy.risk,
        "trust_expires_in": policy.trust_expires_in.total_seconds(),
        "trust_max_uses": policy.trust_max_uses,
    }


def changed(actor: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
    """In the caller's transaction: what a policy said before and says now; None where there was or is none."""
    if before != after:
        audit.record("policy.changed", actor, before=before, after=after)
