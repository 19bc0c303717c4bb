"""A call that waits, as lines: whole, from the ledger, with what could deceive made visible and secrets masked."""

from __future__ import annotations

import json
from typing import Any

from agents.terminal.screen import Screen
from approvals.cards import Card
from approvals.presentation import BEGINNING, Row, plain
from approvals.secrecy import hide
from approvals.sizes import TOO_LONG
from approvals.visible import one_line
from approvals.wording import both

BAR = "│ "
DEEP = "│   "


def show(screen: Screen, card: Card) -> None:
    """Everything that a person needs to decide. Arguments stand behind a bar: none of their lines passes for Nod's."""
    call = card.call
    screen.line()
    screen.line(f'Tool "{call.tool}" requires human approval.', "bold")
    screen.line(_why(card), "dim")
    if call.proposed is not None:
        screen.line(f"{card.changed_by} changed the arguments. This is what would run:", "yellow")
    screen.line("Input:" if call.arguments else "Input: none")
    if card.too_long:
        _beginning(screen, call.arguments)
    else:
        for row in card.rows:
            _argument(screen, card, row)
    for line in _after(card):
        screen.line(line, "dim")


def _why(card: Card) -> str:
    """Risk, policy, who asked, until when."""
    call = card.call
    parts = [f"{call.risk} risk", f"policy “{one_line(call.policy)}”" if call.policy else one_line(call.why)]
    parts.append(f"asked for by {call.requested_by.get_username()}")
    return " · ".join([*parts, f"expires in {card.left}"] if card.left else parts)


def _after(card: Card) -> list[str]:
    lines = []
    if card.call.quorum > 1:
        lines.append(f"It takes {card.call.quorum} people to approve this.")
    if card.approvers:
        lines.append(f"{both(card.approvers)} approved so far.")
    if card.hidden:
        lines.append("What looks like a secret is masked: s shows it, which is written down.")
    return [*lines, f"digest {card.call.digest[:16]}"]


def _beginning(screen: Screen, arguments: Any) -> None:
    screen.line(plain(arguments)[:BEGINNING], first=BAR)
    screen.line(f"… and more. {TOO_LONG}", "yellow")


def _argument(screen: Screen, card: Card, row: Row) -> None:
    given = card.call.arguments
    if isinstance(given, dict) and row.key not in given:
        screen.line(f"{_name(row)} was taken out", "yellow", first=BAR)
        return
    value = given[row.key] if isinstance(given, dict) else given
    text, hint = _text(value if row.shown else hide(row.key, value)[0])
    head = f"{_name(row)}{f' ({hint})' if hint else ''}:"
    if "\n" in text:
        screen.line(head, first=BAR)
        screen.line(text, first=DEEP)
    else:
        screen.line(f"{head} {text}", first=BAR, rest=DEEP)
    if row.warning:
        screen.line(f"! {row.warning}", "yellow", first=BAR, rest=DEEP)


def _name(row: Row) -> str:
    """Models give arguments any name; one that is no word stands in quotes."""
    name = row.key if row.key.isidentifier() else json.dumps(row.key, ensure_ascii=False)
    return f"{one_line(name)} ({one_line(row.note)})" if row.note else one_line(name)


def _text(value: Any) -> tuple[str, str]:
    """Text as it is; all else as JSON, and said to be that where it could pass for text."""
    if isinstance(value, str):
        return (value, "") if value else ('""', "empty")
    kind = {bool: "yes or no", int: "number", float: "number", type(None): "nothing"}.get(type(value), "")
    return json.dumps(value, indent=2, ensure_ascii=False), kind
