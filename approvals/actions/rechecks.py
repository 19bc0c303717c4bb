"""Whether what would run is still what was decided, or allowed: looked at just before each effect. Changes nothing."""

from __future__ import annotations

from django.db.models.functions import Now

from approvals.actions.verdicts import Judged, Request, examine, thawed
from approvals.digest import call_digest
from approvals.errors import DefinitionChanged, InvalidArguments, NotFound
from approvals.models import Decision, ToolCall, TrustGrant
from approvals.policy import Verdict, stricter
from approvals.states import Choice, Effect, Fault, Status


def changed(call: ToolCall, request: Request) -> tuple[Fault, str] | None:
    """Why what would run is not what was decided, as a word and a sentence; None when it is."""
    decision = call.decision()
    try:  # a decision is for this call: trust neither adds to it nor hides what a policy asks for by now
        judged = examine(request, heed_trust=decision is None)
    except (DefinitionChanged, NotFound):
        return fault_of(Fault.DEFINITION)
    except InvalidArguments:
        return fault_of(Fault.ARGUMENTS)
    if judged.tool.definition != call.definition:
        return fault_of(Fault.DEFINITION)
    stored = call_digest(
        session=call.session, tool=call.tool, definition=judged.tool.definition, arguments=call.arguments
    )
    if stored != call.digest or not _approved(call, decision):
        return fault_of(Fault.ARGUMENTS)
    if decision and not _enough(call):
        return fault_of(Fault.APPROVALS)
    if not _trust_stands(call, decision):
        return fault_of(Fault.REVOKED)
    if judged.verdict.effect == Effect.BLOCK:
        return Fault.BLOCKED, f"The policy “{judged.verdict.policy}” blocks it now."
    if decision and judged.verdict.asks and stricter(judged.verdict.terms, thawed(call.terms)):
        return Fault.STRICTER, _asks_for_more(judged.verdict)
    if decision is None and _is_asked_for_now(call, judged):
        return Fault.BLOCKED, "People are asked for it now."
    return None


def _asks_for_more(verdict: Verdict) -> str:
    """A lenient policy that is gone, or off, is lenient no more: what no policy matches asks on the usual terms."""
    if verdict.policy:
        return f"The policy “{verdict.policy}” asks for more now than it was approved with."
    return f"It takes more now than it was approved with. {verdict.why}"


def _is_asked_for_now(call: ToolCall, judged: Judged) -> bool:
    """Nobody was asked when it was started. Trust that is over still covers what it had started."""
    if not judged.verdict.asks:
        return False
    now = judged.verdict.terms
    more = now.quorum > 1 or stricter(now, thawed(call.terms))
    return call.trust_id is None or judged.verdict.effect == Effect.ALWAYS_ASK or more


def fault_of(fault: Fault) -> tuple[Fault, str]:
    return fault, f"{fault.label}."


def _approved(call: ToolCall, decision: Decision | None) -> bool:
    """A decision covers exactly this digest, or policies allowed the call without one."""
    if decision is None:
        return call.status in (Status.ALLOWED, Status.STARTED) and not call.groups
    return decision.choice != Choice.DENY and decision.digest == call.digest


def _enough(call: ToolCall) -> bool:
    """As many people as it takes approved exactly this, each of them once; counted anew, whatever the row says."""
    if call.quorum == 1:
        return True  # the decision that was looked at is the one
    counted = call.decisions.filter(undone_at=None, round=call.round, digest=call.digest)
    people = counted.exclude(choice=Choice.DENY).order_by().values("by").distinct()
    return people.count() >= call.quorum


def _trust_stands(call: ToolCall, decision: Decision | None) -> bool:
    """A revoke stops the call on which trust was given, and one that a dead worker had started by it.

    A person who lets it run again decides anew. Locked: the revoke waits for the claim, or wins. What trust let through
    and nobody has started yet starts no later than the trust itself ends.
    """
    grant_id = decision.grant_id if decision else call.trust_id
    if grant_id is None:
        return True
    grants = TrustGrant.objects.select_for_update().filter(pk=grant_id)
    if call.status == Status.ALLOWED:
        grants = grants.filter(expires_at__gt=Now())
    return list(grants.values_list("revoked_at", flat=True)) == [None]
