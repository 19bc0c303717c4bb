"""Why a verdict is what it is: what became of each policy. Pure, and slower than `judge`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from approvals.conditions import ConditionFailed, holds
from approvals.policy import Facts, Policies, Rule, Verdict, judge
from approvals.states import Effect


@dataclass(frozen=True)
class Considered:
    """One policy, whether it won, and a sentence that says why or why not."""

    rule: Rule
    won: bool
    why: str
    matched: bool  # it was about this call, and another one won all the same


def explain(facts: Facts, policies: Policies) -> tuple[Verdict, list[Considered]]:
    """The verdict, and each policy of the set: the winner first, then those that matched, then the others."""
    verdict = judge(facts, policies)
    about = policies.about(facts)
    ahead = _ahead(about, facts, verdict)
    names = {rule.name for rule in about}
    found = [_considered(rule, rule.name in names, facts, verdict, ahead) for rule in policies.rules]
    return verdict, sorted(found, key=lambda each: (not each.won, not each.matched))


def _ahead(about: Iterable[Rule], facts: Facts, verdict: Verdict) -> Rule | None:
    """The policy that the others lost to: the winner, or the one whose terms count where none may allow."""
    if verdict.policy:
        return next(rule for rule in about if rule.name == verdict.policy)
    if verdict.by_trust:
        return None
    return next((rule for rule in about if rule.effect == Effect.ASK and rule.applies(facts)), None)


def _considered(rule: Rule, about: bool, facts: Facts, verdict: Verdict, ahead: Rule | None) -> Considered:
    if not about:
        return Considered(rule, False, _not_about(rule, facts), False)
    condition, applies = _condition(rule, facts)
    if not applies:
        return Considered(rule, False, condition, False)
    if rule.name == verdict.policy:
        return Considered(rule, True, condition or "It decides.", True)
    return Considered(rule, False, _beaten(rule, verdict, ahead), True)


def _not_about(rule: Rule, facts: Facts) -> str:
    if rule.concerns(facts):
        return f"It is about {rule.tool}."
    if rule.agent not in ("", facts.agent):
        return f"It is about the agent {rule.agent} alone."
    return f"It is about tools of {rule.provider} alone."


def _condition(rule: Rule, facts: Facts) -> tuple[str, bool]:
    """What came of its condition, as a sentence, and whether the policy applies."""
    if not rule.when:
        return "", True
    try:
        met = holds(rule.when, facts.context)
    except ConditionFailed as failed:
        against = rule.effect != Effect.ALLOW
        so = "so it counts as met" if against else "so it allows nothing"
        return f"Its condition could not be checked ({failed}), {so}.", against
    return ("Its condition is met.", True) if met else ("Its condition is not met.", False)


def _beaten(rule: Rule, verdict: Verdict, ahead: Rule | None) -> str:
    """Why a policy that applies did not win."""
    if verdict.by_trust:
        return "Trust in this session comes before it."
    if verdict.effect in (Effect.BLOCK, Effect.ALWAYS_ASK) and rule.effect != verdict.effect:
        return f"“{verdict.effect.label}” comes first, whatever else matches."
    if not verdict.policy and rule.effect == Effect.ALLOW:
        return "It cannot allow a tool whose definition nobody has looked at."
    if ahead is None or rule.name == ahead.name:
        return "Its terms count, since nobody has looked at the tool’s definition."
    return _ranked(ahead, rule)


def _ranked(ahead: Rule, rule: Rule) -> str:
    """Why the one is before the other, of two that apply and could both win."""
    if ahead.specificity != rule.specificity:
        return f"“{ahead.name}” is more specific."
    if ahead.precision != rule.precision:
        return f"“{ahead.name}” is as specific and has a condition."
    if ahead.effect != rule.effect:
        return f"“{ahead.name}” is as specific and asks: a tie asks."
    if ahead.terms.quorum != rule.terms.quorum:
        return f"“{ahead.name}” is as specific and asks more people."
    return f"“{ahead.name}” is as specific and comes first by name."
