"""The decision card of one call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Count, Q
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.safestring import SafeString

from approvals import permissions
from approvals.actions.edits import schema_of
from approvals.because import Because, because
from approvals.differences import Change, changes
from approvals.edit_forms import Edited, EditForm, form_of, too_many
from approvals.errors import Refusal
from approvals.likeness import Alike, alike, reasons
from approvals.lists import ListRow, desk_rows
from approvals.models import Decision, ToolCall
from approvals.presentation import Row, beginning, key_of, mark, rows, span
from approvals.sizes import too_long
from approvals.states import Choice, Status
from approvals.trust_preview import TrustPreview, preview
from approvals.trust_words import Told, told
from approvals.wording import (
    State,
    approvers,
    became,
    both,
    changed_by,
    decision_of,
    number,
    result_text,
    who,
)

REMEMBERED = timedelta(days=30)
UNDO_SHOWN = timedelta(minutes=1)  # a denial; the agent has gone on by then
EDIT = "edit"  # the form that changes arguments; it is no decision
CHANGED = "changed"  # the one in which somebody looks at what that makes
TRUST_CHOICES = (timedelta(hours=1), timedelta(hours=8))


def undo_may_help(call: ToolCall) -> bool:
    """Whether nothing has come of the decision as far as the desk knows: a denial is told to the agent with the last
    decision of its turn."""
    if call.status != Status.DENIED:
        return call.status == Status.APPROVED
    if call.decided_at is None or timezone.now() - call.decided_at > UNDO_SHOWN:
        return False
    siblings = ToolCall.objects.filter(run=call.run, status=Status.PENDING).exclude(pk=call.pk)
    return not call.run or siblings.exists()


@dataclass
class Card:
    """The decision card of one call. What happened to a form that was sent comes along."""

    call: ToolCall
    user: User
    notice: str = ""  # a sentence about the decision that was refused
    field_error: str = ""  # a sentence that belongs to the open form
    form: str = ""  # the open one: deny, trust, edit, changed, or approve where that asks for something
    comment: str = ""
    sent: Mapping[str, Any] = field(default_factory=dict)  # of the trust form: what was chosen in it
    editing: EditForm | None = None
    edited: Edited | None = None  # what the form makes, to be looked at
    shown: frozenset[str] = frozenset()  # arguments whose secrets are shown, this once
    now: datetime = field(default_factory=timezone.now)

    @property
    def seen(self) -> str:
        """Changes whenever the card would look different."""
        over = "-over" if self.trusted and self.trusted.over else ""
        return f"{self.call.version}-{self.call.status}-{self.call.approvals}{over}"

    def opened(self, name: str) -> str:
        """The form of this name, if the card has one."""
        forms = {Choice.DENY.value}
        if not self.too_long:
            forms |= {Choice.TRUST} | ({Choice.APPROVE} if self.asks_to_approve else set())
        if not (self.too_long or self.too_many):
            forms.add(EDIT)
        if name == EDIT and name in forms and self.editing is None:
            self.editing = form_of(self.call, shown=self.shown)
        return name if name in forms else ""

    def look_at(self, form: EditForm, edited: Edited | None) -> None:
        """Open the form as it was sent; or, where its arguments fit, the difference that they make."""
        self.editing, self.edited = form, edited
        self.form = CHANGED if edited else EDIT

    @cached_property
    def changes(self) -> list[Change]:
        """What a reviewer changed, or is about to."""
        if self.edited:
            return self.edited.changes
        return changes(self.call.proposed, self.call.arguments) if self.call.proposed is not None else []

    @property
    def changed_by(self) -> str:
        return changed_by(self.call)

    @cached_property
    def too_long(self) -> bool:
        return too_long(self.call.arguments)

    @cached_property
    def schema(self) -> dict[str, Any]:
        """Of the tool's arguments, as it is now."""
        return schema_of(self.call.tool)

    @cached_property
    def too_many(self) -> bool:
        """More arguments than a form takes."""
        return too_many(self.call, self.schema)

    @cached_property
    def beginning(self) -> tuple[SafeString, int, int]:
        return beginning(self.call.arguments)

    @cached_property
    def hidden(self) -> int:
        """How many values are masked."""
        return sum(row.hidden for row in self.rows)

    @property
    def may_reveal(self) -> bool:
        """Whoever sees the call may; not beside a difference, which would be gone then."""
        return self.edited is None

    @property
    def revealed(self) -> list[str]:
        """The arguments that are shown, to be shown again with the next one."""
        return [key_of(name) for name in sorted(self.shown)]

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
            return mine and undo_may_help(self.call)
        if self.unknown:
            return self.voting and self.has_approved
        return self.call.status in (Status.PENDING, Status.APPROVED) and (mine or self.has_approved)

    @property
    def voting(self) -> bool:
        """Of several who have to, some want it run again."""
        return permissions.voting(self.call) and self.call.approvals > 0

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
    def row(self) -> ListRow:
        """The call as the list has it: who looks, and who has taken it."""
        return desk_rows([self.call], self.user)[0]

    @cached_property
    def refusal(self) -> Refusal | None:
        return permissions.refusal(self.user, self.call)

    @cached_property
    def rows(self) -> list[Row]:
        """What will run; where a reviewer changed it, as the difference."""
        properties = self.schema.get("properties", {})
        order = properties if isinstance(properties, dict) else ()
        arguments = self.edited.arguments if self.edited else self.call.arguments
        made = {change.name: change for change in self.changes}
        found = [_changed(row, made.pop(row.key, None)) for row in rows(arguments, order, self.shown)]
        return found + [
            _changed(Row(mark(change.name), "", "", key=change.name), change) for change in made.values()
        ]

    @cached_property
    def said(self) -> SafeString:
        return mark(self.call.said)

    @cached_property
    def prompt(self) -> SafeString:
        return mark(self.call.prompt)

    @cached_property
    def alike(self) -> list[Alike]:
        return alike(self.call, self.user) if self.pending else []

    @cached_property
    def reasons(self) -> list[str]:
        return reasons(self.call, self.user)

    @property
    def undo_until(self) -> int | None:
        """When the button goes, in seconds since 1970; None where it goes with the call's state."""
        if self.call.status != Status.DENIED or self.call.decided_at is None:
            return None
        return int((self.call.decided_at + UNDO_SHOWN).timestamp())

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

    @cached_property
    def because(self) -> Because | None:
        """What its policy is about; where a policy allowed or blocked it, nobody has to decide."""
        return because(self.call) if self.call.groups else None

    @property
    def may_change(self) -> bool:
        return permissions.may_change_policies(self.user)

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
            return who(made)
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
        return became(self.call)

    @cached_property
    def trusted(self) -> Told | None:
        """The trust that was given with the decision."""
        made = None if self.pending else self.decision
        return told(made.grant) if made and made.grant else None

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


def _changed(row: Row, change: Change | None) -> Row:
    """The row as a difference; what is shown on demand stays whole."""
    if change is None:
        return row
    if row.shown:
        return replace(row, note=change.note)
    told = " ".join(dict.fromkeys(filter(None, [row.warning, change.warning])))
    return replace(row, kind="diff", html=change.html, note=change.note, warning=told, long=False)
