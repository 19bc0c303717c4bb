"""Policies that would have saved people from questions they always answer with yes. Never applied by themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast, Length, Now

from approvals.conditions import ConditionFailed, Context, holds
from approvals.models import Decision, ToolCall
from approvals.narrowing import Narrowing, narrowings
from approvals.states import Choice, Effect

PERIOD = timedelta(days=90)
MOST = 5_000  # decisions that are looked at, the latest
LEAST = 10  # approvals that make a habit
PEOPLE = 2  # who approved; the habit of one is none of the desk
SHOWN = 20
CANDIDATES = 50  # conditions of one tool that are looked at, the most frequent
LARGE = 20_000  # characters of arguments


@dataclass(frozen=True)
class Suggestion:
    """`condition`: empty where every call of the tool was approved. `approved`: all there were; none was edited."""

    tool: str
    condition: str
    words: str
    approved: int
    people: int
    example: Any

    @property
    def name(self) -> str:
        return f"{self.tool}: {self.words}" if self.condition else self.tool


@dataclass(frozen=True)
class _Answer:
    """What a person answered to a call."""

    arguments: Any
    yes: bool
    who: int

    @cached_property
    def context(self) -> Context:
        return Context({"args": self.arguments})


def suggest(calls: QuerySet[ToolCall]) -> list[Suggestion]:
    """The widest habits of each tool, the most frequent first; from the last decisions on these calls."""
    found = [each for tool, answers in _answers(calls).items() for each in _habits(tool, answers)]
    return sorted(found, key=lambda each: -each.approved)[:SHOWN]


def _answers(calls: QuerySet[ToolCall]) -> dict[str, list[_Answer]]:
    """By tool, one a call. Left out: calls that are always asked for, which no policy that allows would spare anybody;
    those that several approved, who would be spared each other; very large ones."""
    small = calls.annotate(size=Length(Cast("arguments", TextField()))).filter(size__lt=LARGE)
    asked = small.exclude(effect=Effect.ALWAYS_ASK).values("pk")
    made = Decision.objects.filter(call__in=asked, undone_at=None, round=1, at__gt=Now() - PERIOD)
    made = made.filter(Q(call__quorum=1) | Q(choice=Choice.DENY))
    rows = made.order_by("-pk").values_list(
        "call__tool", "call__arguments", "call__proposed", "choice", "by_id"
    )
    answers: dict[str, list[_Answer]] = defaultdict(list)
    for tool, arguments, proposed, choice, who in rows[:MOST]:
        asked = arguments if proposed is None else proposed
        answers[tool].append(_Answer(asked, choice != Choice.DENY and proposed is None, who))
    return answers


def _habits(tool: str, answers: list[_Answer]) -> list[Suggestion]:
    whole = _habit(tool, Narrowing("", "every call of it", 9), answers)
    habits = [whole] if whole else []
    covered: set[int] = set()
    for each in sorted(_candidates(answers), key=lambda each: -each.breadth):
        meant = [number for number, answer in enumerate(answers) if _holds(each.condition, answer.context)]
        if covered.issuperset(meant):
            continue  # a wider one says it already
        if habit := _habit(tool, each, [answers[number] for number in meant]):
            habits.append(habit)
            covered.update(meant)
    return habits


def _candidates(answers: Iterable[_Answer]) -> Iterator[Narrowing]:
    """What holds for enough of the calls that were approved."""
    often: dict[Narrowing, int] = defaultdict(int)
    for answer in answers:
        for each in narrowings(answer.arguments) if answer.yes else []:
            often[each] += 1
    frequent = sorted(often.items(), key=lambda item: -item[1])[:CANDIDATES]
    yield from (each for each, count in frequent if count >= LEAST)


def _habit(tool: str, what: Narrowing, answers: list[_Answer]) -> Suggestion | None:
    people = {answer.who for answer in answers}
    if len(answers) < LEAST or len(people) < PEOPLE or not all(answer.yes for answer in answers):
        return None
    return Suggestion(tool, what.condition, what.words, len(answers), len(people), answers[0].arguments)


def _holds(condition: str, context: Context) -> bool:
    try:
        return holds(condition, context)
    except ConditionFailed:
        return False
