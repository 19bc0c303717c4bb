"""Quantiles and tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

Row = dict[str, float | int | str]


def quantiles(milliseconds: Sequence[float]) -> Row:
    """p50, p95 and p99 of a sample, in the sample's unit."""
    cuts = statistics.quantiles(milliseconds, n=100, method="inclusive")
    return {
        "n": len(milliseconds),
        "p50": round(cuts[49], 1),
        "p95": round(cuts[94], 1),
        "p99": round(cuts[98], 1),
    }


def table(title: str, rows: Iterable[Row]) -> str:
    """A text table; the columns are those of the first row."""
    rows = list(rows)
    if not rows:
        return f"{title}: not measured\n"
    columns = list(rows[0])
    widths = {name: max(len(name), *(len(str(row[name])) for row in rows)) for name in columns}
    lines = [title, "  ".join(name.ljust(widths[name]) for name in columns)]
    lines += ["  ".join(str(row[name]).ljust(widths[name]) for name in columns) for row in rows]
    return "\n".join(line.rstrip() for line in lines) + "\n"
