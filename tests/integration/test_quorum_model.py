"""Several people at one call, beside a small reference; hypothesis picks who does what (QUORUM_MODEL=1000 for more)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from approvals import audit
from approvals.actions import calls as call_actions
from approvals.actions import decisions, trail, undoing
from approvals.actions.decisions import Ruling
from approvals.actions.verdicts import Request, examine
from approvals.errors import Refusal
from approvals.models import Decision, ToolCall, ToolPolicy
from approvals.states import Choice, Status
from tests.desk import MAIL

NAMES = ("rita", "remy", "rob", "ruth")
SUBJECTS = ("Launch", "Friday", "Monday")
EXAMPLES = int(os.environ.get("QUORUM_MODEL", "40"))
_ids = count()


@dataclass
class Reference:
    """What is so, by the words of docs/policies.md."""

    quorum: int
    subject: str = "Launch"
    status: Status = Status.PENDING
    approvals: list[str] = field(default_factory=list)
    denier: str = ""

    def do(self, what: str, who: str, subject: str) -> bool:
        """Whether it is taken."""
        match what:
            case "approve":
                return self.approve(who, self.subject)
            case "edit":
                return self.approve(who, subject)
            case "deny":
                return self.deny(who)
            case "withdraw":
                return self.withdraw(who)
        return self.claim()

    def approve(self, who: str, subject: str) -> bool:
        if self.status != Status.PENDING or (who in self.approvals and subject == self.subject):
            return False
        if subject != self.subject:
            self.subject, self.approvals = subject, []
        self.approvals.append(who)
        if len(self.approvals) >= self.quorum:
            self.status = Status.APPROVED
        return True

    def deny(self, who: str) -> bool:
        if self.status != Status.PENDING:
            return False
        self.status, self.denier = Status.DENIED, who
        self.approvals = [] if self.subject != "Launch" else [name for name in self.approvals if name != who]
        self.subject = "Launch"
        return True

    def withdraw(self, who: str) -> bool:
        if self.status == Status.DENIED and who == self.denier:
            self.status = Status.PENDING
            return True
        if self.status not in (Status.PENDING, Status.APPROVED) or who not in self.approvals:
            return False
        self.approvals.remove(who)
        self.status = Status.PENDING
        if not self.approvals:
            self.subject = "Launch"
        return True

    def claim(self) -> bool:
        if self.status != Status.APPROVED:
            return False
        self.status = Status.STARTED
        return True


steps = st.lists(
    st.tuples(st.sampled_from(["approve", "approve", "edit", "deny", "withdraw", "claim"]), st.sampled_from(NAMES),
              st.sampled_from(SUBJECTS), st.booleans()),
    min_size=3,
    max_size=14,
)  # fmt: skip


class Desk:
    """The real one."""

    def __init__(self, alice: User, people: dict[str, User], quorum: int) -> None:
        self.people = people
        ToolPolicy.objects.filter(tool="send_email").update(quorum=quorum)
        number = next(_ids)
        self.request = Request(f"s{number}", f"u{number}", "send_email", MAIL, alice.pk, agent="assistant")
        with audit.audited():
            call_actions.ask([examine(self.request)])
        self.first = self.call()

    def call(self) -> ToolCall:
        return ToolCall.objects.get(tool_use_id=self.request.tool_use_id)

    def do(self, what: str, who: str, subject: str) -> bool:
        call = self.call()
        try:
            match what:
                case "approve" | "edit":
                    arguments: Any = {**MAIL, "subject": subject} if what == "edit" else None
                    ruling = Ruling(Choice.APPROVE, call.version, call.digest, arguments=arguments)
                    decisions.decide(call.pk, self.people[who], ruling)
                case "deny":
                    ruling = Ruling(Choice.DENY, call.version, call.digest, comment="No.")
                    decisions.decide(call.pk, self.people[who], ruling)
                case "withdraw":
                    undoing.undo(call.pk, self.people[who], call.version)
                case "claim":
                    with audit.audited():
                        call = call_actions.start_approved(call, self.request, epoch=1)
                    return call.status == Status.STARTED and call.epoch == 1
        except Refusal:
            return False
        return True


@pytest.fixture
def people(desk):
    group = Group.objects.get(name="reviewers")
    for name in NAMES:
        User.objects.get_or_create(username=name)[0].groups.add(group)
    return {name: User.objects.get(username=name) for name in NAMES}


@settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(quorum=st.integers(2, 3), plan=steps)
def test_it_does_what_the_reference_does(alice, people, quorum, plan):
    desk, reference = Desk(alice, people, quorum), Reference(quorum)
    for what, who, subject, old_page in plan:
        if what == "claim" and reference.status != Status.APPROVED:
            continue  # no worker comes to a call that waits
        if old_page and what == "approve" and desk.call().digest != desk.first.digest:
            stale = Ruling(Choice.APPROVE, desk.first.version, desk.first.digest)
            with pytest.raises(Refusal):
                decisions.decide(desk.first.pk, people[who], stale)
            continue
        expected = reference.do(what, who, subject)
        assert desk.do(what, who, subject) == expected, (what, who, subject)
        call = desk.call()
        assert (call.status, call.arguments["subject"]) == (reference.status, reference.subject)
        assert call.approvals == len(reference.approvals)
        counting = Decision.objects.filter(call=call, undone_at=None).exclude(choice=Choice.DENY)
        assert sorted(one.by.get_username() for one in counting.select_related("by")) == sorted(
            reference.approvals
        )
        assert all(one.digest == call.digest for one in counting)
        if call.status == Status.STARTED:
            assert counting.count() >= quorum
            break
    assert trail.verify()[1] is None
