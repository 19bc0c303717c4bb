"""What a person wants to be told, and by which of their browsers."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import User

from approvals import audit, web_push
from approvals.errors import InvalidInput
from approvals.notice_models import NoticePreference, PushSubscription


def wants_email(user: User) -> bool:
    return not NoticePreference.objects.filter(user=user, email=False).exists()


@audit.audited()
def set_email(user: User, wanted: bool) -> None:
    """Whether policies may have this person written to by e-mail."""
    before = wants_email(user)
    NoticePreference.objects.update_or_create(user=user, defaults={"email": wanted})
    if before != wanted:
        audit.record("notices.changed", user.get_username(), email=wanted)


@audit.audited()
def subscribe(user: User, endpoint: str, p256dh: str, auth: str) -> None:
    """This browser takes pushes for this person, and for nobody else from now on. Raises InvalidInput."""
    if not settings.VAPID_KEY:
        raise InvalidInput("Push is not set up on this Nod.")
    try:
        web_push.check(endpoint, p256dh, auth)
    except web_push.BadSubscription as bad:
        raise InvalidInput(str(bad)) from None
    User.objects.select_for_update().only("pk").get(pk=user.pk)  # of two at once, each counts the other
    values = {"user": user, "p256dh": p256dh, "auth": auth, "failed_at": None, "failure": ""}
    mine = PushSubscription.objects.filter(user=user)
    known = mine.filter(endpoint=endpoint).exists()
    PushSubscription.objects.update_or_create(endpoint=endpoint, defaults=values)
    kept = mine.order_by("-created_at", "-pk").values_list("pk", flat=True)[: settings.PUSH_SUBSCRIPTIONS]
    mine.exclude(pk__in=list(kept)).delete()
    if not known:
        audit.record("notices.subscribed", user.get_username())


@audit.audited()
def unsubscribe(user: User, endpoint: str) -> None:
    """This browser takes no more."""
    if PushSubscription.objects.filter(user=user, endpoint=endpoint).delete()[0]:
        audit.record("notices.unsubscribed", user.get_username())
