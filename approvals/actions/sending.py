"""Sends what announcing.py takes up: mails and pushes. No transaction is open while a server is waited for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from smtplib import SMTPException, SMTPRecipientsRefused
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db.models import F
from django.db.models.functions import Now

from approvals import letters, web_push
from approvals.actions import announcing
from approvals.actions.announcing import Parcel
from approvals.notice_models import PushSubscription
from approvals.states import Channel

logger = logging.getLogger("nod.messages")

_broken: set[Channel] = set()  # the channels that failed last time; an outage costs one line


class NotSent(Exception):
    """This message did not go out. `everything`: others of its channel would not either."""

    def __init__(self, why: str, *, everything: bool = False) -> None:
        super().__init__(why)
        self.everything = everything


def send_due() -> int:
    """Send all messages that are due. Returns how many went out."""
    ways = ((Channel.EMAIL, _mail), (Channel.PUSH, _push))
    return sum(_send_all(channel, send) for channel, send in ways)


def _send_all(channel: Channel, send: Callable[[Parcel], None]) -> int:
    count = 0
    for parcel in announcing.parcels(channel):
        try:
            send(parcel)
        except NotSent as error:
            announcing.failed(parcel)
            _tell_once(channel, error)
            if error.everything:
                break
        else:
            announcing.told(parcel)
            _broken.discard(channel)
            count += 1
    return count


def _tell_once(channel: Channel, error: NotSent) -> None:
    if channel not in _broken:
        logger.warning("%s: a message was not sent (%s); Nod tries again.", channel.label, error)
    _broken.add(channel)


def _mail(parcel: Parcel) -> None:
    more: dict[str, Any] = {"file_path": str(settings.NOTICES_DIR)} if settings.NOTICES_DIR else {}
    connection = get_connection(timeout=settings.NOTICE_TIMEOUT.total_seconds(), **more)
    mail = EmailMessage(
        letters.subject(parcel.calls),
        letters.body(parcel.calls),
        to=[parcel.user.email],
        connection=connection,
        headers={"Auto-Submitted": "auto-generated"},
    )
    try:
        mail.send()
    except SMTPRecipientsRefused:
        raise NotSent("the mail server refuses an address") from None
    except (SMTPException, OSError) as error:
        raise NotSent(_line(error), everything=True) from None
    except Exception as error:  # whatever a mail backend raises about one message, the others go out
        raise NotSent(type(error).__name__) from None


def _push(parcel: Parcel) -> None:
    """To all browsers of the person; one that takes it is enough, and so is none that is left."""
    said = letters.push(parcel.calls)
    until = time.monotonic() + settings.NOTICE_LEASE.total_seconds() / 2  # well before it is taken up anew
    devices = PushSubscription.objects.filter(user=parcel.user.pk).order_by(
        F("failed_at").asc(nulls_first=True), "pk"
    )
    outcomes = [_push_to(each, said) for each in devices if time.monotonic() < until]
    if outcomes and not any(outcomes):
        raise NotSent("no push service took it")


def _push_to(subscription: PushSubscription, said: dict[str, Any]) -> bool:
    mine = PushSubscription.objects.filter(pk=subscription.pk)
    try:
        web_push.send(subscription, said)
    except web_push.Gone:
        mine.delete()
        return True
    except web_push.NotTaken as error:
        mine.update(failed_at=Now(), failure=str(error)[:100])
        return False
    if subscription.failed_at:
        mine.update(failed_at=None, failure="")
    return True


def _line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}"[:200] if text else type(error).__name__
