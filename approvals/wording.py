"""Where a call stands, in words that people would say."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User

from approvals.actions.calls import SYSTEM
from approvals.edited import is_edit_note
from approvals.models import AuditEntry, Decision, ToolCall
from approvals.presentation import span
from approvals.sentences import NUMBERS
from approvals.states import UNSETTLED, Choice, Status


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


def state(call: ToolCall, waiting_for: str = "", stopped_by: str = "") -> State:
    """Where the call stands, for the person who asked and for the reviewers alike."""
    decision = decision_of(call)
    match call.status:
        case Status.PENDING:
            so_far = both(approvers(call)) if call.approvals else ""
            verb = "has" if call.approvals == 1 else "have"
            return State("wait", f"Waiting for {waiting_for}", so_far and f"{so_far} {verb} approved.")
        case Status.DENIED:
            comment = decision.comment if decision else ""
            return State("bad", f"Denied by {who(decision)}", comment, quote=True)
        case Status.BLOCKED:
            return State("bad", f"Blocked by policy {call.policy}" if call.policy else "Blocked", call.why)
        case Status.EXPIRED:
            return State("quiet", "Expired", "Nobody decided in time. It did not run.")
        case Status.CANCELLED:
            if stopped_by:
                return State("quiet", f"Stopped by {stopped_by}", "It did not run.")
            return State("quiet", "Cancelled", "Its chat was stopped or broke off. It did not run.")
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
    """Who changed the arguments before the call ran; empty when they are the agent's own. Others who approve what was
    changed come after them."""
    return (next(iter(approvers(call)), "") or who(decision_of(call))) if call.proposed is not None else ""


def result_text(call: ToolCall) -> str:
    """The texts of a result, without what the agent alone is told; empty when there are none."""
    blocks = call.result if isinstance(call.result, list) else []
    texts = [text for block in blocks if isinstance(block, dict) for text in _texts(block, call)]
    return "\n".join(texts[1:] if texts and _is_edit_note(texts[0], call) else texts)


def _texts(block: dict[str, Any], call: ToolCall) -> list[str]:
    """JSON is for the agent, unless it runs elsewhere, where no chat tells people of it."""
    if "text" in block:
        return [block["text"]]
    return (
        [json.dumps(block["json"], indent=2, ensure_ascii=False)]
        if call.elsewhere and "json" in block
        else []
    )


def _is_edit_note(text: Any, call: ToolCall) -> bool:
    return call.proposed is not None and is_edit_note(text, call.arguments)


def took(call: ToolCall) -> str:
    if not call.started_at or not call.finished_at:
        return "just now"
    seconds = (call.finished_at - call.started_at).total_seconds()
    if seconds < 0.05:
        return "under 0.1 s"
    return f"{seconds:.1f} s" if seconds < 10 else span(timedelta(seconds=seconds))


def who(decision: Decision | None) -> str:
    return decision.by.get_username() if decision else "somebody"


def both(names: list[str]) -> str:
    """As "rita, remy and rob"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _leave(call: ToolCall, decision: Decision | None) -> str:
    """By whose leave it runs."""
    if decision and call.quorum > 1:
        return f"Approved by {both(approvers(call)) or 'somebody'}"
    if decision:
        return f"{'Trusted' if decision.choice == Choice.TRUST else 'Approved'} by {who(decision)}"
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


def stopped_by(calls: Iterable[ToolCall]) -> dict[UUID, str]:
    """Who stopped those of the calls that are cancelled, as the audit trail has it; at most one query for all."""
    cancelled = [str(call.pk) for call in calls if call.status == Status.CANCELLED]
    if not cancelled:
        return {}
    entries = AuditEntry.objects.filter(call__in=cancelled, kind="call.cancelled").exclude(actor=SYSTEM)
    return {UUID(call): actor for call, actor in entries.values_list("call", "actor")}


def when_it_runs(others: int) -> str:
    """`others`: calls of the same run that wait for somebody. The agent goes on when it has the answers to all."""
    if not others:
        return "It runs as soon as the agent goes on."
    if others == 1:
        return "It runs once the other call of the same turn is decided, too."
    return f"It runs once {others} other calls of the same turn are decided, too."


def became(call: ToolCall) -> State:
    """What became of a call that is not pending any more, as a sentence of its own."""
    match call.status:
        case Status.DENIED | Status.BLOCKED:
            return State("bad", "It did not run.")
        case Status.APPROVED | Status.ALLOWED:
            if call.elsewhere:
                return State("run", "It runs once the agent, which runs elsewhere, takes it up.")
            others = ToolCall.objects.filter(run=call.run, status__in=UNSETTLED).count()
            return State("run", when_it_runs(others))
        case Status.STARTED:
            return State("run", "It is running.")
        case Status.SUCCEEDED:
            return State("good", f"Done in {took(call)}.")
        case Status.FAILED:
            return State("bad", "It ran and failed.")
    where = state(call, stopped_by=stopped_by([call]).get(call.pk, ""))
    return State(where.tone, f"{where.text}. {where.note}" if where.note else f"{where.text}.")
