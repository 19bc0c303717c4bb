"""Answers in words, as a person types them: y, n or t, or the word that a policy demands. Pure.

The rules are those of Strands' HumanInTheLoop handler: trust is looked for first, then yes; everything else is no.
"""

from __future__ import annotations

from approvals.states import Choice

YES = frozenset({"y", "yes"})
TRUST = frozenset({"t", "trust"})


def choice_of(answer: object, *, trustable: bool, word: str = "") -> Choice:
    """What an answer decides. `word`: where a policy demands one, only exactly this approves, and nothing trusts.

    `True` approves. No answer, a number, a list: all of these deny.
    """
    if word:
        return Choice.APPROVE if isinstance(answer, str) and answer.strip() == word else Choice.DENY
    if answer is True:
        return Choice.APPROVE
    said = answer.strip().lower() if isinstance(answer, str) else ""
    if trustable and said in TRUST:
        return Choice.TRUST
    return Choice.APPROVE if said in YES else Choice.DENY
