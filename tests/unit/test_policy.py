"""Verdicts. The order of the policies never counts; the strictest and the most specific do."""

import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from approvals.policy import Facts, Policies, Rule, Terms
from approvals.policy import judge as judge_by
from approvals.states import Effect, Risk

PATTERNS = ["send_email", "send_*", "*_email", "*", "delete_files", "[sd]*"]
facts_of_email = st.builds(
    Facts,
    tool=st.just("send_email"),
    agent=st.sampled_from(["", "assistant", "clerk"]),
    provider=st.sampled_from(["local", "remote"]),
    known=st.booleans(),
    trusted=st.booleans(),
)
a_rule = st.builds(
    Rule,
    name=st.text("abcdef", min_size=1, max_size=8),
    tool=st.sampled_from(PATTERNS),
    effect=st.sampled_from(Effect),
    agent=st.sampled_from(["", "assistant"]),
    provider=st.sampled_from(["", "local"]),
    risk=st.sampled_from([None, *Risk]),
)
rules_by_name = st.lists(a_rule, max_size=8, unique_by=lambda rule: rule.name)


def judge(facts, rules):
    return judge_by(facts, Policies(rules))


def rule(effect, tool="send_email", name="", **more):
    return Rule(name or f"{effect} {tool}", tool, Effect(effect), **more)


def effect(*rules, **facts):
    return judge(Facts(**{"tool": "send_email", **facts}), rules).effect


@given(facts_of_email, rules_by_name, st.randoms())
def test_it_judges_alike_in_every_order(facts: Facts, rules: list[Rule], dice: random.Random):
    shuffled = list(rules)
    dice.shuffle(shuffled)
    assert judge(facts, shuffled) == judge(facts, rules)


@given(facts_of_email, rules_by_name)
def test_it_blocks_whatever_else_matches(facts, rules):
    assume("last" not in {each.name for each in rules})
    verdict = judge(facts, [*rules, rule("block", "*", name="last")])
    assert verdict.effect == Effect.BLOCK
    assert not verdict.by_trust


@given(facts_of_email, rules_by_name)
def test_it_always_asks_unless_blocked(facts, rules):
    verdict = judge(facts, [*rules, rule("always_ask", "*", name="last")])
    assert verdict.effect in (Effect.ALWAYS_ASK, Effect.BLOCK)


@given(facts_of_email, rules_by_name)
def test_it_allows_nothing_that_no_rule_and_no_trust_allows(facts, rules):
    verdict = judge(facts, rules)
    allowing = [
        each for each in rules if each in Policies(rules).about(facts) and each.effect == Effect.ALLOW
    ]
    if verdict.effect == Effect.ALLOW:
        assert facts.trusted or (allowing and facts.known)
    if verdict.by_trust:
        assert facts.trusted


@given(facts_of_email, rules_by_name)
def test_it_is_never_weakened_by_one_more_question(facts, rules):
    """Adding `ask` for exactly this tool, agent and provider leaves only trust to allow it."""
    verdict = judge(facts, [*rules, rule("ask", name="zz")])
    assert verdict.effect != Effect.ALLOW or verdict.by_trust


@pytest.mark.parametrize(
    ("strong", "weak"),
    [
        (("allow", "send_email"), ("ask", "send_*")),
        (("ask", "send_email"), ("allow", "send_*")),
        (("allow", "send_*"), ("ask", "*")),
        (("ask", "send_?mail"), ("allow", "*")),
    ],
)
def test_it_prefers_the_more_specific(strong, weak):
    assert effect(rule(*weak), rule(*strong)) == strong[0]


def test_it_asks_when_two_are_equally_specific():
    assert effect(rule("allow", name="a"), rule("ask", name="b")) == Effect.ASK
    assert effect(rule("allow", "send_*"), rule("ask", "*_email")) == Effect.ASK


def test_it_asks_when_nothing_matches():
    verdict = judge(Facts("send_email"), [rule("allow", "get_weather")])
    assert (verdict.effect, verdict.policy) == (Effect.ASK, "")
    assert verdict.why


def test_it_lets_trust_win_over_ask_alone():
    assert effect(rule("ask"), trusted=True) == Effect.ALLOW
    assert effect(trusted=True) == Effect.ALLOW
    assert effect(rule("always_ask"), trusted=True) == Effect.ALWAYS_ASK
    assert effect(rule("block", "*"), trusted=True) == Effect.BLOCK


def test_it_asks_for_a_definition_that_nobody_looked_at():
    verdict = judge(Facts("send_email", known=False), [rule("allow", "*")])
    assert verdict.effect == Effect.ASK
    assert "looked at" in verdict.why


def test_it_matches_the_agent_and_the_provider():
    assert effect(rule("allow", agent="assistant"), agent="assistant") == Effect.ALLOW
    assert effect(rule("allow", agent="assistant"), agent="clerk") == Effect.ASK
    assert effect(rule("allow", provider="remote")) == Effect.ASK
    assert effect(rule("allow", provider="local")) == Effect.ALLOW


def test_it_tells_upper_from_lower_case():
    assert effect(rule("allow", "Send_Email")) == Effect.ASK


def test_it_takes_the_terms_and_the_risk_of_the_rule_that_won():
    terms = Terms(groups=("finance",))
    won = judge(
        Facts("send_email", risk=Risk.LOW),
        [rule("ask", risk=Risk.HIGH, terms=terms), rule("ask", "*", risk=Risk.MEDIUM)],
    )
    assert (won.risk, won.terms) == (Risk.HIGH, terms)
    assert judge(Facts("send_email", risk=Risk.LOW), [rule("ask")]).risk == Risk.LOW


def test_it_knows_which_verdicts_ask():
    asking = {each for each in Effect if judge(Facts("send_email"), [rule(each)]).asks}
    assert asking == {Effect.ASK, Effect.ALWAYS_ASK}
