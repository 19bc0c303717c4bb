"""A conversation as people see it: bubbles, the agent's text, one card a tool call.

`markdown` is the only function here that makes markup; what it makes is sanitised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, cached_property
from html import unescape
from itertools import groupby
from typing import Any

import nh3
from django.conf import settings
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML

from agents import costs
from agents.models import Agent, Message, Question, Run, Session
from agents.states import ACTIVE, QuestionStatus, RunStatus
from approvals.actions.nudging import AGAIN, patience
from approvals.differences import changes
from approvals.digest import too_deep
from approvals.fields import storable
from approvals.models import ToolCall
from approvals.presentation import Row, beginning, mark, rows, summary
from approvals.sizes import fills_a_page
from approvals.states import Status
from approvals.wording import State, changed_by, deciders, state, stopped_by

TAGS = frozenset(
    ("a", "blockquote", "br", "code", "dd", "del", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr")
    + ("li", "ol", "p", "pre", "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul")
)
MARKDOWN_MAX = 200_000  # characters; longer text is shown as it is
NOTE_MAX = 400

# --- Markdown -----------------------------------------------------------------------------------------


def markdown(text: str) -> SafeString:
    """A model's Markdown as HTML: no raw HTML, no attributes but the address of a link, nothing that loads."""
    if len(text) > MARKDOWN_MAX:
        text = f"```\n{text.replace('```', '` ` `')}\n```"
    html = nh3.clean(
        _parser().render(text),
        tags=set(TAGS),
        attributes={"a": {"href"}},
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",
        link_rel="noopener nofollow",
    )
    return mark_safe(_BETWEEN_TAGS.sub(_marked, html))  # nh3 has just sanitised it; marks are escaped


_BETWEEN_TAGS = re.compile(r"(?:^|(?<=>))[^<]+")


def _marked(between: re.Match[str]) -> str:
    shown = mark(unescape(between.group()))
    return shown if "<mark>" in shown else between.group()


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "breaks": True})
    parser.enable(["table", "strikethrough"])
    parser.add_render_rule("image", _image)
    return parser


def _image(self: RendererHTML, tokens: Any, index: int, options: Any, env: Any) -> str:
    """A picture would be a request that nobody asked for: it becomes a link, or its words inside a link."""
    words = self.renderInlineAsText(tokens[index].children or [], options, env) or "picture"
    inside = sum({"link_open": 1, "link_close": -1}.get(token.type, 0) for token in tokens[:index])
    if inside:
        return nh3.clean_text(words)
    return f'<a href="{nh3.clean_text(str(tokens[index].attrs.get("src", "")))}">{nh3.clean_text(words)}</a>'


EXAMPLES = (
    "What is the weather in Brno?",
    "Email dev@example.com asking which features will be in the launch",
    "Ask me which report to read",
    "Delete the temp files",
)


def examples(agents: Iterable[Agent]) -> tuple[str, ...]:
    """Things to try, where the scripted demo answers; what a real model should be asked, nobody knows here."""
    providers = {agent.provider or settings.NOD_MODEL_PROVIDER for agent in agents}
    return EXAMPLES if providers == {"demo"} else ()


# --- The flow -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bubble:
    """What the person wrote: plain text."""

    key: str
    text: str
    files: tuple[str, ...] = ()
    editable: int = 0  # the number of the message, where it can be written anew
    kind: str = "user"

    @property
    def html(self) -> SafeString:
        return mark(self.text)

    @property
    def names(self) -> list[SafeString]:
        """Of its files, as people know them; where they lie in the workspace only the agent needs."""
        return [mark(path.rpartition("/")[2]) for path in self.files]


@dataclass(frozen=True)
class Words:
    """What the agent wrote."""

    key: str
    html: SafeString
    kind: str = "agent"


@dataclass(frozen=True)
class CallCard:
    """One call the agent made, and where it stands."""

    key: str
    tool: str
    state: State
    summary: SafeString
    arguments: Any
    note: SafeString
    note_is_long: bool = False
    since: datetime | None = None  # waits since then
    stopped_at: datetime | None = None
    changed_by: str = ""
    changes: tuple[Row, ...] = ()  # what they changed, as a difference
    call: ToolCall | None = None
    waiting_for: str = ""  # as "rita or remy"
    kind: str = "call"

    @cached_property
    def beginning(self) -> tuple[SafeString, int, int] | None:
        """Of what the desk shows no more of either: rows of a megabyte took fifteen seconds to make."""
        return beginning(self.arguments) if fills_a_page(self.arguments) else None

    @property
    def rows(self) -> list[Row]:
        return rows(self.arguments)

    @property
    def much_changed(self) -> bool:
        return sum(len(row.html) for row in self.changes) > 10 * NOTE_MAX

    @property
    def overdue(self) -> bool:
        """It waits longer than people should let it."""
        return self.since is not None and timezone.now() - self.since > patience(self._row)

    @property
    def may_nudge(self) -> bool:
        last = self._row.nudged_at
        return self.overdue and (last is None or timezone.now() - last > AGAIN)

    @property
    def _row(self) -> ToolCall:
        assert self.call is not None
        return self.call


@dataclass(frozen=True)
class QuestionCard:
    """What the agent asks the person, and what they answered. Choices go back as they are; labels are marked."""

    key: str
    question: Question
    message: SafeString
    choices: list[tuple[str, SafeString]]
    state: State
    kind: str = "question"

    @property
    def open(self) -> bool:
        return self.question.status == QuestionStatus.OPEN

    @property
    def answer(self) -> SafeString:
        return mark(self.question.answer)


@dataclass(frozen=True)
class Note:
    """What Nod told the agent by itself."""

    key: str
    text: SafeString
    kind: str = "note"


@dataclass(frozen=True)
class Folded:
    """What was said before the person wrote their message anew."""

    key: str
    first: SafeString
    items: list[Any]
    kind: str = "folded"


@dataclass(frozen=True)
class Spent:
    """What the model cost for a run that is over."""

    key: str
    text: str
    kind: str = "spent"


Item = Bubble | Words | CallCard | QuestionCard | Note | Folded | Spent
Known = ToolCall | Question


def flow(session: Session, messages: list[Message], calls: Iterable[Known], run: Run | None) -> list[Item]:
    """The items of a conversation, in order. `calls`: of the ledger, and questions. `run`: the latest one.

    Each message brings its run along.
    """
    by_use = {call.tool_use_id: call for call in calls}
    of_ledger = [call for call in by_use.values() if isinstance(call, ToolCall)]
    names = deciders(call for call in of_ledger if call.status == Status.PENDING) | stopped_by(of_ledger)
    results = {result["toolUseId"]: result for message in messages for result in _results(message)}
    items: list[Item] = []
    for superseded, group in groupby(messages, key=lambda message: message.superseded):
        shown: list[Item] = []
        for its_run, said in groupby(group, key=lambda message: message.run):
            for message in said:
                shown += _items(message, by_use, results, names, _live(message, run))
            shown += _spent(its_run)
        items += [_folded(shown)] if superseded and shown else shown
    return items


def _spent(run: Run | None) -> list[Item]:
    if run is None or run.status in ACTIVE or not (cost := costs.of(run)):
        return []
    return [Spent(f"spent-{run.pk}", str(cost))]


def _folded(items: list[Item]) -> Folded:
    first = next((item.text for item in items if isinstance(item, Bubble)), "")
    return Folded(f"before-{items[0].key}", mark(" ".join(first.split())[:80]), items)


def offer_edit(items: list[Item], seq: int) -> list[Item]:
    """The same items; the bubble of this message can be written anew."""
    return [
        replace(item, editable=seq) if isinstance(item, Bubble) and item.key.startswith(f"m{seq}-") else item
        for item in items
    ]


def draft(messages: list[Message], run: Run | None) -> str:
    """The answer that is being streamed, or what was left of it; empty once it is a message."""
    if run is None or not run.draft:
        return ""
    whole = (message.text for message in messages if message.run_id == run.pk and message.role == "assistant")
    return "" if any(text.startswith(run.draft) for text in whole) else run.draft


def thinking(run: Run | None) -> bool:
    return run is not None and run.status in (RunStatus.QUEUED, RunStatus.RUNNING)


def _live(message: Message, run: Run | None) -> bool:
    return run is not None and message.run_id == run.pk and run.status in ACTIVE


def _items(
    message: Message, calls: dict[str, Known], results: dict[str, Any], names: dict[Any, str], live: bool
) -> Iterator[Item]:
    for number, block in enumerate(message.content):
        key = f"m{message.seq}-{number}"
        if message.files and number == len(message.content) - 1:
            continue  # names the files, for the model; people see them beside the text
        if message.note and "text" in block:
            yield Note(key, mark(block["text"]))
        elif text := storable(block.get("text", "")).strip():
            yield (
                Bubble(key, text, tuple(message.files))
                if message.role == "user"
                else Words(key, markdown(text))
            )
        elif use := block.get("toolUse"):
            call = calls.get(use["toolUseId"])
            if isinstance(call, Question):
                yield _question(key, call)
            elif call:
                yield _card(key, call, names.get(call.pk, ""))
            else:
                yield _unknown_card(key, use, results.get(use["toolUseId"]), live)


def _card(key: str, call: ToolCall, who: str) -> CallCard:
    """`who`: may decide it, or has stopped it."""
    cancelled = call.status == Status.CANCELLED
    waiting_for, stopped = ("", who) if cancelled else (who, "")
    where = state(call, waiting_for, stopped)
    return CallCard(
        key=key,
        tool=call.tool,
        state=where,
        summary=mark(summary(call.arguments)),
        arguments=call.arguments,
        note=mark(where.note),
        note_is_long=_is_long(where.note),
        since=call.requested_at if call.status == Status.PENDING else None,
        stopped_at=call.finished_at if cancelled else None,
        changed_by=changed_by(call),
        changes=tuple(_changes(call)),
        call=call,
        waiting_for=waiting_for,
    )


def _changes(call: ToolCall) -> Iterator[Row]:
    if call.proposed is None:
        return
    for change in changes(call.proposed, call.arguments):
        name = mark(change.name)
        yield Row(name, "diff", "", change.html, warning=change.warning, key=change.name, note=change.note)


_ASKED = {
    QuestionStatus.OPEN: State("wait", "Waiting for you"),
    QuestionStatus.ANSWERED: State("good", "Answered"),
    QuestionStatus.CANCELLED: State("quiet", "Not answered"),
    QuestionStatus.HANDED_OVER: State("quiet", "Over to you"),
}


def _question(key: str, question: Question) -> QuestionCard:
    choices = [(choice, mark(choice)) for choice in question.choices]
    return QuestionCard(
        key, question, mark(question.message), choices, _ASKED[QuestionStatus(question.status)]
    )


def _unknown_card(key: str, use: dict[str, Any], result: dict[str, Any] | None, live: bool) -> CallCard:
    """A use without a row in the ledger: refused before it became a call, or not yet there."""
    if result:
        note = "\n".join(block["text"] for block in result.get("content", []) if "text" in block)
        done = result.get("status") == "success"
        where = State("good" if done else "quiet", "done" if done else "Not run", note)
    else:
        where = State("run", "…") if live else State("quiet", "Not run")
    given = use.get("input")
    if too_deep(given):
        given = {"arguments": "(nested too deeply to be shown)"}  # it never became a call
    return CallCard(
        key=key,
        tool=storable(str(use.get("name", ""))),
        state=where,
        summary=mark(summary(given)),
        arguments=given,
        note=mark(where.note),
        note_is_long=_is_long(where.note),
    )


def _is_long(note: str) -> bool:
    return len(note) > NOTE_MAX or note.count("\n") > 6


def _results(message: Message) -> Iterator[dict[str, Any]]:
    return (block["toolResult"] for block in message.content if "toolResult" in block)
