"""Small drawings in SVG for the figures. Attributes and classes only: the page allows no inline styles.

Bars have widths in per cent and no viewBox, so that they keep their height and their text its size on every screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT = 600, 120  # of a drawing over time; it is stretched to its place
SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
TICKS = (
    (SECOND, "1 s"),
    (10 * SECOND, "10 s"),
    (MINUTE, "1 min"),
    (10 * MINUTE, "10 min"),
    (HOUR, "1 h"),
    (6 * HOUR, "6 h"),
    (DAY, "1 day"),
    (7 * DAY, "7 days"),
    (30 * DAY, "30 days"),
    (365 * DAY, "1 year"),
)


class Part(NamedTuple):
    """One piece of a stacked bar: `kind` is its CSS class, `share` of the whole bar."""

    kind: str
    share: float


def stack(parts: Sequence[Part], title: str) -> SafeString:
    """One bar of pieces side by side; pieces of nothing are left out."""
    pieces, at = [], 0.0
    for part in parts:
        if part.share > 0:
            pieces.append((_percent(at), _percent(part.share), part.kind))
        at += part.share
    drawn = format_html_join("", '<rect x="{}" y="0" width="{}" height="100%" class="{}"/>', pieces)
    return _bar("stack", title, drawn)


def times(median: int, p90: int, longest: int, title: str) -> SafeString:
    """A dot at the median and a ring at p90, with a line between, on the scale that `ruler` draws."""
    at, to = _percent(place(median, longest)), _percent(place(p90, longest))
    drawn = format_html(
        '<line class="track" x1="1%" x2="99%" y1="50%" y2="50%"/>'
        '<line class="reach" x1="{0}" x2="{1}" y1="50%" y2="50%"/>'
        '<circle class="p90" cx="{1}" cy="50%" r="5"/><circle class="median" cx="{0}" cy="50%" r="5"/>',
        at,
        to,
    )
    return _bar("times", title, drawn)


def ruler(longest: int) -> SafeString:
    """The scale under `times`: each step to the right is a multiple. For the eye only; the rows say their figures."""
    ticks = [(_percent(place(ms, longest)), name) for ms, name in _ticks(longest)]
    marks = format_html_join("", '<text x="{}" y="12" text-anchor="middle">{}</text>', ticks)
    return format_html('<svg class="ruler" width="100%" height="16" aria-hidden="true">{}</svg>', marks)


def place(ms: int, longest: int) -> float:
    """Where a time stands on the scale, from .04 to .96."""
    end = _end(longest)
    return 0.04 + 0.92 * log10(min(max(ms, SECOND), end) / SECOND) / log10(end / SECOND)


def _end(longest: int) -> int:
    """The last tick, which is no shorter than the longest time."""
    return next((ms for ms, _ in TICKS[1:] if ms >= longest), TICKS[-1][0])


def _ticks(longest: int) -> list[tuple[int, str]]:
    """Not more than a phone has room for."""
    ticks = [tick for tick in TICKS if tick[0] <= _end(longest)]
    return ticks if len(ticks) <= 5 else [*ticks[: -2 : len(ticks) // 4 + 1], ticks[-1]]


def area(values: Sequence[int], title: str) -> SafeString:
    """How a number went over time, as steps over a ground line."""
    top, wide = max([1, *values]), WIDTH / max(1, len(values))
    path = [f"M0 {HEIGHT}"]
    for number, value in enumerate(values):
        y = _round(HEIGHT - (HEIGHT - 4) * value / top)
        path.append(f"L{_round(number * wide)} {y}L{_round((number + 1) * wide)} {y}")
    path.append(f"L{WIDTH} {HEIGHT}")
    drawn = format_html('<path class="area" d="{}" vector-effect="non-scaling-stroke"/>', "".join(path))
    return _over_time(title, drawn)


def columns(values: Sequence[int], title: str) -> SafeString:
    """A column for each interval."""
    top, wide = max([1, *values]), WIDTH / max(1, len(values))
    bars = [
        (_round(number * wide + wide * 0.1), _round(HEIGHT - tall), _round(wide * 0.8), _round(tall))
        for number, value in enumerate(values)
        for tall in [(HEIGHT - 4) * value / top]
        if value
    ]
    drawn = format_html_join("", '<rect class="column" x="{}" y="{}" width="{}" height="{}"/>', bars)
    return _over_time(title, drawn)


def _over_time(title: str, drawn: SafeString) -> SafeString:
    return format_html(
        '<svg class="over-time" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"><title>{}</title>{}</svg>',
        WIDTH,
        HEIGHT,
        title,
        drawn,
    )


def _bar(kind: str, title: str, drawn: SafeString) -> SafeString:
    return format_html(
        '<svg class="{}" width="100%" height="16" role="img"><title>{}</title>{}</svg>', kind, title, drawn
    )


def _percent(share: float) -> str:
    return f"{_round(share * 100)}%"


def _round(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")
