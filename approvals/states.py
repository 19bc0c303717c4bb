"""The lifecycle of a tool call (docs/architecture.md draws it)."""

from django.db import models


class Status(models.TextChoices):
    """Where a call stands. The values are the API's words."""

    BLOCKED = "blocked", "Blocked"
    ALLOWED = "allowed", "Allowed"
    PENDING = "pending", "Waiting"
    APPROVED = "approved", "Approved"
    DENIED = "denied", "Denied"
    EXPIRED = "expired", "Expired"
    CANCELLED = "cancelled", "Cancelled"
    LAPSED = "lapsed", "Lapsed"
    STARTED = "started", "Running"
    SUCCEEDED = "succeeded", "Done"
    FAILED = "failed", "Failed"
    UNKNOWN = "unknown", "Outcome unknown"


NEXT: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.APPROVED, Status.DENIED, Status.EXPIRED, Status.CANCELLED}),
    Status.ALLOWED: frozenset({Status.STARTED, Status.LAPSED, Status.CANCELLED}),
    Status.APPROVED: frozenset({Status.STARTED, Status.LAPSED, Status.CANCELLED}),
    Status.STARTED: frozenset({Status.SUCCEEDED, Status.FAILED, Status.UNKNOWN}),
    Status.UNKNOWN: frozenset({Status.SUCCEEDED, Status.FAILED}),
}
"""Which status may follow which. What is not listed is final."""

RUNNABLE = frozenset({Status.ALLOWED, Status.APPROVED})
FINAL = frozenset(Status) - frozenset(NEXT)


class Effect(models.TextChoices):
    """What a policy does to a call it matches."""

    ALLOW = "allow", "Allow"
    ASK = "ask", "Ask"
    ALWAYS_ASK = "always_ask", "Always ask"
    BLOCK = "block", "Block"


class Risk(models.TextChoices):
    LOW = "low", "Low"
    MEDIUM = "medium", "Medium"
    HIGH = "high", "High"


class Choice(models.TextChoices):
    """What a reviewer can decide."""

    APPROVE = "approve", "Approve"
    DENY = "deny", "Deny"
    TRUST = "trust", "Trust"
