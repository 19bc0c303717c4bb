"""Where a run stands."""

from django.db import models


class RunStatus(models.TextChoices):
    """QUEUED is due: a worker may take it. WAITING is asleep in the database until people have decided.

    QUARANTINED broke off too often; an administrator has to look before it is tried again.
    """

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    WAITING = "waiting", "Waiting"
    QUARANTINED = "quarantined", "Set aside"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    STOPPED = "stopped", "Stopped"


ACTIVE = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING, RunStatus.QUARANTINED)


class QuestionStatus(models.TextChoices):
    """HANDED_OVER wants no answer: the agent stops, and the user goes on when they like."""

    OPEN = "open", "Open"
    ANSWERED = "answered", "Answered"
    CANCELLED = "cancelled", "Cancelled"
    HANDED_OVER = "handed_over", "Handed over"
