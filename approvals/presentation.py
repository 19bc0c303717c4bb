"""How a call is shown to people: its arguments as typed rows, and what could deceive made visible.

`Marked` is the only thing here that makes markup out of a text; it escapes everything else.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from approvals.deception import deceptive, tricks, warning
from approvals.highlight import Span, json_spans
from approvals.hosts import hosts
from approvals.secrecy import hide, hide_in

LONG_LINES = 40
LONG_CHARS = 4000
BEGINNING = 20_000  # characters of what is too long to be approved
SUMMED_UP = 2000  # characters of a text that its summary is made from
SUMMARY_CHARS = 110
SUMMED_UP_ITEMS = 40  # "1, " is the shortest of them


def mark(text: str) -> SafeString:
    """The escaped text with each deceptive character replaced by its code point, marked."""
    return Marked(text).part(0, len(text))


class Marked:
    """A text that is shown in parts. What deceives is found in the whole: a letter alone is no look-alike."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tricks = tricks(text)
        self._places = [trick.at for trick in self._tricks]

    def part(self, start: int, end: int) -> SafeString:
        """From start to end, escaped and marked."""
        parts, last = [], start
        for trick in self._tricks[bisect_left(self._places, start) : bisect_left(self._places, end)]:
            shown = f"{trick.code} {escape(trick.char)}" if trick.alike else trick.code
            parts += [escape(self.text[last : trick.at]), f"<mark>{shown}</mark>"]
            last = trick.at + 1
        return mark_safe("".join([*parts, escape(self.text[last:end])]))  # every part is escaped above


def with_hosts(text: str, spans: Iterable[Span] = ()) -> SafeString:
    """The marked text with the hosts of its addresses set off, and the parts of a JSON text told apart.

    No address becomes a link.
    """
    marked, parts, last = Marked(text), [], 0
    places = [(host.start, host.end) for host in hosts(text)]
    for start, end, name in spans:
        inside = []
        while places and places[0][0] < end:
            inside.append(places.pop(0))
        parts += [
            _set_off(marked, last, start, []),
            f'<span class="{name}">',
            _set_off(marked, start, end, inside),
        ]
        parts.append("</span>")
        last = end
    return mark_safe("".join([*parts, _set_off(marked, last, len(text), places)]))  # all of it from Marked


def _set_off(marked: Marked, start: int, end: int, places: Iterable[tuple[int, int]]) -> str:
    parts = []
    for first, last in places:
        first, last = max(first, start), min(last, end)
        parts += [marked.part(start, first), f'<b class="host">{marked.part(first, last)}</b>']
        start = last
    return "".join([*parts, marked.part(start, end)])


# --- Arguments as rows --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One argument, whole. `kind` picks how it is shown: line, text, code, list."""

    name: SafeString
    kind: str
    hint: str
    html: SafeString = field(default_factory=SafeString)
    items: list[SafeString] = field(default_factory=list)
    size: str = ""
    long: bool = False
    warning: str = ""
    key: str = ""  # the name as it is; for programs, escaped like any text
    hidden: int = 0  # values in it that look like secrets and are masked
    shown: bool = False  # such a value, on demand
    note: str = ""  # changed, added or left out

    @property
    def id(self) -> str:
        return key_of(self.key)


def key_of(name: str) -> str:
    """An argument's name in forms: models give arguments any name, and browsers do not send any name back."""
    return f"arg-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def rows(arguments: Any, order: Iterable[str] = (), shown: frozenset[str] = frozenset()) -> list[Row]:
    """What will run, argument by argument; nothing is left out. `order`: the names as the tool lists them.

    What looks like a secret is masked, but in the arguments that are `shown`.
    """
    if not isinstance(arguments, dict):
        return [_masked_row("arguments", arguments, "arguments" in shown)]
    places = {name: place for place, name in enumerate(order)}
    names = sorted(arguments, key=lambda name: places.get(name, len(places)))
    found = [_masked_row(name, arguments[name], name in shown) for name in names]
    return [_as_mail(row) for row in found] if arguments.keys() >= MAIL else found


MAIL = frozenset({"to", "subject", "body"})


def _as_mail(row: Row) -> Row:
    """What a person reads in a mail is set as text, however short it is."""
    return replace(row, kind="text") if row.key in ("subject", "body") and row.kind == "line" else row


def _masked_row(name: str, value: Any, shown: bool) -> Row:
    masked, hidden = hide(name, value)
    row = replace(_row(name, value if shown else masked), key=name, shown=shown)
    if not hidden or shown:
        return row
    if deceptive(value) and not deceptive(masked):
        more = f"{row.warning} What is hidden holds characters that could deceive.".strip()
        row = replace(row, warning=more)
    return replace(row, hidden=hidden)


def raw(value: Any) -> SafeString:
    """JSON as a program would read it; deceptive characters stay marked, and secrets masked."""
    return mark(plain(value))


def plain(value: Any) -> str:
    """The same, with nothing marked."""
    return json.dumps(hide_in(value), indent=2, ensure_ascii=False)


def beginning(value: Any) -> tuple[SafeString, int, int]:
    """The first part of such JSON, how many characters that is, and of how many."""
    text = plain(value)
    return mark(text[:BEGINNING]), min(len(text), BEGINNING), len(text)


def _row(name: str, value: Any) -> Row:
    sentence = " ".join(filter(None, [warning(name) and f"In the name: {warning(name)}", _warning(value)]))
    match value:
        case str():
            return _text(mark(name), value, sentence)
        case list() if value and all(isinstance(item, str | int | float) for item in value):
            items = [with_hosts(item) if isinstance(item, str) else mark(json.dumps(item)) for item in value]
            characters = sum(len(str(item)) for item in value)
            big = characters > LONG_CHARS
            counts = [f"{len(items):,} items"] * (len(items) > 12 or big) + [
                f"{characters:,} characters"
            ] * big
            return Row(
                mark(name),
                "list",
                "list",
                items=items,
                size=", ".join(counts),
                long=len(items) > LONG_LINES or big,
                warning=sentence,
            )
    shown = json.dumps(value, indent=2, ensure_ascii=False)
    return Row(
        mark(name),
        "code",
        _hint(value),
        with_hosts(shown, json_spans(shown)),
        long=_is_long(shown),
        size=_size(shown),
        warning=sentence,
    )


def _text(name: SafeString, value: str, sentence: str) -> Row:
    if not value:
        return Row(name, "empty", "text", warning=sentence)
    kind = "text" if _prose(value) and not _is_code(name, value) else "line"
    return Row(
        name, kind, "text", with_hosts(value), size=_size(value), long=_is_long(value), warning=sentence
    )


def _warning(value: Any) -> str:
    """The sentences for a value; the texts of a list or object are read as one."""
    text = value if isinstance(value, str) else "\n".join(_texts(value))
    leads = list(dict.fromkeys(host.warning for host in hosts(text) if host.warning))
    more = [f"{len(leads) - 3:,} more addresses lead elsewhere than they look."] if len(leads) > 3 else []
    return " ".join(filter(None, [warning(text), *leads[:3], *more]))


def warns(value: Any) -> bool:
    """Whether the row of some argument has a warning."""
    if deceptive(value):
        return True
    return any(host.warning for text in _texts(value) if "." in text or "/" in text for host in hosts(text))


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _texts(item)
        case dict():
            for key, item in value.items():
                yield key
                yield from _texts(item)


_CODE = frozenset(
    ("code", "command", "diff", "html", "patch", "query", "regex", "script", "source", "sql", "xml")
)


def _is_code(name: str, value: str) -> bool:
    """What a machine reads keeps its columns, by its name or since it is JSON."""
    return name.rpartition("_")[2].lower() in _CODE or value.lstrip()[:1] in ("{", "[", "<")


def _hint(value: Any) -> str:
    names = {
        bool: "yes or no",
        int: "number",
        float: "number",
        list: "list",
        dict: "object",
        type(None): "nothing",
    }
    return names.get(type(value), "")


def _is_long(text: str) -> bool:
    return text.count("\n") >= LONG_LINES or len(text) > LONG_CHARS


def _size(text: str) -> str:
    """How much there is to read, where it is more than a glance."""
    lines = text.count("\n") + 1
    if lines <= 12 and len(text) <= 600:
        return ""
    return f"{lines:,} lines, {len(text):,} characters" if lines > 1 else f"{len(text):,} characters"


# --- One line -----------------------------------------------------------------------------------------

# What tells most comes first.
_LEADING = ("to", "from", "cc", "bcc", "subject", "title", "name", "path", "paths", "amount")


def summary(arguments: Any) -> str:
    """One line that tells a call from the others. Not all of it: the card shows that."""
    if not isinstance(arguments, dict):
        return _shorten(json.dumps(hide("", _start(arguments))[0], ensure_ascii=False), SUMMARY_CHARS)
    told = {name: value for name, value in arguments.items() if not _prose(value)} or arguments
    names = sorted(told, key=lambda name: _LEADING.index(name) if name in _LEADING else len(_LEADING))
    parts = [_part(name, told[name]) for name in names[:4]]
    return _shorten(" · ".join(part for part in parts if part), SUMMARY_CHARS)


def _prose(value: Any) -> bool:
    return isinstance(value, str) and ("\n" in value or (len(value) > 80 and " " in value))


def _start(value: Any) -> Any:
    """What a summary could come to: lists are made at each doorbell, and a value may be of a megabyte."""
    match value:
        case str() if len(value) > SUMMED_UP:
            start = value[:SUMMED_UP]
            return start.rpartition(" ")[0] or start  # half a secret would not be known as one
        case list():
            return [_start(item) for item in value[:SUMMED_UP_ITEMS]]
        case dict():
            return {name: _start(item) for name, item in islice(value.items(), SUMMED_UP_ITEMS)}
    return value


def _part(name: str, value: Any) -> str:
    items = len(value) if isinstance(value, list) else 0
    value = hide(name, _start(value))[0]
    match value:
        case str() if name in ("to", "from"):
            return f"{name} {_shorten(value, 60)}"
        case str():
            return f"“{_shorten(' '.join(value.split(' ')), 60)}”" if value else ""
        case list() if value and items <= 2 and all(isinstance(item, str) for item in value):
            return ", ".join(_shorten(item, 40) for item in value)
        case list():
            return f"{items:,} {name}" + (f": {_shorten(str(value[0]), 40)}, …" if value else "")
        case None:
            return ""
    return f"{name} {_shorten(json.dumps(value, ensure_ascii=False), 40)}"


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


_UNITS = ((86400, "d", "day"), (3600, "h", "hour"), (60, "min", "minute"), (1, "s", "second"))


def span(delta: timedelta, *, words: bool = False) -> str:
    """A length of time, rounded down: "40 s", or "40 seconds"."""
    seconds = max(0, int(delta.total_seconds()))
    for size, short, word in _UNITS:
        if seconds >= size or size == 1:
            number = seconds // size
            return f"{number} {word}{'' if number == 1 else 's'}" if words else f"{number} {short}"
    raise AssertionError("unreachable")
