"""Wakes a run once people have decided all of its pending calls, in the same transaction."""

from typing import Any

from django.dispatch import receiver

from agents.actions import runs
from approvals.models import ToolCall
from approvals.signals import settled


@receiver(settled, dispatch_uid="agents.wake")
def wake(call: ToolCall, **kwargs: Any) -> None:
    if call.run:
        runs.wake_if_decided(call.run)
