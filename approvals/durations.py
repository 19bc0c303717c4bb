"""Durations as people write them: 45s, 15m, 8h, 2d."""

import re
from datetime import timedelta

from approvals.errors import InvalidInput

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
LONGEST = timedelta(days=365)


def parse_duration(text: str | int | float) -> timedelta:
    """A positive duration of at most a year; a bare number is seconds. Raises InvalidInput."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", str(text), re.ASCII)
    if not match or len(match[1]) > 12:
        raise InvalidInput(f"“{text}” is no duration. Write a number of seconds, or 45s, 15m, 8h, 2d.")
    duration = (
        timedelta(**{_UNITS[match[2] or "s"]: float(match[1])}) if float(match[1]) < 4e7 else LONGEST * 2
    )
    if not timedelta() < duration <= LONGEST:
        raise InvalidInput("A duration has to be longer than nothing and at most a year.")
    return duration


def format_duration(duration: timedelta) -> str:
    """As `parse_duration` takes it, in the largest unit that fits exactly."""
    seconds = duration.total_seconds()
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:g}s" if seconds < 1e5 else f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"
