"""The set of policies as a whole: read, compared with another, made equal to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from django.contrib.auth.models import Group
from django.db.models import Prefetch

from approvals import audit
from approvals.actions import changes
from approvals.errors import InvalidInput
from approvals.models import ToolPolicy
from approvals.policy import Rule, Terms
from approvals.policy_files import Entry
from approvals.states import Effect, Risk


@dataclass(frozen=True)
class Difference:
    """What would have to change for one set to become the other."""

    added: tuple[Entry, ...]
    changed: tuple[tuple[Entry, Entry], ...]  # (as it is, as it will be)
    removed: tuple[Entry, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def entry(policy: ToolPolicy) -> Entry:
    """A stored policy as the file has it."""
    values = {each.name: getattr(policy, each.name) for each in fields(Entry) if each.name != "groups"}
    return Entry(**values, groups=tuple(sorted(group.name for group in policy.groups.all())))


def rule_of(each: Entry) -> Rule:
    """The entry as the policy engine takes it."""
    terms = {field.name: getattr(each, field.name) for field in fields(Terms) if field.name != "groups"}
    return Rule(
        name=each.name,
        tool=each.tool,
        effect=Effect(each.effect),
        agent=each.agent,
        provider=each.provider,
        when=each.when,
        risk=Risk(each.risk) if each.risk else None,
        terms=Terms(groups=each.groups or Terms().groups, **terms),
    )


def stored() -> list[Entry]:
    """All policies there are, by name."""
    rows = ToolPolicy.objects.order_by("name").prefetch_related(Prefetch("groups"))
    return [entry(row) for row in rows]


def difference(now: Iterable[Entry], then: Iterable[Entry]) -> Difference:
    before, after = ({each.name: each for each in entries} for entries in (now, then))
    return Difference(
        added=tuple(each for name, each in after.items() if name not in before),
        changed=tuple(
            (before[name], each) for name, each in after.items() if name in before and before[name] != each
        ),
        removed=tuple(each for name, each in before.items() if name not in after),
    )


def compare(entries: Sequence[Entry]) -> Difference:
    """What `replace_all` would change. Raises InvalidInput as it does."""
    _groups(entries)
    return difference(stored(), entries)


@audit.audited(durable=True)
def replace_all(entries: Sequence[Entry], actor: str) -> Difference:
    """Make the set of policies equal to these, in one transaction. What is equal already is left alone.

    Raises InvalidInput for a group that there is not; nothing has changed then.
    """
    groups = _groups(entries)
    change = difference(stored(), entries)
    for each in change.removed:
        changes.record("policy.changed", actor, _described(each.name), None)
        ToolPolicy.objects.get(name=each.name).delete()
    for _, each in change.changed:
        before = _described(each.name)
        _store(ToolPolicy.objects.get(name=each.name), each, groups)
        changes.record("policy.changed", actor, before, _described(each.name))
    for each in change.added:
        _store(ToolPolicy(), each, groups)
        changes.record("policy.changed", actor, None, _described(each.name))
    return change


def _groups(entries: Iterable[Entry]) -> dict[str, Group]:
    known = {group.name: group for group in Group.objects.all()}
    for each in entries:
        for name in each.groups:
            if name not in known:
                raise InvalidInput(
                    f"{each.name}: there is no group “{name}”. There are: {', '.join(sorted(known))}."
                )
    return known


def _store(row: ToolPolicy, each: Entry, groups: dict[str, Group]) -> None:
    for field in fields(Entry):
        if field.name != "groups":
            setattr(row, field.name, getattr(each, field.name))
    row.save()
    row.groups.set([groups[name] for name in each.groups])


def _described(name: str) -> dict[str, object]:
    return changes.policy(ToolPolicy.objects.get(name=name))
