"""What it takes to write to people: who has been told of what, by which channel, and what they want."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from approvals.states import Channel


class Kind(models.TextChoices):
    """What there is to say of a call."""

    WAITING = "waiting", "Waits for a decision"
    UNKNOWN = "unknown", "Nobody knows whether it happened"


class Announcement(models.Model):
    """One person is to hear of one call by one channel, or has heard of it since it began to wait.

    What waits no more is cleared away before the person's next message; what waits again is noted anew.
    """

    call = models.ForeignKey("approvals.ToolCall", models.CASCADE, related_name="announcements")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    channel = models.CharField(max_length=5, choices=Channel.choices)
    kind = models.CharField(max_length=7, choices=Kind.choices)
    noted_at = models.DateTimeField(db_default=Now(), editable=False)
    taken_at = models.DateTimeField(null=True, help_text="When a message with it was first attempted.")
    told_at = models.DateTimeField(null=True, help_text="When a message with it was handed over.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["call", "user", "channel", "kind"], name="announced_once"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["user", "channel"], name="announcement_untold", condition=Q(told_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.call_id} to {self.user_id} by {self.channel}"


class Postbox(models.Model):
    """What is sent to one person by one channel: at most one message at a time, and not too often."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    channel = models.CharField(max_length=5, choices=Channel.choices)
    free_at = models.DateTimeField(db_default=Now(), help_text="No message begins before.")
    claim = models.PositiveBigIntegerField(default=0, db_default=0, help_text="Goes up with each attempt.")
    failures = models.PositiveSmallIntegerField(default=0, db_default=0, help_text="In a row.")

    class Meta:
        verbose_name_plural = "postboxes"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "channel"], name="one_postbox_a_channel"),
        ]

    def __str__(self) -> str:
        return f"{self.channel} to {self.user_id}"


class NoticePreference(models.Model):
    """What a person wants of that. Without a row: as policies say."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="notices")
    email = models.BooleanField(default=True, db_default=True)

    def __str__(self) -> str:
        return f"e-mail {'on' if self.email else 'off'}"


class PushSubscription(models.Model):
    """A browser that takes pushes for a person: where they go, and the keys that only it can read them with."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="push_subscriptions")
    endpoint = models.CharField(max_length=600, unique=True)
    p256dh = models.CharField(max_length=100)
    auth = models.CharField(max_length=40)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    failed_at = models.DateTimeField(null=True, help_text="When a push last failed, if the last one did.")
    failure = models.CharField(max_length=100, blank=True, db_default="")

    class Meta:
        ordering = ("created_at", "pk")

    def __str__(self) -> str:
        return f"{self.user_id} since {self.created_at:%Y-%m-%d}"
