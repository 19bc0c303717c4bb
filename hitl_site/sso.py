"""Single sign-on with OpenID Connect (django-allauth): who comes in by it, and with which rights."""

from __future__ import annotations

from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.providers.base import AuthProcess
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import Group, User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from approvals import audit
from approvals.actions import changes
from approvals.fields import storable
from approvals.permissions import ADMINISTRATORS, DEMO_PEOPLE

ACTOR = "single sign-on"
NOBODYS = frozenset(
    {ACTOR, "agent", "manage.py", "seed", "system"}
)  # who acts in the audit trail besides people


class Adapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """People are known by the provider's id for them. A name that somebody has here already is not taken over."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return True

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        if sociallogin.state.get("process", AuthProcess.LOGIN) != AuthProcess.LOGIN:
            # nobody's account at the provider is tied to whoever happens to be signed in here
            raise ImmediateHttpResponse(_page(request, "This only signs people in.", 403))
        name = sociallogin.user.username
        if sociallogin.is_existing:
            _give_groups(sociallogin.user, _claims(sociallogin))
        elif name.lower() in NOBODYS or User.objects.filter(username__iexact=name).exists():
            why = f"There is a person named {name} here already, who signs in in another way."
            raise ImmediateHttpResponse(_page(request, why, 409))

    def populate_user(self, request: HttpRequest, sociallogin: Any, data: Any) -> User:
        claims = _claims(sociallogin)
        user: User = sociallogin.user
        name = claims.get("preferred_username") or claims.get("email") or sociallogin.account.uid
        user.username = storable(str(name))[:150]
        user.email = storable(str(claims.get("email") or ""))[:254]
        return user

    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> User:
        with audit.audited():
            user: User = sociallogin.user
            user.set_unusable_password()
            sociallogin.save(request)
            audit.record("person.changed", ACTOR, before=None, after=changes.person(user))
            _give_groups(user, _claims(sociallogin))
        return user


@audit.audited()
def _give_groups(user: User, claims: dict[str, Any]) -> None:
    """Where the provider says who is in which group, that is so here too, from each sign-in on."""
    if not settings.OIDC_GROUPS_CLAIM:
        return
    named = claims.get(settings.OIDC_GROUPS_CLAIM)
    names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    before = changes.person(user)
    user.groups.set(Group.objects.filter(name__in=names).exclude(name=DEMO_PEOPLE))
    user.is_staff = ADMINISTRATORS in names
    user.save(update_fields=["is_staff"])
    changes.record("person.changed", ACTOR, before, changes.person(user))


def _claims(sociallogin: Any) -> dict[str, Any]:
    claims: dict[str, Any] = sociallogin.account.get_provider_account().get_user_data() or {}
    return claims


@login_not_required
def refused(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    """The provider did not let them in, or Nod does not."""
    return _page(request, "The sign-in was broken off, or this person may not sign in here.", 403)


def _page(request: HttpRequest, why: str, status: int) -> HttpResponse:
    return render(request, "sso_refused.html", {"why": why}, status=status)
