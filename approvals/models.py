"""The tables of the approval desk. Only `approvals.actions` writes them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Now

from approvals import notice_models  # noqa: F401 (Django looks for tables here)
from approvals.fields import CanonicalJSONField, JSONTextField
from approvals.ids import uuid7
from approvals.prepared import Select, Slot
from approvals.states import Choice, Effect, Fault, Notify, Risk, Status

MAX_QUORUM = 20
LASTS = "How long an approval stays usable, counted from when the run can go on."
SENSIBLE = [MinValueValidator(timedelta(seconds=1)), MaxValueValidator(timedelta(days=365))]


class Tool(models.Model):
    """A tool that agents may call: what it is, and whether a person has looked at its definition."""

    name = models.CharField(max_length=100, unique=True)
    provider = models.CharField(max_length=100, default="local", help_text="Where it runs.")
    description = models.TextField(blank=True)
    schema = JSONTextField(default=dict)
    definition = models.CharField(max_length=64, help_text="SHA-256 of name, description and schema.")
    looked_at = models.CharField(
        max_length=64,
        blank=True,
        help_text="The definition that a person has looked at, or that ships with Nod.",
    )
    risk = models.CharField(max_length=6, choices=Risk.choices, default=Risk.MEDIUM)
    idempotent = models.BooleanField(default=False, help_text="Running it twice does no more than once.")
    timeout = models.PositiveIntegerField(default=30, help_text="Seconds it may run.")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="Whose agents, which run elsewhere, have it: only they change its definition. Empty for Nod's own.",
    )
    first_seen = models.DateTimeField(db_default=Now(), editable=False)
    last_seen = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def known(self) -> bool:
        """A person has looked at exactly this definition."""
        return self.looked_at == self.definition


class ToolPolicy(models.Model):
    """An administrator's rule about tool calls."""

    name = models.CharField(max_length=200, unique=True)
    tool = models.CharField(max_length=200, help_text="A tool's name, or a pattern such as send_* or *.")
    effect = models.CharField(max_length=10, choices=Effect.choices)
    agent = models.CharField(
        max_length=100, blank=True, help_text="Only this agent (its slug); empty means every agent."
    )
    provider = models.CharField(
        max_length=100, blank=True, help_text="Only tools of this provider; empty means every one."
    )
    when = models.TextField(
        blank=True,
        help_text="Only calls for which this holds: a condition in CEL, such as args.amount > 1000.",
    )
    enabled = models.BooleanField(default=True)
    groups = models.ManyToManyField(Group, blank=True, help_text="Who may decide; empty means reviewers.")
    quorum = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_QUORUM)],
        help_text="How many people have to approve; one denial is enough.",
    )
    requester_may_decide = models.BooleanField(
        default=False, help_text="The person who asked may decide, if in one of the groups."
    )
    confirm = models.CharField(
        max_length=50, blank=True, help_text="A word that whoever approves has to type, exactly."
    )
    justify = models.BooleanField(default=False, help_text="Whoever approves has to say why.")
    open_for = models.DurationField(
        default=timedelta(hours=24), validators=SENSIBLE, help_text="How long a call waits for a decision."
    )
    executable_for = models.DurationField(default=timedelta(minutes=15), validators=SENSIBLE, help_text=LASTS)
    risk = models.CharField(
        max_length=6, choices=Risk.choices, blank=True, help_text="Empty means the tool's own."
    )
    notify = models.CharField(
        max_length=10,
        choices=Notify.choices,
        blank=True,
        db_default="",
        help_text="How those who may decide are written to, once a call has waited for a minute.",
    )
    trust_expires_in = models.DurationField(
        default=timedelta(hours=8), validators=SENSIBLE, help_text="The longest that trust may last."
    )
    trust_max_uses = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="The most calls that trust may cover.",
    )
    requester_may_trust = models.BooleanField(
        default=False, help_text="The person who asked may also trust, where they may decide."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "tool policies"

    def __str__(self) -> str:
        return self.name


class PolicyMark(models.Model):
    """One row, with a word that triggers (triggers.py) change whenever a policy is changed, by whomever.

    As long as it is the same, the policies that a process has read are still the policies there are.
    """

    mark = models.CharField(max_length=36)

    def __str__(self) -> str:
        return self.mark


class TrustGrant(models.Model):
    """ "Do not ask again for this tool in this session", until it expires, is used up or is revoked."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    session = models.CharField(max_length=100)
    tool = models.CharField(max_length=100)
    provider = models.CharField(max_length=100)
    definition = models.CharField(max_length=64)
    scope = JSONTextField(
        default=dict, help_text="Arguments that have to be these, by name; none means any arguments."
    )
    terms = JSONTextField(default=dict, help_text="Of the call on which it was given.")
    granted_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    granted_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField()
    max_uses = models.PositiveIntegerField(null=True, blank=True)
    uses = models.PositiveIntegerField(default=0)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )

    class Meta:
        ordering = ("-granted_at",)
        indexes: ClassVar = [models.Index(fields=["session", "tool"], name="trust_session_tool")]

    def __str__(self) -> str:
        return f"{self.tool} in {self.session}"

    @staticmethod
    def live() -> Q:
        """Grants that still cover a call, by the database's clock."""
        return Q(revoked_at=None, expires_at__gt=Now()) & (Q(max_uses=None) | Q(uses__lt=F("max_uses")))


URGENCY = Case(
    When(risk=Risk.HIGH, then=Value(1)), When(risk=Risk.MEDIUM, then=Value(2)), default=Value(3)
) - Case(When(escalated=True, then=Value(1)), default=Value(0))
"""Risk first; what has waited for half of its time counts as one step riskier."""


class ToolCall(models.Model):
    """One call the model made: a row of the ledger. Its lifecycle is in states.py."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    session = models.CharField(max_length=100)
    run = models.CharField(max_length=100, blank=True)
    turn = models.PositiveIntegerField(default=0, help_text="Which message of the session asked for it.")
    tool_use_id = models.CharField(max_length=200)
    tool = models.CharField(max_length=100)
    provider = models.CharField(max_length=100, default="local")
    agent = models.CharField(max_length=100, blank=True)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(db_default=Now(), editable=False)
    arguments = CanonicalJSONField()
    proposed = CanonicalJSONField(
        null=True, help_text="The model's own arguments, where a reviewer changed them."
    )
    said = models.TextField(blank=True, help_text="What the agent said before it called.")
    prompt = models.TextField(
        blank=True, default="", db_default="", help_text="What the person had written, its beginning."
    )
    definition = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)
    version = models.PositiveIntegerField(default=1)
    status = models.CharField(max_length=10, choices=Status.choices)
    policy = models.CharField(
        max_length=200, blank=True, help_text="The policy that decided, by its name then."
    )
    effect = models.CharField(max_length=10, choices=Effect.choices)
    why = models.CharField(max_length=300, blank=True)
    fault = models.CharField(
        max_length=30, blank=True, choices=Fault.choices, help_text="Why it did not run as decided."
    )
    risk = models.CharField(max_length=6, choices=Risk.choices)
    terms = JSONTextField(default=dict)
    groups = models.TextField(blank=True, help_text="Who may decide, as |name|name|.")
    quorum = models.PositiveSmallIntegerField(default=1, db_default=1, help_text="How many have to approve.")
    approvals = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How many have, of this round."
    )
    round = models.PositiveSmallIntegerField(
        default=1,
        db_default=1,
        help_text="Goes up where a person lets it run again; approvals count for their round.",
    )
    trust = models.ForeignKey(TrustGrant, models.SET_NULL, null=True, blank=True, related_name="calls")
    expires_at = models.DateTimeField(null=True)
    halfway_at = models.DateTimeField(null=True, help_text="When half of its time to be decided is over.")
    escalated = models.BooleanField(
        default=False, db_default=False, help_text="Half of its time is over, and it still waits."
    )
    urgency = models.GeneratedField(
        expression=URGENCY,
        output_field=models.PositiveSmallIntegerField(),
        db_persist=True,
        help_text="Where it stands in the queue; lower comes first.",
    )
    taken_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="Who looks after it, so that others need not; anybody may still decide.",
    )
    taken_until = models.DateTimeField(null=True)
    nudged_at = models.DateTimeField(null=True, help_text="When whoever asked reminded the reviewers, last.")
    announce_at = models.DateTimeField(null=True, help_text="When people are to be written to of it.")
    decided_at = models.DateTimeField(null=True)
    executable_for = models.DurationField(null=True, help_text=LASTS)
    executable_until = models.DateTimeField(null=True)
    epoch = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    lease = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="SHA-256 of what an agent that runs elsewhere has to show when it says what became of it.",
    )
    lease_until = models.DateTimeField(null=True, help_text="When that agent should have said so.")
    result = JSONTextField(null=True)

    class Meta:
        ordering = ("requested_at",)
        permissions: ClassVar = [("review_toolcall", "Can see the approval queue")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["session", "tool_use_id"], name="call_once_a_session"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["run"], name="call_run"),
            models.Index(fields=["-decided_at"], name="call_decided", condition=Q(decided_at__isnull=False)),
            models.Index(
                fields=["session", "digest"],
                name="call_limits",
                condition=Q(status__in=["pending", "denied"]),
            ),
            models.Index(
                fields=["urgency", "requested_at", "id"], name="call_queue", condition=Q(status="pending")
            ),
            models.Index(
                fields=["halfway_at"], name="call_halfway", condition=Q(status="pending", escalated=False)
            ),
            models.Index(fields=["expires_at"], name="call_expires", condition=Q(status="pending")),
            models.Index(
                fields=["announce_at"], name="call_announce", condition=Q(announce_at__isnull=False)
            ),
            models.Index(fields=["started_at"], name="call_started", condition=Q(status="started")),
            models.Index(fields=["finished_at"], name="call_unknown", condition=Q(status="unknown")),
            models.Index(fields=["executable_until"], name="call_lapses", condition=Q(status="approved")),
            models.Index(fields=["executable_until"], name="call_allowed", condition=Q(status="allowed")),
            models.Index(
                fields=["lease_until"],
                name="call_leases",
                condition=Q(status="started", lease_until__isnull=False),
            ),
            # For the figures of a period (insights.py).
            models.Index(fields=["requested_at"], name="call_requested"),
            models.Index(
                fields=["finished_at"], name="call_ended", condition=Q(status__in=["expired", "cancelled"])
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tool} ({self.get_status_display()})"

    @property
    def elsewhere(self) -> bool:
        """An agent that runs elsewhere asks for it over the API: no run of Nod's goes on with it."""
        return not self.run

    @property
    def trustable(self) -> bool:
        """One person may say "do not ask again" where one person may say yes."""
        return self.effect != Effect.ALWAYS_ASK and self.quorum == 1

    def group_names(self) -> list[str]:
        return [name for name in self.groups.split("|") if name]

    def term(self, name: str) -> Any:
        return self.terms.get(name)

    def decision(self) -> Decision | None:
        """The decision that counts: the last one that was not undone. Prefetch `decisions__by` for many calls."""
        if "decisions" in getattr(self, "_prefetched_objects_cache", ()):
            made = [one for one in self.decisions.all() if one.undone_at is None]
            return max(made, key=lambda one: one.pk, default=None)
        counts: Decision | None = _DECISION.first(call=self.pk)
        return counts


class Decision(models.Model):
    """What one reviewer decided, on exactly which content."""

    call = models.ForeignKey(ToolCall, models.PROTECT, related_name="decisions")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    self_allowed = models.BooleanField(default=False, help_text="The policy lets the requester decide.")
    choice = models.CharField(max_length=7, choices=Choice.choices)
    comment = models.TextField(blank=True)
    digest = models.CharField(max_length=64)
    version = models.PositiveIntegerField()
    round = models.PositiveSmallIntegerField(default=1, db_default=1)
    grant = models.ForeignKey(TrustGrant, models.SET_NULL, null=True, blank=True, related_name="decisions")
    batch = models.UUIDField(null=True, blank=True, help_text="Of calls that were decided together.")
    at = models.DateTimeField(db_default=Now(), editable=False)
    undone_at = models.DateTimeField(null=True, blank=True, help_text="It counts no more from then on.")

    class Meta:
        ordering = ("at",)
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=~Q(by=F("requested_by")) | Q(self_allowed=True), name="decision_not_by_requester"
            ),
            models.UniqueConstraint(
                fields=["call", "by", "round"],
                condition=Q(undone_at=None),
                name="decision_once_a_person_and_round",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["batch"], name="decision_batch", condition=Q(batch__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.get_choice_display()} by {self.by}"


def _decision() -> models.QuerySet[Decision]:
    """Of whoever decided only the name: a worker may read no more of people."""
    people = get_user_model()._meta.concrete_fields
    secrets = [f"by__{field.name}" for field in people if field.name not in ("id", "username")]
    mine = Decision.objects.filter(call=Slot("call", models.UUIDField()), undone_at=None)
    return mine.select_related("by").defer(*secrets).order_by("-pk")[:1]


_DECISION = Select(_decision)


class Attention(models.Model):
    """Which call a reviewer looks at just now; one row a person."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    call = models.ForeignKey(ToolCall, models.CASCADE, related_name="looks")
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.user} at {self.call_id}"


class AuditEntry(models.Model):
    """One line of the audit trail, written in the transaction of the change it tells of; never changed."""

    seq = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(editable=False)
    kind = models.CharField(max_length=30)
    actor = models.CharField(max_length=150, blank=True)
    session = models.CharField(max_length=100, blank=True)
    call = models.CharField(max_length=36, blank=True)
    tool = models.CharField(max_length=100, blank=True)
    digest = models.CharField(max_length=64, blank=True)
    data = JSONTextField(default=dict)
    prev = models.CharField(
        max_length=80, blank=True, help_text="The hash of the entry before, in its chain."
    )
    hash = models.CharField(max_length=80)

    class Meta:
        ordering = ("-seq",)
        verbose_name_plural = "audit entries"
        indexes: ClassVar = [
            models.Index(fields=["session", "seq"], name="audit_session"),
            models.Index(fields=["call", "seq"], name="audit_call", condition=~Q(call="")),
            models.Index(fields=["kind", "seq"], name="audit_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.kind}"


class AuditHead(models.Model):
    """The end of one chain of audit entries (chain.py): how many there are, and the hash of the last."""

    chain = models.CharField(max_length=100, primary_key=True, help_text="A session, or empty.")
    position = models.PositiveBigIntegerField()
    hash = models.CharField(max_length=80)
    seal = models.CharField(max_length=80)

    def __str__(self) -> str:
        return f"{self.chain or 'the desk'} at {self.position}"


class DryRun(models.Model):
    """A set of policies that is tried on the last calls, and how far that is. It never counts for anything."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    subject = models.CharField(max_length=200, help_text="What is tried.")
    before = JSONTextField(help_text="The policies as they were, as a policy file has them.")
    after = JSONTextField(help_text="The policies that are tried.")
    limit = models.PositiveIntegerField()
    total = models.PositiveIntegerField()
    done = models.PositiveIntegerField(default=0)
    position = models.UUIDField(null=True, help_text="The call that was looked at last.")
    finished = models.BooleanField(default=False)
    tally = JSONTextField(default=list, help_text="[before, after, denied by people, calls], each.")
    examples = JSONTextField(default=list, help_text="[call, before, after] of some that would change.")

    def __str__(self) -> str:
        return f"{self.subject}: {self.done} of {self.total}"


class ApiToken(models.Model):
    """A key for the API. Only its hash is kept."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100, blank=True)
    prefix = models.CharField(max_length=12, help_text="Its first characters, to tell tokens apart.")
    hash = models.CharField(max_length=64, unique=True)
    scopes = JSONTextField(default=list)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.prefix}… of {self.user}"
