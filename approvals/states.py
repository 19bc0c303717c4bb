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

BACK: dict[Status, frozenset[Status]] = {
    Status.APPROVED: frozenset({Status.PENDING}),
    Status.DENIED: frozenset({Status.PENDING}),
    Status.UNKNOWN: frozenset({Status.APPROVED}),
}
"""Only a person takes a call back: by undoing a decision, or by having what did not happen run again."""

UNSETTLED = frozenset({Status.PENDING, Status.UNKNOWN})
"""What waits for a person."""

RUNNABLE = frozenset({Status.ALLOWED, Status.APPROVED})
FINAL = frozenset(Status) - frozenset(NEXT)


ELSEWHERE = "elsewhere"
"""The provider of tools that agents have which run elsewhere."""


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


class Notify(models.TextChoices):
    """How those who may decide are written to when a call waits. Empty: not at all."""

    EMAIL = "email", "By e-mail"
    PUSH = "push", "By push"
    BOTH = "email,push", "By e-mail and by push"


class Channel(models.TextChoices):
    EMAIL = "email", "E-mail"
    PUSH = "push", "Push"


class Fault(models.TextChoices):
    """Why a call did not run as it was decided, or why nobody knows what became of it."""

    ARGUMENTS = "arguments_changed", "Its arguments are not those that were approved"
    REQUEST = "request_changed", "The agent asks for something else than what was approved"
    DEFINITION = "definition_changed", "The tool was changed after the decision"
    BLOCKED = "blocked", "A policy blocks it now"
    REVOKED = "trust_revoked", "The trust with which it was approved was revoked"
    APPROVALS = "approvals_missing", "Fewer people approve it than it takes"
    STRICTER = "policy_stricter", "The policies ask for more now than it was approved with"
    TOO_LATE = "too_late", "The approval was not used in time"
    WORKER_DIED = "worker_died", "The worker died while it ran"
    STOPPED = "stopped", "The worker was stopped while it ran"
    SILENT = "silent", "Whoever ran it did not say in time what became of it"
    TIMED_OUT = "timed_out", "It took too long, and nobody waited for its end"


class Outcome(models.TextChoices):
    """How a person settles a call whose outcome is unknown."""

    HAPPENED = "happened", "It happened"
    RUN_AGAIN = "run_again", "It did not happen: run it again"
    GIVE_UP = "give_up", "Give it up"


class Choice(models.TextChoices):
    """What a reviewer can decide."""

    APPROVE = "approve", "Approve"
    DENY = "deny", "Deny"
    TRUST = "trust", "Trust"
