"""Verdicts: what the policies say of a call. Pure: no database, no clock, no settings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fnmatch import translate
from functools import cached_property, lru_cache
from typing import Any

from approvals.conditions import ConditionFailed, Context, holds
from approvals.states import Effect, Risk

REVIEWERS = "reviewers"
MANY = 2**31  # no limit
TOOLS_KEPT = 1000  # of a set of policies; whoever asks for more finds them anew


@dataclass(frozen=True)
class Terms:
    """What an asked call demands. Frozen into the call when it is asked.

    `quorum`: how many people have to approve; one denial is enough. `confirm`: a word that whoever approves has to
    type. `justify`: they have to say why. `notify`: how those who may decide are written to; no approval depends on it.
    """

    groups: tuple[str, ...] = (REVIEWERS,)
    quorum: int = 1
    requester_may_decide: bool = False
    requester_may_trust: bool = False
    open_for: timedelta = timedelta(hours=24)
    executable_for: timedelta = timedelta(minutes=15)
    confirm: str = ""
    justify: bool = False
    trust_expires_in: timedelta = timedelta(hours=8)
    trust_max_uses: int | None = None
    notify: str = ""


@dataclass(frozen=True)
class Rule:
    """A policy, without its row."""

    name: str
    tool: str
    effect: Effect
    agent: str = ""
    provider: str = ""
    when: str = ""
    risk: Risk | None = None
    terms: Terms = field(default_factory=Terms)

    @property
    def specificity(self) -> int:
        """2 for an exact name, 1 for a pattern, 0 for `*`."""
        if self.tool == "*":
            return 0
        return 1 if is_pattern(self.tool) else 2

    @property
    def precision(self) -> tuple[int, bool]:
        """How closely it names a call: by the tool first, then by a condition. More is closer."""
        return self.specificity, bool(self.when)

    def concerns(self, facts: Facts) -> bool:
        """It is about calls of this agent and provider; the tool's name is looked at elsewhere."""
        return self.agent in ("", facts.agent) and self.provider in ("", facts.provider)

    def applies(self, facts: Facts) -> bool:
        """Its condition is met, if it has one. A condition without an answer counts against the call."""
        try:
            return not self.when or holds(self.when, facts.context)
        except ConditionFailed:
            return self.effect != Effect.ALLOW


@dataclass(frozen=True)
class Facts:
    """What a verdict may depend on. `user` and those after it are for conditions alone."""

    tool: str
    provider: str = "local"
    agent: str = ""
    known: bool = True  # a person has looked at this definition of the tool
    trusted: bool = False  # a live trust grant covers the call
    trust_terms: Terms = field(default_factory=Terms)  # of the call on which it was given
    risk: Risk = Risk.MEDIUM
    arguments: Any = None
    session: str = ""
    user: str = ""
    user_groups: tuple[str, ...] = ()
    now: datetime | None = None

    @cached_property
    def context(self) -> Context:
        """What conditions are evaluated on; the names are those of conditions.NAMES."""
        names = {
            "args": {} if self.arguments is None else self.arguments,
            "tool": self.tool,
            "agent": self.agent,
            "session": self.session,
            "user": {"name": self.user, "groups": list(self.user_groups)},
        }
        return Context(names if self.now is None else names | {"now": self.now})


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


class Policies:
    """A set of policies, arranged so that a verdict looks only at those that may be about its tool.

    Which ones those are is found once a tool and kept: a desk has few tools, and asks about each again and again.
    """

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = tuple(sorted(rules, key=_strongest_first))
        self._exact: dict[str, list[Rule]] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Rule]] = []
        for rule in self.rules:
            if rule.specificity == 2:
                self._exact.setdefault(rule.tool, []).append(rule)
            else:
                literal = re.split(r"[*?[]", rule.tool, maxsplit=1)[0]
                self._patterns.append((literal, re.compile(translate(rule.tool)), rule))
        self._of_tool = lru_cache(maxsize=TOOLS_KEPT)(self._find)

    def about(self, facts: Facts) -> list[Rule]:
        """Those about the call's tool, agent and provider, the strongest first; conditions are not looked at."""
        return [rule for rule in self._of_tool(facts.tool) if rule.concerns(facts)]

    def _find(self, tool: str) -> tuple[Rule, ...]:
        matching = (
            rule
            for literal, pattern, rule in self._patterns
            if tool.startswith(literal) and pattern.match(tool)
        )
        return (*self._exact.get(tool, ()), *matching)


UNKNOWN = "Nobody has looked at this tool, or its definition changed."


def judge(facts: Facts, policies: Policies) -> Verdict:
    """The verdict on a call. First match wins; the order of the policies makes no difference:

    1. block, 2. always ask, 3. a live trust grant allows, 4. the most specific of allow and ask (exact before
    pattern before `*`; with a condition before without; a tie asks, and asks more people), 5. ask. A definition that
    no person has looked at is asked for, whatever a policy allows. Trust stands in for one person's approval on the
    terms on which it was given: where a policy asks for more, it asks.
    """
    about = policies.about(facts)
    winner = _first(about, facts, Effect.BLOCK) or _first(about, facts, Effect.ALWAYS_ASK)
    if winner:
        return _verdict(winner, facts)
    winner = _first(about, facts, Effect.ASK, Effect.ALLOW)
    if facts.trusted and not (winner and _beyond_trust(winner, facts)):
        terms = winner.terms if winner else Terms()
        risk = _risk(winner.risk if winner else None, facts)
        return Verdict(Effect.ALLOW, "", "Trusted in this session.", risk, by_trust=True, terms=terms)
    if winner is None:
        why = "No policy matches this call." if about else "No policy matches this tool."
        return _unruled(facts, why if facts.known else f"{why} {UNKNOWN}")
    if winner.effect == Effect.ALLOW and not facts.known:
        # not fewer people than it would take without the policy that allows
        asking = _first(about, facts, Effect.ASK)
        unruled = _unruled(facts, UNKNOWN)
        return replace(unruled, terms=asking.terms) if asking else unruled
    return _verdict(winner, facts)


def stricter(now: Terms, then: Terms) -> bool:
    """Whether a call that was decided on the terms of `then` misses something that is demanded now."""
    return (
        now.quorum > then.quorum
        or not set(then.groups) <= set(now.groups)
        or (then.requester_may_decide and not now.requester_may_decide)
        or (bool(now.confirm) and now.confirm != then.confirm)
        or (now.justify and not then.justify)
    )


def _beyond_trust(rule: Rule, facts: Facts) -> bool:
    """It asks for more than one person could have said yes to when trust was given."""
    now, then = rule.terms, facts.trust_terms
    return rule.effect == Effect.ASK and (
        now.quorum > 1
        or stricter(now, then)
        or (then.requester_may_trust and not now.requester_may_trust)
        or now.trust_expires_in < then.trust_expires_in
        or (now.trust_max_uses is not None and (then.trust_max_uses or MANY) > now.trust_max_uses)
    )


def is_pattern(tool: str) -> bool:
    return any(mark in tool for mark in "*?[")


def _first(rules: Iterable[Rule], facts: Facts, *effects: Effect) -> Rule | None:
    return next((rule for rule in rules if rule.effect in effects and rule.applies(facts)), None)


def _strongest_first(rule: Rule) -> tuple[int, bool, bool, int, str]:
    """A tie asks, and asks more people. Names make the order one, whatever it was before."""
    specificity, conditional = rule.precision
    return -specificity, not conditional, rule.effect == Effect.ALLOW, -rule.terms.quorum, rule.name


def _verdict(rule: Rule, facts: Facts) -> Verdict:
    return Verdict(rule.effect, rule.name, _why(rule, facts), _risk(rule.risk, facts), terms=rule.terms)


def _unruled(facts: Facts, why: str) -> Verdict:
    return Verdict(Effect.ASK, "", why, _risk(None, facts))


def _risk(given: Risk | None, facts: Facts) -> Risk:
    """What nobody has looked at is of high risk, unless a policy says what it is."""
    return given or (facts.risk if facts.known else Risk.HIGH)


def _why(rule: Rule, facts: Facts) -> str:
    """What the policy's name does not say by itself."""
    if facts.trusted and rule.effect == Effect.ASK and _beyond_trust(rule, facts):
        return "The trust in this session does not go as far."
    if not rule.when:
        return ""
    try:
        holds(rule.when, facts.context)
    except ConditionFailed as failed:
        return f"Its condition could not be checked: {failed}."
    return ""
