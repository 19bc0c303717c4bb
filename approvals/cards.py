"""What the queue shows of calls: rows of the list, the decision card, and where a call stands in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Count, Q
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.safestring import SafeString

from approvals import permissions
from approvals.actions import settlements
from approvals.deception import deceptive
from approvals.errors import Refusal
from approvals.models import Decision, Tool, ToolCall
from approvals.presentation import Row, mark, raw, rows, span, summary
from approvals.sentences import NUMBERS
from approvals.states import Choice, Status
from approvals.trust_preview import TrustPreview, preview

REMEMBERED = timedelta(days=30)
UNDO_SHOWN = timedelta(minutes=1)  # a denial; the agent has gone on by then
TRUST_CHOICES = (timedelta(hours=1), timedelta(hours=8))


@dataclass(frozen=True)
class State:
    """Where a call stands, in one line. `tone`: good, bad, wait, run or quiet."""

    tone: str
    text: str
    note: str = ""
    quote: bool = False  # the note is somebody's words


def decision_of(call: ToolCall) -> Decision | None:
    """The decision that counts, from prefetched `decisions__by`."""
    return call.decision()


def approvers(call: ToolCall) -> list[str]:
    """Whose approvals count so far, in their order, from prefetched `decisions__by`."""
    return [decision.by.get_username() for decision in _counting(call) if decision.choice != Choice.DENY]


def _counting(call: ToolCall) -> list[Decision]:
    made = [one for one in call.decisions.all() if one.undone_at is None and one.round == call.round]
    return sorted(made, key=lambda one: one.pk)


def state(call: ToolCall, waiting_for: str = "") -> State:
    """Where the call stands, for the person who asked and for the reviewers alike."""
    decision = decision_of(call)
    match call.status:
        case Status.PENDING:
            so_far = both(approvers(call)) if call.approvals else ""
            verb = "has" if call.approvals == 1 else "have"
            return State("wait", f"Waiting for {waiting_for}", so_far and f"{so_far} {verb} approved.")
        case Status.DENIED:
            comment = decision.comment if decision else ""
            return State("bad", f"Denied by {_who(decision)}", comment, quote=True)
        case Status.BLOCKED:
            return State("bad", f"Blocked by policy {call.policy}" if call.policy else "Blocked", call.why)
        case Status.EXPIRED:
            return State("quiet", "Expired", "Nobody decided in time. It did not run.")
        case Status.CANCELLED:
            return State("quiet", "Cancelled", "It did not run.")
        case Status.LAPSED:
            return State("quiet", "Not run", call.why or "The approval was not used in time.")
        case Status.UNKNOWN:
            note = f"{call.why} It may or may not have happened; somebody has to check.".strip()
            return State("bad", "Outcome unknown", note)
        case Status.FAILED:
            return State("bad", f"Failed{_by(call, decision)}", result_text(call))
        case Status.SUCCEEDED:
            return State("good", f"done, {took(call)}{_by(call, decision)}", result_text(call))
        case Status.STARTED:
            return State("run", f"{_leave(call, decision)}, running" if _leave(call, decision) else "Running")
    return State("run", _leave(call, decision) or "Allowed")


def changed_by(call: ToolCall) -> str:
    """Who changed the arguments before the call ran; empty when they are the agent's own."""
    return _who(decision_of(call)) if call.proposed is not None else ""


def result_text(call: ToolCall) -> str:
    """The texts of a result; empty when there are none."""
    blocks = call.result if isinstance(call.result, list) else []
    return "\n".join(block["text"] for block in blocks if isinstance(block, dict) and "text" in block)


def took(call: ToolCall) -> str:
    if not call.started_at or not call.finished_at:
        return "just now"
    seconds = (call.finished_at - call.started_at).total_seconds()
    if seconds < 0.05:
        return "under 0.1 s"
    return f"{seconds:.1f} s" if seconds < 10 else span(timedelta(seconds=seconds))


def _who(decision: Decision | None) -> str:
    return decision.by.get_username() if decision else "somebody"


def both(names: list[str]) -> str:
    """As "rita, remy and rob"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _leave(call: ToolCall, decision: Decision | None) -> str:
    """By whose leave it runs."""
    if decision and call.quorum > 1:
        return f"Approved by {both(approvers(call)) or 'somebody'}"
    if decision:
        return f"{'Trusted' if decision.choice == Choice.TRUST else 'Approved'} by {_who(decision)}"
    return "Trusted" if call.trust_id else ""


def _by(call: ToolCall, decision: Decision | None) -> str:
    leave = _leave(call, decision)
    return f" · {leave[0].lower()}{leave[1:]}" if leave else ""


def deciders(calls: Iterable[ToolCall]) -> dict[UUID, str]:
    """For each call the people who may decide it, as "rita or remy"; one query for all of them."""
    calls = list(calls)
    names = {name for call in calls for name in call.group_names()}
    if not names:
        return {call.pk: "somebody in reviewers" for call in calls}
    members: dict[str, list[tuple[int, str]]] = defaultdict(list)
    people = User.objects.filter(is_active=True, groups__name__in=names).order_by("pk")
    for group, pk, username in people.values_list("groups__name", "pk", "username"):
        members[group].append((pk, username))
    return {call.pk: _sentence(call, members) for call in calls}


def _sentence(call: ToolCall, members: dict[str, list[tuple[int, str]]]) -> str:
    self_allowed = bool(call.term("requester_may_decide"))
    people = {pk: name for group in call.group_names() for pk, name in members[group]}
    done = approvers(call) if call.approvals else []
    names = [
        name
        for pk, name in people.items()
        if (self_allowed or pk != call.requested_by_id) and name not in done
    ]
    missing = call.quorum - call.approvals
    some = f"{number(missing)} of " if missing > 1 else ""
    if len(names) < missing or not names:
        return f"{some or 'somebody in '}{' or '.join(call.group_names()) or 'reviewers'}"
    if len(names) > 3:
        return f"{some}{', '.join(names[:3])} or others"
    return some + (" or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0])


def number(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


# --- The list -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ListRow:
    """One call in a list."""

    call: ToolCall
    summary: SafeString
    deceptive: bool
    state: State
    left: str

    @property
    def at(self) -> datetime:
        return self.call.decided_at or self.call.finished_at or self.call.requested_at


_looked_at: dict[str, bool] = {}  # by digest; lists are made anew at each doorbell
MOST_LOOKED_AT = 10_000


def _deceptive(call: ToolCall) -> bool:
    if call.digest not in _looked_at:
        if len(_looked_at) >= MOST_LOOKED_AT:
            _looked_at.clear()
        _looked_at[call.digest] = deceptive(call.arguments)
    return _looked_at[call.digest]


def list_rows(calls: Iterable[ToolCall]) -> list[ListRow]:
    now = timezone.now()
    return [
        ListRow(
            call=call,
            summary=mark(summary(call.arguments)),
            deceptive=_deceptive(call),
            state=state(call),
            left=f"{span(call.expires_at - now)} left" if call.expires_at else "",
        )
        for call in calls
    ]


# --- The card -----------------------------------------------------------------------------------------


@dataclass
class Card:
    """The decision card of one call. What happened to a form that was sent comes along."""

    call: ToolCall
    user: User
    notice: str = ""  # a sentence about the decision that was refused
    field_error: str = ""  # a sentence that belongs to the open form
    form: str = ""  # the open form: deny or trust, or approve where that asks for something
    comment: str = ""
    sent: Mapping[str, Any] = field(default_factory=dict)  # of the trust form: what was chosen in it
    now: datetime = field(default_factory=timezone.now)

    @property
    def seen(self) -> str:
        """Changes whenever the card would look different."""
        return f"{self.call.version}-{self.call.status}-{self.call.approvals}"

    def opened(self, name: str) -> str:
        """The form of this name, if the card has one."""
        forms = {Choice.DENY, Choice.TRUST} | ({Choice.APPROVE} if self.asks_to_approve else set())
        return name if name in forms else ""

    @property
    def pending(self) -> bool:
        return self.call.status == Status.PENDING

    @property
    def unknown(self) -> bool:
        return self.call.status == Status.UNKNOWN

    @property
    def may_undo(self) -> bool:
        """This person's own decision, as long as nothing has come of an approval. Denials are undone while the agent
        waits for other calls; whether it does is known when it is tried."""
        made = self.decision
        mine = made is not None and made.by_id == self.user.pk
        if self.call.status == Status.DENIED:
            recent = self.call.decided_at is not None and self.now - self.call.decided_at < UNDO_SHOWN
            return mine and recent
        if self.unknown:
            return self.voting and self.has_approved
        return self.call.status in (Status.PENDING, Status.APPROVED) and (mine or self.has_approved)

    @property
    def voting(self) -> bool:
        """Of several who have to, some want it run again."""
        return settlements.voting(self.call) and self.call.approvals > 0

    @cached_property
    def approvers(self) -> list[str]:
        return approvers(self.call)

    @property
    def approved_so_far(self) -> str:
        """As "rita has approved", while it takes more."""
        return f"{both(self.approvers)} {'has' if len(self.approvers) == 1 else 'have'} approved"

    @property
    def has_approved(self) -> bool:
        """This person has, and it counts still."""
        return self.user.get_username() in self.approvers

    @property
    def missing(self) -> str:
        left = self.call.quorum - self.call.approvals
        return f"{number(left)} more {'has' if left == 1 else 'have'} to"

    @cached_property
    def refusal(self) -> Refusal | None:
        return permissions.refusal(self.user, self.call)

    @cached_property
    def rows(self) -> list[Row]:
        schema = Tool.objects.filter(name=self.call.tool).values_list("schema", flat=True).first()
        properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
        return rows(self.call.arguments, properties if isinstance(properties, dict) else ())

    @cached_property
    def raw(self) -> SafeString:
        return raw(self.call.arguments)

    @cached_property
    def said(self) -> SafeString:
        return mark(self.call.said)

    @cached_property
    def result(self) -> SafeString:
        return mark(result_text(self.call))

    @property
    def waited(self) -> str:
        return span(self.now - self.call.requested_at, words=True)

    @property
    def left(self) -> str:
        return span(self.call.expires_at - self.now) if self.call.expires_at else ""

    @property
    def who_may(self) -> str:
        others = (
            "" if self.call.term("requester_may_decide") else f", not {self.call.requested_by.get_username()}"
        )
        some = "any" if self.call.quorum == 1 else number(self.call.quorum)
        return f"{some} of {' or '.join(self.call.group_names()) or 'reviewers'}{others}"

    @property
    def word(self) -> str:
        """What has to be typed to approve."""
        return self.call.term("confirm") or ""

    @property
    def justify(self) -> bool:
        return bool(self.call.term("justify"))

    @property
    def may_tune(self) -> bool:
        return permissions.may_tune(self.user)

    @property
    def asks_to_approve(self) -> bool:
        """An approval takes more than a click."""
        return bool(self.word) or self.justify

    @property
    def decision(self) -> Decision | None:
        """What settled it; approvals that were not enough did not."""
        unsettled = (
            Status.PENDING,
            Status.EXPIRED,
            Status.CANCELLED,
            *([Status.UNKNOWN] if self.voting else []),
        )
        return None if self.call.quorum > 1 and self.call.status in unsettled else decision_of(self.call)

    @property
    def decided_by(self) -> str:
        made = self.decision
        if made is None or made.choice == Choice.DENY or self.call.quorum == 1:
            return _who(made)
        return both(self.approvers)

    @property
    def verb(self) -> str:
        """What was decided, as the first word of "… by remy"."""
        words = {Choice.APPROVE: "Approved", Choice.DENY: "Denied", Choice.TRUST: "Approved and trusted"}
        return words[Choice(self.decision.choice)] if self.decision else ""

    @cached_property
    def decision_comment(self) -> SafeString:
        """Of the decision; what deceives in it is marked."""
        return mark(self.decision.comment if self.decision else "")

    @cached_property
    def became(self) -> State:
        return _became(self.call)

    @property
    def trust_options(self) -> list[tuple[int, str]]:
        """How long trust may last: (seconds, words), the policy's own limit last."""
        longest = min(timedelta(seconds=self.call.term("trust_expires_in") or 0), settings.TRUST_MAX_AGE)
        options = sorted({option for option in TRUST_CHOICES if option < longest} | {longest})
        return [(int(option.total_seconds()), span(option, words=True)) for option in options]

    @cached_property
    def trust_preview(self) -> TrustPreview:
        return preview(self.call)

    @cached_property
    def before(self) -> dict[str, Any]:
        """How this tool fared for this requester lately; the call itself does not count."""
        seen = permissions.visible_calls(self.user).filter(tool=self.call.tool).exclude(pk=self.call.pk)
        made = Decision.objects.filter(
            call__in=seen,
            requested_by=self.call.requested_by_id,
            at__gt=self.now - REMEMBERED,
            undone_at=None,
        )
        denied = Count("call", filter=Q(choice=Choice.DENY), distinct=True)
        counts = made.aggregate(all=Count("call", distinct=True), denied=denied)
        last = made.select_related("by").last() if counts["all"] else None
        return {"approved": counts["all"] - counts["denied"], "denied": counts["denied"], "last": last}


def _became(call: ToolCall) -> State:
    """What became of a call that is not pending any more, as a sentence of its own."""
    match call.status:
        case Status.DENIED | Status.BLOCKED:
            return State("bad", "It did not run.")
        case Status.APPROVED | Status.ALLOWED:
            return State("run", "It runs as soon as the agent goes on.")
        case Status.STARTED:
            return State("run", "It is running.")
        case Status.SUCCEEDED:
            return State("good", f"Done in {took(call)}.")
        case Status.FAILED:
            return State("bad", "It ran and failed.")
    where = state(call)
    return State(where.tone, f"{where.text}. {where.note}" if where.note else f"{where.text}.")
