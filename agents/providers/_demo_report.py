"""How the scripted demo tells what became of its tool calls: what the results say and no more."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """One tool result, with the call it answers.

    Attributes:
        tool: the tool's name; empty when the call is not in the conversation any more.
        arguments: what was asked for. What ran may differ, since a reviewer can edit.
        text: what the result says.
        failed: the result is an error, so the text is not the tool's own answer.
    """

    tool: str
    text: str
    failed: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)


_EDITED = re.compile(r"A reviewer changed the arguments[^\n]*\n")
_DENIED = "{What} was denied by {who}, so I did not {do}. "
# What Nod adds for the model's own ears.
_ADVICE = re.compile(r" (?:Nothing was done\. )?(?:Do not try the same again\.|Do not repeat it; [^.]*\.)\Z")
# How the errors of Nod begin, and what to say. {what} is "the e-mail to …"; {why} is word for word.
_ERRORS = [
    (r"Denied by (?P<who>[^\n]+?)\. Reason: (?P<why>.*\S.*)", _DENIED + "Reason: {why}"),
    (r"Denied by (?P<who>[^:\n]+?)\.?(?: Reason:\s*)?", _DENIED + "No reason was given."),
    (r"Denied by (?P<who>[^:\n]+): (?:[Rr]eason:? )?(?P<why>.*)", _DENIED + "Reason: {why}"),
    (r"Denied\b[.:]?\s*(?P<why>.*)", "{What} was denied, so I did not {do}. {why}"),
    (r"Blocked by policy (?P<why>.*?)\.?(?: Nothing was done\.)?", "The policy {why} does not allow {what}."),
    (r"Expired: (?P<why>.*)", "{What} has expired: {why}"),
    (r"Cancelled: (?P<why>.*)", "{What} was cancelled: {why}"),
    (r"Invalid arguments: (?P<why>.*)", "I could not {do}, because my request was not valid: {why}"),
    (r"Unknown outcome: (?P<why>.*)", "I do not know what became of {what}: {why} I will not repeat it."),
    (r"(?:The tool failed|Error): (?P<why>.*)", "I tried to {do}, but it failed: {why}"),
    (r"(?P<why>.*)", "I could not {do}: {why}"),
]


def report(outcomes: Sequence[Outcome]) -> str:
    """What became of the calls, as Markdown; one paragraph for each, in their order."""
    return "\n\n".join(_told(each) for each in outcomes)


def _told(outcome: Outcome) -> str:
    """One outcome. That a reviewer changed something comes first, since the rest is about the changed call; what it
    was, the person sees at the call."""
    if found := _EDITED.match(outcome.text):
        rest = replace(outcome, text=outcome.text[found.end() :], arguments={})
        return f"A reviewer changed what I had asked for.\n\n{_told(rest)}"
    return _failure(outcome) if outcome.failed else _success(outcome)


def looks_failed(text: str) -> bool:
    """Whether a result without a status is one of Nod's errors."""
    return any(re.fullmatch(pattern, text, re.S) for pattern, _ in _ERRORS[:-1])


def _success(outcome: Outcome) -> str:
    text = outcome.text.strip()
    match outcome.tool:
        case "get_weather":
            return f"The weather (demo data): {_ended(text)}"
        case "list_files":
            return "The files:\n\n" + "\n".join(f"- {line}" for line in text.splitlines())
        case "read_file":
            return f"The file says:\n\n{_fenced(outcome.text)}"
        case "handoff_to_user":
            return f"You said: {_ended(answered(outcome))}"
        case "send_email" | "delete_files":
            return f"Done. {_ended(text)}"
    return f"The answer of {outcome.tool or 'the tool'}:\n\n{_fenced(text)}"


def answered(outcome: Outcome) -> str:
    """What the user said to the demo's question."""
    return outcome.text.strip().removeprefix("The user answered: ")


def _failure(outcome: Outcome) -> str:
    do, what = _names(outcome)
    text = _ADVICE.sub("", outcome.text.strip()) or "it does not say why."
    for pattern, words in _ERRORS:
        if found := re.fullmatch(pattern, text, re.S):
            parts = {"who": "", "why": "", **found.groupdict()}
            return words.format(do=do, what=what, What=what[0].upper() + what[1:], **parts).strip()
    raise AssertionError("the last pattern takes any text")


def _names(outcome: Outcome) -> tuple[str, str]:
    """The call as a verb and as a noun."""
    given = outcome.arguments
    match outcome.tool:
        case "send_email":
            return "send it", f"the e-mail to {given.get('to', 'somebody')}"
        case "delete_files":
            return "delete the files", f"deleting {_listed(given.get('paths'))}"
        case "get_weather":
            return f"look up the weather{_in(given)}", f"the weather{_in(given)}"
        case "list_files":
            return "list the files", "listing the files"
        case "handoff_to_user":
            return "ask you", "my question"
        case "read_file":
            return f"read {given.get('path', 'it')}", f"reading {given.get('path', 'it')}"
    return f"run {outcome.tool or 'the tool'}", f"the call of {outcome.tool or 'the tool'}"


def intention(calls: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """What the demo is about to do, as one sentence."""
    steps = [
        _step(tool, [given for name, given in calls if name == tool])
        for tool in dict.fromkeys(t for t, _ in calls)
    ]
    return f"I will {_joined(steps)}."


def _step(tool: str, given: list[dict[str, Any]]) -> str:
    match tool:
        case "send_email":
            return "draft the e-mail" if len(given) == 1 else f"draft {len(given)} e-mails"
        case "get_weather":
            return f"look up the weather{_in(given[0])}" if len(given) == 1 else "look up the weather"
        case "list_files":
            return "list the files"
        case "handoff_to_user":
            return "ask you"
        case "read_file":
            return f"read {_joined([each['path'] for each in given])}"
        case "delete_files":
            return f"delete {_joined(given[0]['paths'])}"
    return f"use {tool}"


def _in(given: dict[str, Any]) -> str:
    return f" in {given['city']}" if given.get("city") else ""


def _listed(paths: object) -> str:
    return _joined([str(path) for path in paths]) if isinstance(paths, list) and paths else "files"


def _joined(parts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _fenced(text: str) -> str:
    """The text as a code block that nothing in it can close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text.rstrip()}\n{fence}"
