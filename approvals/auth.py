"""Signing in, and what is told of it."""

from __future__ import annotations

from typing import Any

from axes.signals import user_locked_out
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest

from approvals import audit
from approvals.fields import storable
from approvals.permissions import may_sign_in


class PeopleBackend(ModelBackend):
    """Names and passwords. Demo people, whose password everybody knows, exist only with DEBUG on."""

    def user_can_authenticate(self, user: User | AnonymousUser | None) -> bool:
        return super().user_can_authenticate(user) and user is not None and may_sign_in(user)


@receiver(user_logged_in, dispatch_uid="approvals.signed_in")
def _signed_in(user: Any, **kwargs: Any) -> None:
    _record("person.signed_in", user.get_username())


@receiver(user_logged_out, dispatch_uid="approvals.signed_out")
def _signed_out(user: Any, **kwargs: Any) -> None:
    if user:
        _record("person.signed_out", user.get_username())


@receiver(user_login_failed, dispatch_uid="approvals.sign_in_failed")
def _failed(credentials: dict[str, Any], **kwargs: Any) -> None:
    _record("person.sign_in_failed", storable(str(credentials.get("username", "")))[:150])


@receiver(user_locked_out, dispatch_uid="approvals.locked_out")
def _locked_out(username: str, **kwargs: Any) -> None:
    _record("person.locked_out", storable(str(username))[:150])


def tried_name(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str:
    """The name by which django-axes counts: as its column takes it, however long a name somebody sends."""
    sent = credentials if credentials is not None else request.POST
    return storable(str(sent.get("username") or ""))[:150]


def _record(kind: str, actor: str) -> None:
    with transaction.atomic():
        audit.record(kind, actor)
