"""Where a run stands."""

from django.db import models


class RunStatus(models.TextChoices):
    """QUEUED is due: a worker may take it. WAITING is asleep in the database until people have decided."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    WAITING = "waiting", "Waiting"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    STOPPED = "stopped", "Stopped"


ACTIVE = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING)
