"""Arguments in one line, with what deceives marked."""

from typing import Any

from django import template
from django.utils.safestring import SafeString

from approvals.presentation import mark, summary

register = template.Library()


@register.filter
def summarised(arguments: Any) -> SafeString:
    return mark(summary(arguments))


@register.filter
def named(pages: dict[str, int], name: str) -> int | None:
    """What there is under a name."""
    return pages.get(name)
