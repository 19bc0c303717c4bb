"""What every page's header shows. Lazy: nothing is asked of the database before a template uses it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property

from approvals import permissions
from approvals.states import UNSETTLED


class Desk:
    """The person's place in Nod."""

    def __init__(self, request: HttpRequest) -> None:
        self._user = getattr(request, "user", AnonymousUser())

    @property
    def demo(self) -> bool:
        return bool(settings.DEMO)

    @property
    def sso(self) -> str:
        """What the single sign-on is called; empty where there is none."""
        return settings.SSO["name"] if settings.SSO else ""

    @property
    def now(self) -> int:
        """The server's clock, so that ages are right on machines whose own is wrong."""
        return int(timezone.now().timestamp() * 1000)

    @cached_property
    def may_chat(self) -> bool:
        return permissions.may_chat(self._user)

    @cached_property
    def may_review(self) -> bool:
        return permissions.may_review(self._user)

    @cached_property
    def may_audit(self) -> bool:
        return permissions.may_audit(self._user)

    @cached_property
    def pending(self) -> int:
        """How many calls wait that this person sees."""
        return permissions.visible_calls(self._user).filter(status__in=UNSETTLED).count()


def desk(request: HttpRequest) -> dict[str, Any]:
    return {"desk": Desk(request)}
