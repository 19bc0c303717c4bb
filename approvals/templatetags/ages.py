"""How long ago something was. static/js/nod.js keeps the text going, in the same words."""

from datetime import datetime

from django import template
from django.utils import timezone

from approvals.presentation import span

register = template.Library()


@register.filter
def age(moment: datetime) -> str:
    """"40 s"."""
    return span(timezone.now() - moment)


@register.filter
def age_words(moment: datetime) -> str:
    """"40 seconds"."""
    return span(timezone.now() - moment, words=True)
