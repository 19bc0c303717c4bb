"""Verdicts: what the policies say of a call. Pure: no database, no clock, no settings."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from fnmatch import fnmatchcase

from approvals.states import Effect, Risk

REVIEWERS = "reviewers"


@dataclass(frozen=True)
class Terms:
    """What an asked call demands. Frozen into the call when it is asked."""

    groups: tuple[str, ...] = (REVIEWERS,)
    requester_may_decide: bool = False
    open_for: timedelta = timedelta(hours=24)
    executable_for: timedelta = timedelta(minutes=15)
    trust_expires_in: timedelta = timedelta(hours=8)
    trust_max_uses: int | None = None


@dataclass(frozen=True)
class Rule:
    """A policy, without its row."""

    name: str
    tool: str
    effect: Effect
    agent: str = ""
    provider: str = ""
    risk: Risk | None = None
    terms: Terms = field(default_factory=Terms)

    def matches(self, facts: "Facts") -> bool:
        return (
            fnmatchcase(facts.tool, self.tool)
            and self.agent in ("", facts.agent)
            and self.provider in ("", facts.provider)
        )

    @property
    def specificity(self) -> int:
        """2 for an exact name, 1 for a pattern, 0 for `*`."""
        if self.tool == "*":
            return 0
        return 1 if any(mark in self.tool for mark in "*?[") else 2


@dataclass(frozen=True)
class Facts:
    """What a verdict may depend on."""

    tool: str
    provider: str = "local"
    agent: str = ""
    known: bool = True  # a person has looked at this definition of the tool
    trusted: bool = False  # a live trust grant covers the call
    risk: Risk = Risk.MEDIUM


@dataclass(frozen=True)
class Verdict:
    """Allow, ask, always ask or block; the policy that won, and a sentence that says why."""

    effect: Effect
    policy: str
    why: str
    risk: Risk
    by_trust: bool = False
    terms: Terms = field(default_factory=Terms)

    @property
    def asks(self) -> bool:
        return self.effect in (Effect.ASK, Effect.ALWAYS_ASK)


def judge(facts: Facts, rules: Iterable[Rule]) -> Verdict:
    """The verdict on a call. First match wins; the order of `rules` makes no difference:

    1. block, 2. always ask, 3. a live trust grant allows, 4. the most specific of allow and ask (a tie
    asks), 5. ask. A definition that no person has looked at is asked for, whatever a policy allows.
    """
    matching = sorted((rule for rule in rules if rule.matches(facts)), key=_strongest_first)
    for effect in (Effect.BLOCK, Effect.ALWAYS_ASK):
        for rule in matching:
            if rule.effect == effect:
                return _verdict(rule, facts)
    if facts.trusted:
        return Verdict(Effect.ALLOW, "", "Trusted in this session.", facts.risk, by_trust=True)
    if not matching:
        return Verdict(Effect.ASK, "", "No policy matches this tool.", facts.risk)
    verdict = _verdict(matching[0], facts)
    if verdict.effect == Effect.ALLOW and not facts.known:
        why = "Nobody has looked at this tool, or its definition changed."
        return replace(verdict, effect=Effect.ASK, policy="", why=why)
    return verdict


def _strongest_first(rule: Rule) -> tuple[int, bool, str]:
    return -rule.specificity, rule.effect == Effect.ALLOW, rule.name


def _verdict(rule: Rule, facts: Facts) -> Verdict:
    return Verdict(rule.effect, rule.name, "", rule.risk or facts.risk, terms=rule.terms)
