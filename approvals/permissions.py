"""Who may see and decide what. Every view, socket and API call asks here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Permission, User
from django.db.models import Exists, OuterRef, Q, QuerySet

from approvals.errors import NotAReviewer, Refusal, SelfApproval
from approvals.models import Decision, ToolCall, TrustGrant
from approvals.states import Status

if TYPE_CHECKING:
    Person: TypeAlias = User | AnonymousUser | AbstractBaseUser

CHAT_USERS = "chat users"
ADMINISTRATORS = "administrators"
AUDITORS = "auditors"  # see what administrators see of calls, and change nothing

SEE_ALL = frozenset({ADMINISTRATORS, AUDITORS})

DEMO_PEOPLE = "demo people"

REVIEW = "approvals.review_toolcall"


def group_names(user: Person) -> frozenset[str]:
    """The groups of a person who is active."""
    return frozenset(_groups(user))


def _groups(user: Person) -> dict[str, bool]:
    """The groups of a person, and whether each may review; asked once a request, since pages need both."""
    if not isinstance(user, User) or not user.is_active:
        return {}
    if not hasattr(user, "_nod_groups"):
        app, codename = REVIEW.split(".")
        right = Permission.objects.filter(
            group=OuterRef("pk"), codename=codename, content_type__app_label=app
        )
        rows = user.groups.annotate(reviews=Exists(right)).values_list("name", "reviews")
        user._nod_groups = dict(rows)  # type: ignore[attr-defined]
    return user._nod_groups  # type: ignore[attr-defined,no-any-return]


def may_sign_in(user: Person) -> bool:
    """Demo people may not with DEBUG off, even where they were seeded once."""
    return settings.DEMO or DEMO_PEOPLE not in group_names(user)


def may_chat(user: Person) -> bool:
    return CHAT_USERS in group_names(user)


def may_review(user: Person) -> bool:
    """May open the approval queue, by one of their groups. What they see there depends on these too."""
    return any(_groups(user).values())


def may_audit(user: Person) -> bool:
    """May read the audit trail."""
    return isinstance(user, User) and user.is_active and user.has_perm("approvals.view_auditentry")


def may_see(user: Person, call: ToolCall) -> bool:
    """Whether `visible_calls` holds the call; no query."""
    names = group_names(user)
    return bool(call.groups) and may_review(user) and bool(names & {*SEE_ALL, *call.group_names()})


def visible_calls(user: Person) -> QuerySet[ToolCall]:
    """The asked calls that one of the person's groups may decide; all of them for administrators and auditors."""
    return ToolCall.objects.filter(_visible(user)) if may_review(user) else ToolCall.objects.none()


def _visible(user: Person) -> Q:
    names = group_names(user)
    mine = Q(pk=None)
    for name in names:
        mine |= Q(groups__contains=f"|{name}|")
    return ~Q(groups="") if names & SEE_ALL else ~Q(groups="") & mine


def recorded_calls(user: Person) -> QuerySet[ToolCall]:
    """What the person may look up: `visible_calls` and what was trusted because of one of these; administrators and
    auditors also what a policy blocked or allowed. Looking it up lets nobody decide it."""
    if sees_unasked(user):
        return ToolCall.objects.all()
    if not may_review(user):
        return ToolCall.objects.none()
    # Looked up for each row that is read, which for a page of the newest are few: a list of all grants is slower.
    given = visible_calls(user).filter(decisions__grant=OuterRef("trust"))
    return ToolCall.objects.filter(_visible(user) | Q(Exists(given), trust__isnull=False))


def sees_unasked(user: Person) -> bool:
    """May look up calls that nobody was asked about."""
    return may_review(user) and bool(group_names(user) & SEE_ALL)


def visible_grants(user: Person) -> QuerySet[TrustGrant]:
    """The trust that was given on calls which the person sees, also where it has ended."""
    calls = visible_calls(user).values("pk")
    granted = Decision.objects.filter(grant__isnull=False, call__in=calls).values("grant")
    return TrustGrant.objects.filter(pk__in=granted)


def may_revoke(user: Person, grant: TrustGrant) -> bool:
    """Whoever may decide the call on which it was given; administrators too, auditors not.

    No query where `decisions__call` was prefetched.
    """
    names = group_names(user)
    if ADMINISTRATORS in names:
        return True
    return any(names & set(decision.call.group_names()) for decision in grant.decisions.all())


def may_tune(user: Person) -> bool:
    """May open the administrators' pages for policies."""
    return isinstance(user, User) and user.is_staff and user.has_perm("approvals.view_toolpolicy")


def may_change_policies(user: Person) -> bool:
    return isinstance(user, User) and user.is_staff and user.has_perm("approvals.change_toolpolicy")


def reviewers_in(names: Iterable[str]) -> QuerySet[User]:
    """Active people in one of these groups who may open the queue; as `may_review` and `may_sign_in` have it.

    Of people only what it takes to write to them is read: a worker may read no more.
    """
    app, codename = REVIEW.split(".")
    reviews = {"groups__permissions__codename": codename, "groups__permissions__content_type__app_label": app}
    people = User.objects.filter(is_active=True, groups__name__in=list(names)).filter(**reviews)
    if not settings.DEMO:
        people = people.exclude(pk__in=User.objects.filter(groups__name=DEMO_PEOPLE).values("pk"))
    return people.only("id", "username", "email").order_by("pk").distinct()


def voting(call: ToolCall) -> bool:
    """Some want it run again, and more have to: what ran before had approvals enough."""
    return call.status == Status.UNKNOWN and call.approvals < call.quorum and call.round > 1


def deciders(call: ToolCall) -> QuerySet[User]:
    """Those who may decide a call, and have not in this round; who let it run may settle what came of that."""
    people = reviewers_in(call.group_names())
    if not call.term("requester_may_decide"):
        people = people.exclude(pk=call.requested_by_id)
    if not _round_counts(call):
        return people
    return people.exclude(pk__in=_deciding().filter(call=call, round=call.round).values("by"))


def left_to(user_id: int, calls: Sequence[ToolCall]) -> list[ToolCall]:
    """Those of many calls that have this person among their deciders."""
    groups = {call.groups: call.group_names() for call in calls}
    mine = {key for key, names in groups.items() if reviewers_in(names).filter(pk=user_id).exists()}
    decided = set(_deciding().filter(call__in=calls, by=user_id).values_list("call", "round"))
    return [
        call
        for call in calls
        if call.groups in mine
        and (call.requested_by_id != user_id or call.term("requester_may_decide"))
        and not (_round_counts(call) and (call.pk, call.round) in decided)
    ]


def _round_counts(call: ToolCall) -> bool:
    """More approvals are looked for beside those there are."""
    return call.status == Status.PENDING or voting(call)


def _deciding() -> QuerySet[Decision]:
    return Decision.objects.filter(undone_at=None).order_by()


def refusal(user: Person, call: ToolCall) -> Refusal | None:
    """Why this person may not decide this call, or None. Being a superuser changes nothing."""
    allowed = call.group_names()
    if not group_names(user) & set(allowed):
        return NotAReviewer(f"Only {' or '.join(allowed) or 'reviewers'} may decide this call.")
    if user.pk == call.requested_by_id and not call.term("requester_may_decide"):
        return SelfApproval("You asked for this yourself; somebody else has to decide it.")
    return None
