"""Agents, and the sessions in which people talk with them."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from agents.states import ACTIVE, QuestionStatus, RunStatus
from approvals.fields import JSONTextField
from approvals.ids import uuid7
from approvals.models import Tool


class Agent(models.Model):
    """What answers: a system prompt, a model and the tools it may ask for."""

    class Runtime(models.TextChoices):
        LOCAL = "local", "In the worker"
        AGENTCORE = "agentcore", "On Amazon Bedrock AgentCore"

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=300, blank=True)
    system_prompt = models.TextField(blank=True)
    runtime = models.CharField(max_length=20, choices=Runtime.choices, default=Runtime.LOCAL)
    runtime_arn = models.CharField(
        "runtime's ARN",
        max_length=300,
        blank=True,
        help_text="Of the AgentCore runtime that the agent lives on, as “manage.py agentcore status” prints it.",
    )
    runtime_qualifier = models.CharField(
        "runtime's endpoint",
        max_length=100,
        blank=True,
        help_text="The endpoint of the AgentCore runtime; empty means DEFAULT.",
    )
    provider = models.CharField(
        max_length=50,
        blank=True,
        help_text="The model's provider (demo, bedrock); empty means NOD_MODEL_PROVIDER.",
    )
    model_id = models.CharField(max_length=200, blank=True, help_text="Empty means the provider's default.")
    parameters = models.JSONField(
        default=dict,
        blank=True,
        help_text='Passed to the model, such as {"temperature": 0.2, "max_tokens": 2000}.',
    )
    tools = models.ManyToManyField(Tool, blank=True, related_name="agents")
    max_steps = models.PositiveIntegerField(default=20, help_text="How often one run may ask the model.")
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Session(models.Model):
    """One conversation of a user with an agent, and the scope of trust."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="sessions")
    agent = models.ForeignKey(Agent, models.PROTECT, related_name="sessions")
    title = models.CharField(max_length=200, blank=True)
    state = JSONTextField(
        default=dict, help_text="The runtime's small state; the messages are rows of their own."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    active_at = models.DateTimeField(db_default=Now())
    archived_at = models.DateTimeField(
        null=True, help_text="Out of the list since then; a message brings it back."
    )

    class Meta:
        ordering = ("-active_at",)
        indexes: ClassVar = [models.Index(fields=["user", "-active_at"], name="session_user")]

    def __str__(self) -> str:
        return self.title or "New chat"

    @property
    def key(self) -> str:
        """How the approval desk knows this session."""
        return str(self.pk)


class Run(models.Model):
    """The work that answers one user message."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    session = models.ForeignKey(Session, models.CASCADE, related_name="runs")
    status = models.CharField(max_length=11, choices=RunStatus.choices, default=RunStatus.QUEUED)
    epoch = models.PositiveIntegerField(
        default=0, help_text="Goes up with each claim; an older one may write nothing."
    )
    claim = models.CharField(
        max_length=32, blank=True, help_text="Of the worker that has it; no two claims share one."
    )
    lease_until = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0, help_text="Claims since it last got anywhere.")
    steps = models.PositiveIntegerField(default=0, help_text="Model answers so far.")
    draft = models.TextField(blank=True, help_text="The answer that is being streamed.")
    open_ends = models.BooleanField(
        default=False, help_text="It has ended, and calls of it may still be open."
    )
    input_tokens = models.PositiveBigIntegerField(
        default=0, db_default=0, help_text="That the model read, those from its cache not counted."
    )
    output_tokens = models.PositiveBigIntegerField(default=0, db_default=0)
    cache_read_tokens = models.PositiveBigIntegerField(default=0, db_default=0)
    cache_write_tokens = models.PositiveBigIntegerField(default=0, db_default=0)
    model_ms = models.PositiveBigIntegerField(
        default=0, db_default=0, help_text="How long the model took in all, in milliseconds."
    )
    error_code = models.CharField(max_length=50, blank=True)
    error = models.TextField(blank=True)
    idempotency_key = models.CharField(max_length=200, blank=True)
    due_at = models.DateTimeField(db_default=Now())
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("created_at",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["session"], condition=Q(status__in=ACTIVE), name="run_one_active_a_session"
            ),
            models.UniqueConstraint(
                fields=["session", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="run_idempotency_key",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["due_at"], name="run_due", condition=Q(status=RunStatus.QUEUED)),
            models.Index(fields=["id"], name="run_open_ends", condition=Q(open_ends=True)),
            models.Index(fields=["lease_until"], name="run_lease", condition=Q(status=RunStatus.RUNNING)),
        ]

    def __str__(self) -> str:
        return f"{self.session} ({self.get_status_display()})"


class Message(models.Model):
    """One message of a session. `content`: Converse content blocks. Rows are added, and only `superseded` changes.

    `superseded`: its user wrote something else instead, so the model does not get it any more. `note`: Nod tells the
    model something; the user did not write it. `files`: what the user attached, as paths in the workspace.
    """

    session = models.ForeignKey(Session, models.CASCADE, related_name="messages")
    run = models.ForeignKey(Run, models.CASCADE, null=True, related_name="messages")
    seq = models.PositiveIntegerField()
    role = models.CharField(max_length=10, choices=[("user", "user"), ("assistant", "assistant")])
    content = JSONTextField()
    superseded = models.BooleanField(default=False, db_default=False)
    note = models.BooleanField(default=False, db_default=False)
    files = JSONTextField(default=list, db_default=[])
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("session", "seq")
        constraints: ClassVar = [models.UniqueConstraint(fields=["session", "seq"], name="message_seq")]

    def __str__(self) -> str:
        return f"{self.role}: {self.text[:60]}"

    @property
    def text(self) -> str:
        return "\n".join(block["text"] for block in self.content if "text" in block)

    @property
    def written(self) -> str:
        """What its user wrote: no results, no note of Nod's, and not the line that names their files."""
        if self.role != "user" or self.note:
            return ""
        content = self.content[:-1] if self.files else self.content
        return "\n".join(block["text"] for block in content if "text" in block)

    def tool_uses(self) -> list[dict[str, Any]]:
        return [block["toolUse"] for block in self.content if "toolUse" in block]


class Question(models.Model):
    """What an agent asks the person it talks with, by the tool handoff_to_user. The answer is its tool result.

    No call of the ledger: nothing is done by it, nobody reviews it, and an answer allows nothing.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    session = models.ForeignKey(Session, models.CASCADE, related_name="questions")
    run = models.ForeignKey(Run, models.CASCADE, related_name="questions")
    turn = models.PositiveIntegerField(help_text="Which message of the session asks it.")
    tool_use_id = models.CharField(max_length=200)
    message = models.TextField()
    choices = JSONTextField(default=list)
    status = models.CharField(max_length=11, choices=QuestionStatus.choices)
    answer = models.TextField(blank=True)
    asked_at = models.DateTimeField(db_default=Now(), editable=False)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("asked_at", "id")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["session", "tool_use_id"], name="question_once_a_session"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["run"], name="question_open", condition=Q(status=QuestionStatus.OPEN)),
        ]

    def __str__(self) -> str:
        return self.message[:60]
