"""Dates that people give in the address of a page."""

from __future__ import annotations

from datetime import datetime, time, timedelta

from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_date


def day(text: str) -> datetime | None:
    """The beginning of the day, as 2026-03-31 names it; None where it is no date."""
    try:
        found = parse_date(text)
    except ValueError:
        return None
    if found and not 1 < found.year < 9999:
        return None
    return timezone.make_aware(datetime.combine(found, time())) if found else None


def within(field: str, since: str, until: str) -> Q:
    """From the first day to the end of the last; what is empty or no date sets no limit."""
    fits = Q()
    if begin := day(since):
        fits &= Q(**{f"{field}__gte": begin})
    if end := day(until):
        fits &= Q(**{f"{field}__lt": end + timedelta(days=1)})
    return fits


def problem(*texts: str) -> str:
    """A sentence about the last of these that is no date, or nothing."""
    wrong = [text for text in texts if text and day(text) is None]
    return f"“{wrong[-1]}” is no date. Write it as 2026-03-31." if wrong else ""
