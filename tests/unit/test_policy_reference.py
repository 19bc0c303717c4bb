"""The policy engine beside a naive one, written from DESIGN.md's words: no difference over 10,000 random sets."""

from __future__ import annotations

import random
from fnmatch import fnmatchcase

import pytest

from approvals.explain import explain
from approvals.policy import Facts, Policies, Rule, Terms, judge
from approvals.states import Effect, Risk

TOOLS = ["send_email", "send_sms", "delete_files", "pay_invoice", "get_weather", "x"]
PATTERNS = ["*", "send_*", "*_email", "[sd]*", "pay_?nvoice", "**", "get_*", "nothing", *TOOLS]
# Each with what it is for arguments {"amount": a, "to": t}: None is an error.
CONDITIONS = {
    "": lambda args, user: True,
    "args.amount > 1000": lambda args, user: args["amount"] > 1000 if "amount" in args else None,
    'args.to.endsWith("@example.com")': lambda args, user: (
        args["to"].endswith("@example.com") if "to" in args else None
    ),
    'user.name == "alice"': lambda args, user: user == "alice",
    'has(args.to) && args.to == "x"': lambda args, user: args.get("to") == "x",
    "args.amount": lambda args, user: None,
    "args.amount >": lambda args, user: None,
    "true": lambda args, user: True,
}


GROUPS = [("reviewers",), ("finance",)]


def naive(facts: Facts, rules: list[Rule]) -> tuple[Effect, str, bool]:
    """(effect, the policy that won, by trust), in as many loops as there are sentences in the design."""
    matching = []
    for rule in rules:
        if not fnmatchcase(facts.tool, rule.tool):
            continue
        if rule.agent and rule.agent != facts.agent or rule.provider and rule.provider != facts.provider:
            continue
        met = CONDITIONS[rule.when](facts.arguments, facts.user)
        if met is None:
            met = rule.effect != Effect.ALLOW
        if met:
            matching.append(rule)

    def rank(rule):
        exact = 0 if not set("*?[") & set(rule.tool) else 2 if rule.tool == "*" else 1
        asks = 1 if rule.effect == Effect.ALLOW else 0
        return exact, 0 if rule.when else 1, asks, -rule.terms.quorum, rule.name

    matching.sort(key=rank)
    for effect in (Effect.BLOCK, Effect.ALWAYS_ASK):
        for rule in matching:
            if rule.effect == effect:
                return effect, rule.name, False
    asks_two = matching and matching[0].effect == Effect.ASK and matching[0].terms.quorum > 1
    asks_others = (
        matching and matching[0].effect == Effect.ASK and matching[0].terms.groups != facts.trust_terms.groups
    )
    if facts.trusted and not asks_two and not asks_others:
        return Effect.ALLOW, "", True
    if not matching or (matching[0].effect == Effect.ALLOW and not facts.known):
        return Effect.ASK, "", False
    return matching[0].effect, matching[0].name, False


def some_rules(dice: random.Random) -> list[Rule]:
    return [
        Rule(
            name=f"policy {number}",
            tool=dice.choice(PATTERNS),
            effect=dice.choice([*Effect, Effect.ALLOW, Effect.ASK, Effect.ALLOW]),
            agent=dice.choice(["", "", "assistant", "clerk"]),
            provider=dice.choice(["", "", "", "remote"]),
            when=dice.choice(["", "", *CONDITIONS]),
            terms=Terms(groups=dice.choice(GROUPS), quorum=dice.choice([1, 1, 2])),
        )
        for number in dice.sample(range(100), dice.randint(0, 12))
    ]


def some_facts(dice: random.Random) -> Facts:
    args: dict[str, object] = {}
    if dice.random() < 0.7:
        args["amount"] = dice.choice([1, 1000, 1000.5, 5000])
    if dice.random() < 0.7:
        args["to"] = dice.choice(["x", "a@example.com", "a@elsewhere.org"])
    return Facts(
        tool=dice.choice(TOOLS),
        agent=dice.choice(["assistant", "clerk", ""]),
        provider=dice.choice(["local", "remote"]),
        known=dice.random() < 0.8,
        trusted=dice.random() < 0.3,
        trust_terms=Terms(groups=dice.choice(GROUPS)),
        arguments=args,
        user=dice.choice(["alice", "bob"]),
    )


@pytest.mark.parametrize("seed", range(10))
def test_it_differs_from_the_naive_one_in_nothing(seed):
    dice = random.Random(seed)
    seen = set()
    for _ in range(1000):
        rules, facts = some_rules(dice), some_facts(dice)
        verdict = judge(facts, Policies(rules))
        expected = naive(facts, rules)
        assert (verdict.effect, verdict.policy, verdict.by_trust) == expected, (facts, rules)
        seen.add((verdict.effect, bool(verdict.policy), verdict.by_trust))
    assert len(seen) >= 6  # all kinds of verdicts came up


@pytest.mark.parametrize("seed", range(3))
def test_the_explanation_names_the_same_winner(seed):
    dice = random.Random(seed)
    for _ in range(300):
        rules, facts = some_rules(dice), some_facts(dice)
        verdict, considered = explain(facts, Policies(rules))
        assert verdict == judge(facts, Policies(rules))
        assert {each.rule.name for each in considered} == {rule.name for rule in rules}
        assert [each.rule.name for each in considered if each.won] == [verdict.policy][: bool(verdict.policy)]
        assert all(each.why for each in considered)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (Rule("a", "send_*", Effect.ASK, terms=Terms(quorum=9)), "“won” is more specific."),
        (
            Rule("a", "send_email", Effect.ASK, terms=Terms(quorum=9)),
            "“won” is as specific and has a condition.",
        ),
        (Rule("a", "send_email", Effect.ALLOW, when="true"), "“won” is as specific and asks: a tie asks."),
        (Rule("a", "send_email", Effect.ASK, when="true"), "“won” is as specific and asks more people."),
        (
            Rule("x", "send_email", Effect.ASK, when="true", terms=Terms(quorum=2)),
            "“won” is as specific and comes first by name.",
        ),
    ],
)
def test_it_says_which_of_two_that_apply_comes_first(other, why):
    won = Rule("won", "send_email", Effect.ASK, when="has(args.to)", terms=Terms(quorum=2))
    verdict, considered = explain(Facts("send_email", arguments={"to": "x"}), Policies([other, won]))
    assert (verdict.policy, considered[1].why) == ("won", why)


def test_it_says_whose_terms_count_where_none_may_allow():
    free, two = Rule("free", "pay", Effect.ALLOW), Rule("two", "*", Effect.ASK, terms=Terms(quorum=2))
    verdict, considered = explain(Facts("pay", known=False), Policies([free, two]))
    assert (verdict.policy, verdict.terms.quorum) == ("", 2)
    assert [each.why for each in considered] == [
        "It cannot allow a tool whose definition nobody has looked at.",
        "Its terms count, since nobody has looked at the tool’s definition.",
    ]


def test_what_nobody_looked_at_is_of_high_risk():
    assert judge(Facts("x", known=False), Policies()).risk == Risk.HIGH
    assert judge(Facts("x", known=False), Policies([Rule("a", "x", Effect.ASK)])).risk == Risk.HIGH
    assert (
        judge(Facts("x", known=False), Policies([Rule("a", "x", Effect.ASK, risk=Risk.LOW)])).risk == Risk.LOW
    )
    assert judge(Facts("x", risk=Risk.LOW), Policies()).risk == Risk.LOW


def test_a_condition_that_cannot_be_checked_says_so():
    rule = Rule("Large ones", "pay", Effect.ASK, when="args.amount > 1000")
    verdict = judge(Facts("pay", arguments={}), Policies([rule]))
    assert (verdict.policy, verdict.why) == (
        "Large ones",
        "Its condition could not be checked: there is no amount.",
    )
