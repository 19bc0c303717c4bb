"""Who sits at the terminal. Every decision names a person, so the person says that they are it (decisions/0021)."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass, field

from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import CommandError
from django.http import HttpRequest

from approvals import audit, permissions
from approvals.actions import tokens
from approvals.fields import storable

TRIES = 3


@dataclass(frozen=True)
class Person:
    """`decides`: they may also decide, where a policy lets them; a token without the scope review may not."""

    user: User
    decides: bool = True
    token: str = field(default="", compare=False, repr=False)

    def now(self) -> User:
        """As the database has them by now, for each thing that they do: a terminal stays open for days.

        Raises CommandError where they may not be here any more.
        """
        found = User.objects.filter(pk=self.user.pk, is_active=True).first()
        known = found is not None and permissions.may_sign_in(found) and permissions.may_chat(found)
        if found is None or not known or (self.token and tokens.find(self.token) is None):
            name = self.user.get_username()
            raise CommandError(f"{name} may not chat here any more. Nothing was decided or sent.")
        return found


def sign_in(name: str, ask_name: Callable[[], str] | None, ask_password: Callable[[str], str]) -> Person:
    """Raises CommandError, with a sentence that says what to do."""
    person = _by_token(settings.NOD_TOKEN, name) if settings.NOD_TOKEN else _by_name(name, ask_name)
    if not isinstance(person, Person):
        _prove(person, ask_password)
        person = Person(person)
    if not permissions.may_chat(person.user):
        who = person.user.get_username()
        raise CommandError(f"{who} is not in the group of chat users. An administrator can add them.")
    with audit.audited():
        audit.record("person.signed_in", person.user.get_username(), by="terminal")
    return person


def _by_token(key: str, name: str) -> Person:
    token = tokens.find(key)
    if token is None or "chat" not in token.scopes:
        raise CommandError(
            "NOD_TOKEN is no token for this. Make one: manage.py token USER --scope chat,review"
        )
    if name and token.user.get_username() != name:
        raise CommandError(
            f"NOD_TOKEN is {token.user.get_username()}'s, not {name}'s. Leave one of them out."
        )
    return Person(token.user, "review" in token.scopes, key)


def _by_name(name: str, ask_name: Callable[[], str] | None) -> User:
    chosen = name or _own_name()
    if not chosen:
        if ask_name is None:
            raise CommandError("Nobody can be asked here who you are. Say it: manage.py chat --as USER")
        chosen = ask_name().strip()
    user = User.objects.filter(username=storable(chosen), is_active=True).first()
    if user is None or not permissions.may_sign_in(user):
        raise CommandError(f"There is no active person named {chosen!r}. See /admin/auth/user/.")
    return user


def _own_name() -> str:
    """The name of the system's account, where a person at Nod has the same."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""
    return name if User.objects.filter(username=name, is_active=True).exists() else ""


def _prove(user: User, ask_password: Callable[[str], str]) -> None:
    """Their password; but for demo people, whose password everybody knows."""
    name = user.get_username()
    if settings.DEMO and permissions.DEMO_PEOPLE in permissions.group_names(user):
        return
    if not user.has_usable_password():
        raise CommandError(
            f"{name} has no password. Make a token (manage.py token {name} --scope chat,review) "
            "and give it as NOD_TOKEN."
        )
    for _ in range(TRIES):
        if authenticate(_request(), username=name, password=ask_password(f"Password of {name}: ")):
            return
    raise CommandError(
        f"That is not the password of {name}. After ten wrong ones it takes fifteen minutes to try again."
    )


def _request() -> HttpRequest:
    """For django-axes, which counts wrong passwords by name and address."""
    request = HttpRequest()
    request.META["REMOTE_ADDR"] = "127.0.0.1"
    return request
