"""Celery tasks. Each takes ids and calls an action; a message that comes twice or late does no harm."""

from celery import shared_task

from agents import driver
from agents.actions import runs
from approvals.actions import calls


@shared_task(name="agents.tasks.advance")
def advance(run_id: str) -> None:
    """Take a run and drive it to its end or its next pause."""
    driver.advance(run_id)


@shared_task(name="agents.tasks.sweep")
def sweep() -> None:
    """Find what is due: forgotten runs, dead leases, expired approvals."""
    calls.expire_due()
    runs.sweep_ends()
    runs.sweep()
