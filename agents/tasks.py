"""Celery tasks. Each takes ids and calls an action; a message that comes twice or late does no harm."""

from celery import shared_task

from agents import asking, driver, trials


@shared_task(name="agents.tasks.advance")
def advance(run_id: str) -> None:
    """Take a run and drive it to its end or its next pause."""
    driver.advance(run_id)


@shared_task(name="agents.tasks.try_model")
def try_model(trial_id: str) -> None:
    """Ask a model the question of a trial."""
    trials.answer(trial_id)


@shared_task(name="agents.tasks.ask")
def ask(call_id: str) -> None:
    """Give a pending call to the operator's hook."""
    asking.begin(call_id)
