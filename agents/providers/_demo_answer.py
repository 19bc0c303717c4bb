"""The scripted demo's next answer in a conversation: text, and the tool calls that follow it.

Apart from the Strands model, so that a fake Bedrock server can give the same answers.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.providers._demo_plan import LOOP, REPORTS, Call, plan
from agents.providers._demo_report import Outcome, answered, intention, looks_failed, report

Message = Mapping[str, Any]  # a Converse message: role, content

INTRODUCTION = "I am a scripted demo, not an AI: I know a few requests and nothing else."
_EMAIL = re.compile(r"\be-?mail\b", re.I)
EXAMPLES = {
    "get_weather": "What is the weather in Brno?",
    "list_files": "List the files in reports",
    "read_file": "Read notes.txt",
    "send_email": "Send an email to dev@example.com asking which features will be in the launch",
    "delete_files": "Delete the temp files",
    "handoff_to_user": "Ask me which report to read",
}


@dataclass(frozen=True)
class Answer:
    """What the demo says and the calls (tool, arguments) it makes after that."""

    text: str
    calls: list[Call] = field(default_factory=list)


def answer(messages: Sequence[Message], tools: Collection[str]) -> Answer:
    """The next answer; `tools` are the names of those it may call."""
    reply = _reply(messages, tools)
    if any(message["role"] == "assistant" for message in messages):
        return reply
    return Answer(f"{INTRODUCTION}\n\n{reply.text}", reply.calls)


def _reply(messages: Sequence[Message], tools: Collection[str]) -> Answer:
    request = _request(messages[-1]) if messages else ""
    if request is not None:
        return _begin(request, tools)
    outcomes = _outcomes(messages)
    text = report(outcomes)
    calls = _again(messages, tools) or _as_answered(outcomes, tools)
    return Answer(f"{text}\n\n{intention(calls)}" if calls else text, calls)


def _request(message: Message) -> str | None:
    """The user's new words in a message; None when it only brings tool results.

    Words after the results are new; words before them are taken for a note that belongs to them.
    """
    blocks = message["content"]
    last = max((n for n, block in enumerate(blocks) if "toolResult" in block), default=-1)
    texts = [block["text"] for block in blocks[last + 1 :] if "text" in block]
    words = "\n".join(text for text in texts if not text.startswith("Note from Nod: "))
    return None if last >= 0 and not words.strip() else words


def _begin(request: str, tools: Collection[str]) -> Answer:
    request, attached = _attached(request)
    planned = plan(request) or [("read_file", {"path": path}) for path in attached]
    calls = [call for call in planned if call[0] in tools]
    missing = sorted({tool for tool, _ in planned if tool not in tools})
    parts = [f"I have no tool called {tool} here." for tool in missing]
    if calls:
        parts.append(intention(calls))
    if not planned and "send_email" in tools and _EMAIL.search(request):
        parts.append("Whom should I write to? Please name an e-mail address, and say what it is about.")
    elif not planned:
        parts.append(_help(tools))
    return Answer(" ".join(parts), calls)


def _attached(request: str) -> tuple[str, list[str]]:
    """The user's words, and the files that came with them."""
    words, found, names = request.rpartition("Attached files: ")
    return (words, names.strip().split(", ")) if found else (request, [])


def _help(tools: Collection[str]) -> str:
    examples = [f"- {example}" for tool, example in EXAMPLES.items() if tool in tools]
    if not examples:
        return "I did not understand that, and I have no tool here that I could use."
    return "\n".join(["I did not understand that. Try one of these:", "", *examples])


def _again(messages: Sequence[Message], tools: Collection[str]) -> list[Call]:
    """The next call of a conversation whose last request was "loop weather", which never ends by itself."""
    requests = (_request(message) for message in reversed(messages) if message["role"] == "user")
    request = next((words for words in requests if words is not None), "")
    return [call for call in plan(request) if call[0] in tools] if LOOP.search(request) else []


def _as_answered(outcomes: Sequence[Outcome], tools: Collection[str]) -> list[Call]:
    """The user chose a report: it is read."""
    said = [answered(each) for each in outcomes if each.tool == "handoff_to_user" and not each.failed]
    return [("read_file", {"path": path}) for path in said if path in REPORTS and "read_file" in tools]


def _outcomes(messages: Sequence[Message]) -> list[Outcome]:
    blocks = [block for message in messages for block in message["content"]]
    # The last use of an id wins: a careless model may use one twice.
    uses = {block["toolUse"]["toolUseId"]: block["toolUse"] for block in blocks if "toolUse" in block}
    results = [block["toolResult"] for block in messages[-1]["content"] if "toolResult" in block]
    return [_outcome(result, uses.get(result["toolUseId"], {})) for result in results]


def _outcome(result: Mapping[str, Any], use: Mapping[str, Any]) -> Outcome:
    text = "\n".join(_text(block) for block in result["content"])
    status = result.get("status")
    failed = status == "error" or (status is None and looks_failed(text))
    given = use.get("input")
    return Outcome(use.get("name", ""), text, failed, given if isinstance(given, dict) else {})


def _text(block: Mapping[str, Any]) -> str:
    if "text" in block:
        return str(block["text"])
    return json.dumps(block["json"], ensure_ascii=False) if "json" in block else "(something that is no text)"
