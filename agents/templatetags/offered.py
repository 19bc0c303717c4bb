"""What the person may do with a call in the chat."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django import template

from agents.deciding import Inline

register = template.Library()


@register.filter
def offered(offers: Mapping[UUID, Inline] | str, call: Any) -> Inline | None:
    """The offer for a call, if there is one."""
    return offers.get(call.pk) if isinstance(offers, Mapping) and call is not None else None
