"""What another set of policies would have made of the last calls, in steps of a second: a page shows how far it is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet

from approvals.actions.policies import rule_of, stored
from approvals.actions.verdicts import facts_of
from approvals.models import DryRun, Tool, ToolCall
from approvals.policy import Facts, Policies, judge
from approvals.policy_files import Entry, entry_of
from approvals.states import Effect, Status

STEP = 1.0  # seconds
CHUNK = 200
EXAMPLES = 20
KEPT = 20  # of one person
LIMITS = (1_000, 10_000, 100_000)
_COLUMNS = (
    "pk", "tool", "agent", "session", "arguments", "proposed", "requested_by_id", "requested_at", "trust_id",
    "definition", "status",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """How many calls would go from one effect to another; how many of them people denied."""

    before: Effect
    after: Effect
    calls: int
    denied: int


def begin(by: User, subject: str, after: Sequence[Entry], limit: int) -> DryRun:
    """Note what is to be compared: the policies as they are now with these. `subject`: whose draft it is."""
    before = [each.written() for each in stored()]
    return _begin(by, subject, before, [each.written() for each in after], limit)


def repeat(run: DryRun, limit: int) -> DryRun:
    """The same comparison, of more or of fewer calls."""
    return _begin(run.by, run.subject, run.before, run.after, limit)


def _begin(by: User, subject: str, before: list[Any], after: list[Any], limit: int) -> DryRun:
    old = DryRun.objects.filter(by=by).order_by("-pk").values_list("pk", flat=True)[KEPT - 1 :]
    DryRun.objects.filter(pk__in=list(old)).delete()
    total = min(limit, ToolCall.objects.count())
    return DryRun.objects.create(
        by=by,
        subject=subject,
        before=before,
        after=after,
        limit=limit,
        total=total,
        finished=total == 0,
    )


def advance(run: DryRun, seconds: float = STEP) -> DryRun:
    """Look at the next calls, for about so long. Two who advance the same run do each step once."""
    if run.finished:
        return run
    until = time.monotonic() + seconds
    judges, surroundings = _judges(run), _Surroundings()
    tally, examples, done, position = (
        Counter(_unpacked(run.tally)),
        list(run.examples),
        run.done,
        run.position,
    )
    while done < run.limit:
        size = min(CHUNK, run.limit - done)
        chunk = _chunk(position, size)
        surroundings.meet(chunk)
        for row in chunk:
            facts = surroundings.facts_of(row)
            before, after = (judge(facts, policies).effect for policies in judges)
            tally[before, after, row["status"] == Status.DENIED] += 1
            if before != after and len(examples) < EXAMPLES:
                examples.append([str(row["pk"]), before, after])
            done, position = done + 1, row["pk"]
            if time.monotonic() > until:
                return _store(run, tally, examples, done, position, finished=done >= run.limit)
        if len(chunk) < size:
            return _store(run, tally, examples, done, position, finished=True)
    return _store(run, tally, examples, done, position, finished=True)


def changes(run: DryRun) -> list[Change]:
    """What would change, the most frequent first; and what would not, at the end."""
    tally = Counter(_unpacked(run.tally))
    pairs = {(before, after) for before, after, _ in tally}
    found = [
        Change(
            Effect(before),
            Effect(after),
            tally[before, after, False] + tally[before, after, True],
            tally[before, after, True],
        )
        for before, after in pairs
    ]
    return sorted(found, key=lambda each: (each.before == each.after, -each.calls))


def _judges(run: DryRun) -> tuple[Policies, Policies]:
    return _policies(run.before), _policies(run.after)


def _policies(written: list[dict[str, Any]]) -> Policies:
    entries = map(entry_of, written)
    return Policies(rule_of(entry) for entry in entries if entry.enabled)


def _chunk(position: Any, size: int) -> list[dict[str, Any]]:
    rows: QuerySet[ToolCall] = ToolCall.objects.order_by("-pk")
    if position:
        rows = rows.filter(pk__lt=position)
    return list(rows.values(*_COLUMNS)[:size])


class _Surroundings:
    """What stands around calls, as it is now: their tools and their people. Each is read once a step."""

    def __init__(self) -> None:
        self._tools = {tool.name: tool for tool in Tool.objects.all()}
        self._people: dict[int, tuple[str, tuple[str, ...]]] = {}

    def meet(self, rows: Sequence[dict[str, Any]]) -> None:
        """Read the people of these calls who are not known yet."""
        new = {row["requested_by_id"] for row in rows} - self._people.keys()
        if new:
            self._people |= _people(new)

    def facts_of(self, row: dict[str, Any]) -> Facts:
        """The call as a verdict sees it, at the time when it was asked."""
        name, groups = self._people[row["requested_by_id"]]
        arguments = row["arguments"] if row["proposed"] is None else row["proposed"]
        more = {
            "session": row["session"],
            "trusted": row["trust_id"] is not None,
            "user": name,
            "user_groups": groups,
            "now": row["requested_at"],
        }
        tool = self._tools.get(row["tool"])
        if tool is None:
            return Facts(row["tool"], agent=row["agent"], known=False, arguments=arguments, **more)
        return facts_of(tool, row["agent"], arguments, **more)


def _people(ids: set[int]) -> dict[int, tuple[str, tuple[str, ...]]]:
    """By their key: the name, and the groups by name."""
    found: dict[int, tuple[str, list[str]]] = {}
    for pk, name, group in User.objects.filter(pk__in=ids).values_list("pk", "username", "groups__name"):
        found.setdefault(pk, (name, []))[1].extend([group] if group else [])
    return {pk: (name, tuple(sorted(groups))) for pk, (name, groups) in found.items()}


def _store(
    run: DryRun, tally: Counter[Any], examples: list[Any], done: int, position: Any, *, finished: bool
) -> DryRun:
    packed = [[*key, count] for key, count in sorted(tally.items())]
    DryRun.objects.filter(pk=run.pk, done=run.done).update(
        tally=packed, examples=examples, done=done, position=position, finished=finished
    )
    run.refresh_from_db()
    return run


def _unpacked(tally: list[Any]) -> dict[tuple[str, str, bool], int]:
    return {(before, after, denied): count for before, after, denied, count in tally}
