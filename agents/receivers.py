"""What the desk does to a call changes its run too, in the same transaction."""

from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.db import transaction
from django.dispatch import receiver

from agents import wakeups
from agents.actions import runs
from agents.models import Agent
from approvals.models import ToolCall
from approvals.signals import asked, known_agents, reopening, resumed, settled


@receiver(asked, dispatch_uid="agents.hook")
def tell_hook(call: ToolCall, **kwargs: Any) -> None:
    """A worker gives it to the operator's hook, if there is one."""
    if settings.NOD_ASK:
        transaction.on_commit(lambda: wakeups.ask(str(call.pk)))


@receiver(settled, dispatch_uid="agents.wake")
def wake(call: ToolCall, **kwargs: Any) -> None:
    """People have decided the last of its calls: the run is due."""
    if call.run:
        runs.wake_if_decided(call.run)


@receiver(reopening, dispatch_uid="agents.put_back")
def put_back(call: ToolCall, **kwargs: Any) -> None:
    """A decision is undone: the run waits again, unless a worker has told the model already."""
    if call.run:
        runs.put_back(call)


@receiver(resumed, dispatch_uid="agents.must_be_active")
def must_be_active(call: ToolCall, **kwargs: Any) -> None:
    """What is to run again needs a run that is there to do it."""
    if call.run:
        runs.require_active(call.run)


@receiver(known_agents, dispatch_uid="agents.slugs")
def slugs(**kwargs: Any) -> Collection[str]:
    """Those of all agents, also of the ones that are switched off."""
    return list(Agent.objects.values_list("slug", flat=True))
