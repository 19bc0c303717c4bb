"""What a run cost at its model, in words: tokens and time. Runs of the scripted demo cost nothing."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Sum

from agents.actions.runs import COSTS
from agents.models import Run, Session


@dataclass(frozen=True)
class Cost:
    """Of one run, or of several together."""

    read: int  # tokens in all, those of the model's cache among them
    cached: int  # of these, read from its cache
    written: int
    milliseconds: int

    def __bool__(self) -> bool:
        return bool(self.read or self.written)

    def __str__(self) -> str:
        """As "1,240 tokens in, 85 out · 2.3 s"."""
        cached = f" ({self.cached:,} from the cache)" if self.cached else ""
        return f"{self.read:,} tokens in{cached}, {self.written:,} out · {lasted(self.milliseconds)}"


def of(run: Run) -> Cost:
    read = run.input_tokens + run.cache_read_tokens + run.cache_write_tokens
    return Cost(read, run.cache_read_tokens, run.output_tokens, run.model_ms)


def of_session(session: Session) -> dict[str, int]:
    """Of all its runs, by the names of Run's columns."""
    sums = session.runs.aggregate(**{name: Sum(name) for name in COSTS})
    return {name: value or 0 for name, value in sums.items()}


def lasted(milliseconds: int) -> str:
    """As "0.4 s", "42 s", "3.5 min"."""
    seconds = milliseconds / 1000
    if seconds >= 60:
        return f"{seconds / 60:.1f} min"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
