"""Code of the operator's own that Nod asks: NOD_ASK, NOD_EVALUATE and NOD_EVALUATE_TRUST (docs/terminal.md)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias, cast

from django.conf import settings
from django.utils.module_loading import import_string

from approvals import answers
from approvals.states import Choice

NAMES = ("NOD_ASK", "NOD_EVALUATE", "NOD_EVALUATE_TRUST")
EXAMPLE = "approvals.examples.ask_over_http.ask"


@dataclass(frozen=True)
class Asked:
    """A call that waits for a person, as NOD_ASK is given it. `arguments` are what would run, secrets included.

    `prompt` is for people: secrets are masked in it, and what could deceive is made visible. `word`: what the policy
    demands to be typed, if anything. `trustable`: trust may be the answer.
    """

    id: str
    version: int
    digest: str
    session: str
    tool: str
    arguments: Any
    risk: str
    reason: str
    policy: str
    requested_by: str
    trustable: bool
    word: str
    expires_at: datetime | None
    url: str
    prompt: str


@dataclass(frozen=True)
class Answer:
    """What somebody answered, and who: the name of a person at Nod. A denial is explained by its `comment`.

    `confirm`: the word that a policy demands, where the response is another one.
    """

    response: object
    decided_by: str
    comment: str = ""
    confirm: str = ""
    trust_for: timedelta | None = None
    trust_uses: int | None = None


Ask: TypeAlias = Callable[[Asked], "Answer | None | Awaitable[Answer | None]"]
Evaluate: TypeAlias = Callable[[object], bool]


class BadHook(Exception):
    """A setting names no function. The text is one line for the operator."""


def ask() -> Ask | None:
    """The function that pending calls are given to, if there is one."""
    return cast(Ask, load("NOD_ASK")) if settings.NOD_ASK else None


def evaluate() -> Evaluate:
    """Whether a response approves."""
    return cast(Evaluate, load("NOD_EVALUATE")) if settings.NOD_EVALUATE else answers.approves


def evaluate_trust() -> Evaluate:
    """Whether a response trusts, where trust is possible."""
    return cast(Evaluate, load("NOD_EVALUATE_TRUST")) if settings.NOD_EVALUATE_TRUST else answers.trusts


def choice_of(response: object, *, trustable: bool, word: str = "") -> Choice:
    """What a response decides, by these functions."""
    return answers.choice_of(
        response, trustable=trustable, word=word, evaluate=evaluate(), evaluate_trust=evaluate_trust()
    )


def check() -> None:
    """Raises BadHook for a setting that names no function."""
    for name in NAMES:
        if getattr(settings, name):
            load(name)


def load(name: str) -> Callable[..., object]:
    """The function that a setting names. Raises BadHook."""
    path = getattr(settings, name)
    try:
        found = import_string(path)
    except Exception as error:  # whatever the operator's module raises while it is imported
        why = " ".join(str(error).split())
        raise BadHook(f"{name}={path} is not usable ({type(error).__name__}: {why}). {_HINT}") from None
    if not callable(found):
        raise BadHook(f"{name}={path} is no function. {_HINT}")
    return cast(Callable[..., object], found)


_HINT = f"Give the dotted path of a function, such as {EXAMPLE}."
