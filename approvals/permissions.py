"""Who may see and decide what. Every view, socket and API call asks here."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.db.models import Q, QuerySet

from approvals.errors import NotAReviewer, Refusal, SelfApproval
from approvals.models import ToolCall

if TYPE_CHECKING:
    Person: TypeAlias = User | AnonymousUser | AbstractBaseUser

CHAT_USERS = "chat users"
ADMINISTRATORS = "administrators"

DEMO_PEOPLE = "demo people"

DECIDE = "approvals.review_toolcall"


def group_names(user: Person) -> frozenset[str]:
    """The groups of a person; asked once a request."""
    if not isinstance(user, User) or not user.is_active:
        return frozenset()
    if not hasattr(user, "_nod_groups"):
        user._nod_groups = frozenset(user.groups.values_list("name", flat=True))  # type: ignore[attr-defined]
    return user._nod_groups  # type: ignore[attr-defined,no-any-return]


def may_sign_in(user: Person) -> bool:
    """Demo people may not with DEBUG off, even where they were seeded once."""
    return settings.DEMO or DEMO_PEOPLE not in group_names(user)


def may_chat(user: Person) -> bool:
    return CHAT_USERS in group_names(user)


def may_review(user: Person) -> bool:
    """May open the approval queue. What they see there depends on their groups."""
    return isinstance(user, User) and user.has_perm(DECIDE)


def visible_calls(user: Person) -> QuerySet[ToolCall]:
    """The asked calls that one of the person's groups may decide; all of them for administrators."""
    if not may_review(user):
        return ToolCall.objects.none()
    asked = ToolCall.objects.exclude(groups="")
    names = group_names(user)
    if ADMINISTRATORS in names:
        return asked
    mine = Q(pk=None)
    for name in names:
        mine |= Q(groups__contains=f"|{name}|")
    return asked.filter(mine)


def refusal(user: Person, call: ToolCall) -> Refusal | None:
    """Why this person may not decide this call, or None. Being a superuser changes nothing."""
    allowed = call.group_names()
    if not group_names(user) & set(allowed):
        return NotAReviewer(f"Only {' or '.join(allowed) or 'reviewers'} may decide this call.")
    if user.pk == call.requested_by_id and not call.term("requester_may_decide"):
        return SelfApproval("You asked for this yourself; somebody else has to decide it.")
    return None
