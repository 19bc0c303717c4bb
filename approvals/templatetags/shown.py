"""Arguments in one line, with what deceives marked."""

from typing import Any

from django import template
from django.utils.safestring import SafeString

from approvals.presentation import mark, summary

register = template.Library()


@register.filter
def summarised(arguments: Any) -> SafeString:
    return mark(summary(arguments))
