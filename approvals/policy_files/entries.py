"""A policy as the file has it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

from approvals.durations import format_duration, parse_duration
from approvals.errors import InvalidInput
from approvals.states import Effect


@dataclass(frozen=True)
class Entry:
    """One policy: the fields of its row by their names, and its groups."""

    name: str
    tool: str
    effect: str
    agent: str = ""
    provider: str = ""
    when: str = ""
    enabled: bool = True
    groups: tuple[str, ...] = ()
    quorum: int = 1
    requester_may_decide: bool = False
    open_for: timedelta = timedelta(hours=24)
    executable_for: timedelta = timedelta(minutes=15)
    risk: str = ""
    confirm: str = ""
    justify: bool = False
    trust_expires_in: timedelta = timedelta(hours=8)
    trust_max_uses: int | None = None
    requester_may_trust: bool = False
    notify: str = ""  # channels, in the order of the alphabet, with commas between

    def written(self) -> dict[str, Any]:
        """As the file says it, in its order; what is as usual is left out."""
        said: dict[str, Any] = {}
        trust: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value == each.default:
                continue
            into, name = (trust, TRUST[each.name]) if each.name in TRUST else (said, each.name)
            into[name] = value.split(",") if name == "notify" else _plain(value)
        return said | ({"trust": trust} if trust else {})

    def differences(self, other: Entry) -> list[tuple[str, str, str]]:
        """(field, here, there) for each field that is not the same, as a person reads it."""
        return [
            (each.name, _shown(getattr(self, each.name)), _shown(getattr(other, each.name)))
            for each in fields(self)
            if getattr(self, each.name) != getattr(other, each.name)
        ]


TRUST = {
    "trust_expires_in": "expires_in",
    "trust_max_uses": "max_uses",
    "requester_may_trust": "requester_may",
}
"""What stands under `trust` in the file."""

UNSEEN = "characters that cannot be seen. Take them out."
DURATIONS = frozenset({"open_for", "executable_for", "trust_expires_in"})


def entry_of(said: dict[str, Any]) -> Entry:
    """The entry for a policy that fits the schema. Raises InvalidInput for durations beyond a year."""
    values = {name: value for name, value in said.items() if name != "trust"}
    values |= {name: said["trust"][short] for name, short in TRUST.items() if short in said.get("trust", {})}
    for name in DURATIONS & values.keys():
        values[name] = parse_duration(values[name])
        if values[name] < timedelta(seconds=1):
            raise InvalidInput(f"{name} is at least one second.")
    for name, value in values.items():
        if hides(value):
            raise InvalidInput(f"{name} holds {UNSEEN}")
    if "groups" in values:
        values["groups"] = tuple(sorted(values["groups"]))
    if "notify" in values:
        values["notify"] = ",".join(sorted(values["notify"]))
    return Entry(**values)


def hides(value: Any) -> bool:
    """Whether a text holds what cannot be seen: a name that reads like another one, or turns what follows it round."""
    return isinstance(value, str) and not value.replace("\n", "").replace("\t", "").isprintable()


def listed(tools: list[str]) -> list[Entry]:
    """The policies of the list form: with a ! always asked for, without one allowed; all else is asked for anyway."""
    return [
        Entry(f"allowed_tools: {each}", each[1:], Effect.ALWAYS_ASK)
        if each.startswith("!")
        else Entry(f"allowed_tools: {each}", each, Effect.ALLOW)
        for each in dict.fromkeys(tools)
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return format_duration(value)
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    value = _plain(value)
    if isinstance(value, list):
        return ", ".join(value) or "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "nothing" if value in ("", None) else str(value)
