"""What each agent's model cost in a period, for the page of figures. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Count, F, Q, Sum
from django.db.models.functions import Coalesce

from agents.costs import Cost, lasted
from agents.models import Run
from approvals.figures import percentile
from approvals.insights import Listed


@dataclass(frozen=True)
class Row:
    """An agent, with the model that it has now."""

    agent: str
    model: str
    runs: int
    cost: Cost
    median: str
    p95: str


def by_agent(start: datetime, end: datetime, agent: str = "") -> list[Row]:
    """The agents whose models have told what they used, the busiest first."""
    counted = Q(input_tokens__gt=0) | Q(output_tokens__gt=0) | Q(cache_read_tokens__gt=0)
    runs = Run.objects.filter(counted, created_at__gt=start, created_at__lte=end)
    if agent:
        runs = runs.filter(session__agent__slug=agent)
    groups = runs.order_by().values(
        slug=F("session__agent__slug"),
        provider=F("session__agent__provider"),
        model=F("session__agent__model_id"),
    )
    read = Coalesce(Sum(F("input_tokens") + F("cache_read_tokens") + F("cache_write_tokens")), 0)
    found = groups.annotate(
        runs=Count("pk"),
        read=read,
        cached=Coalesce(Sum("cache_read_tokens"), 0),
        written=Coalesce(Sum("output_tokens"), 0),
        took=Coalesce(Sum("model_ms"), 0),
        times=Listed("model_ms"),
    )
    return sorted(map(_row, found), key=lambda row: (-row.cost.read, row.agent))


def _row(group: Any) -> Row:
    times = sorted(group["times"])
    provider = group["provider"] or settings.NOD_MODEL_PROVIDER
    return Row(
        agent=group["slug"],
        model=f"{provider}: {group['model'] or 'its default'}",
        runs=group["runs"],
        cost=Cost(group["read"], group["cached"], group["written"], group["took"]),
        median=lasted(percentile(times, 50) or 0),
        p95=lasted(percentile(times, 95) or 0),
    )
