"""Policies as sentences: "Ask two of finance before pay_invoice, when args.amount > 1000". Pure."""

from __future__ import annotations

from approvals.policy import REVIEWERS
from approvals.policy_files.entries import Entry
from approvals.states import Effect, Notify

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def sentence(entry: Entry) -> str:
    """What a policy does, without its name."""
    match Effect(entry.effect):
        case Effect.ALLOW:
            what = f"Allow {_tool(entry)}"
        case Effect.BLOCK:
            what = f"Block {_tool(entry)}"
        case Effect.ASK:
            what = f"Ask {_whom(entry)} before {_tool(entry)}"
        case Effect.ALWAYS_ASK:
            what = f"Always ask {_whom(entry)} before {_tool(entry)}"
    if entry.when:
        what += f", when {' '.join(entry.when.split())}"
    return f"{what}{_demands(entry)}"


def _tool(entry: Entry) -> str:
    what = "every tool" if entry.tool == "*" else entry.tool
    if entry.provider:
        what += f" of {entry.provider}"
    return f"{what} for the agent {entry.agent}" if entry.agent else what


def _whom(entry: Entry) -> str:
    groups = " or ".join(entry.groups or (REVIEWERS,))
    if entry.quorum == 1:
        return groups
    number = NUMBERS[entry.quorum] if entry.quorum < len(NUMBERS) else str(entry.quorum)
    return f"{number} of {groups}"


def _demands(entry: Entry) -> str:
    """What else an approval takes."""
    if entry.effect not in (Effect.ASK, Effect.ALWAYS_ASK):
        return ""
    also = [
        f"who type “{entry.confirm}”" if entry.confirm else "",
        "who say why" if entry.justify else "",
        "the requester included" if entry.requester_may_decide else "",
        f"told {_channels(entry)}" if entry.notify else "",
    ]
    return "".join(f"; {each}" for each in also if each)


def _channels(entry: Entry) -> str:
    label = str(Notify(entry.notify).label)
    return label[0].lower() + label[1:]
