"""How long ago something was. static/js/nod.js keeps the text going, in the same words."""

from datetime import datetime

from django import template
from django.utils import timezone

from approvals.presentation import span

register = template.Library()


@register.filter
def age(moment: datetime) -> str:
    """40 s"""
    return span(timezone.now() - moment)


@register.filter
def age_words(moment: datetime) -> str:
    """40 seconds"""
    return span(timezone.now() - moment, words=True)


@register.filter
def ago(moment: datetime) -> str:
    """40 s ago, or just now"""
    return _ago(age(moment))


@register.filter
def ago_words(moment: datetime) -> str:
    """40 seconds ago, or just now"""
    return _ago(age_words(moment))


def _ago(text: str) -> str:
    return "just now" if text.startswith("0 ") else f"{text} ago"
