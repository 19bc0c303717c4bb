"""How long ago something was, for a worker that may have stood still: frozen, asleep, paused with its machine."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

# Linux' monotonic clock stands still while the machine sleeps; this one goes on.
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _now() -> tuple[float, float]:
    """Two clocks: one that nobody sets, and the wall's, which also shows what a hypervisor kept from the first."""
    return time.clock_gettime(_BOOT), time.time()


@dataclass(frozen=True)
class Deadline:
    """A moment, by both clocks; it has passed when either says so."""

    boot: float = math.inf
    wall: float = math.inf

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        boot, wall = _now()
        return cls(boot + seconds, wall + seconds)

    def later(self, within: float | None, before: float | None) -> Deadline:
        """`within` seconds after this moment, and not after the wall's `before` (Unix time); None is no limit."""
        return Deadline(
            math.inf if within is None else self.boot + within, math.inf if before is None else before
        )

    def left(self) -> float:
        """Seconds until then, by the clock that nobody sets."""
        return self.boot - _now()[0]

    def passed(self) -> bool:
        boot, wall = _now()
        return boot > self.boot or wall > self.wall


NEVER = Deadline()
