"""Answers in words, as a person types them: y, n or t, or the word that a policy demands. Pure.

The rules are those of Strands' HumanInTheLoop handler: trust is looked for first, then yes; everything else is no.
Hooks (hooks.py) may take the place of `approves` and `trusts`.
"""

from __future__ import annotations

from collections.abc import Callable

from approvals.states import Choice

YES = frozenset({"y", "yes"})
TRUST = frozenset({"t", "trust"})
NO = frozenset({"n", "no"})


def approves(answer: object) -> bool:
    """`True`, y or yes."""
    return answer is True or _said(answer) in YES


def trusts(answer: object) -> bool:
    return _said(answer) in TRUST


def declines(answer: object) -> bool:
    """An outright no; a typing mistake is none."""
    return answer is False or _said(answer) in NO


def choice_of(
    answer: object,
    *,
    trustable: bool,
    word: str = "",
    evaluate: Callable[[object], bool] = approves,
    evaluate_trust: Callable[[object], bool] = trusts,
) -> Choice:
    """What an answer decides. `word`: where a policy demands one, only exactly this approves, and nothing trusts.

    `True` approves. No answer, a number, a list: all of these deny. Of what the functions give, only `True` counts.
    """
    if word:
        return Choice.APPROVE if isinstance(answer, str) and answer.strip() == word else Choice.DENY
    if trustable and evaluate_trust(answer) is True:
        return Choice.TRUST
    return Choice.APPROVE if evaluate(answer) is True else Choice.DENY


def _said(answer: object) -> str:
    return answer.strip().lower() if isinstance(answer, str) else ""
