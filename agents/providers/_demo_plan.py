"""What the scripted demo understands of a message: regular expressions, no model, no Strands."""

import re
from collections.abc import Iterator
from typing import Any

from agents.providers._demo_email import ADDRESS, CLUSTER, TOPIC, emails

Call = tuple[str, dict[str, Any]]

TEMPORARY = ["tmp/old.log"]  # what "the temp files" are in the seeded workspace
REPORTS = ["reports/2025-q3.txt", "reports/2025-q4.txt"]
LOOP = re.compile(r"\bloop\s+weather\b", re.I)

_SENTENCE = r"(?:(?![.!?]\s|\n).){0,300}?"  # not beyond the end of the sentence; bounded, to stay fast
_CLAUSE = r"(?:(?![.!?]\s|\n|\b(?:and|then)\b).){0,300}?"
_END = r"\s*(?:[.!?]?\s*\Z|[.!?]\s|\s(?=(?:and|then)\b)|\n)"
_WORD = r"(?!(?:it|this|that|them|these|those|all|everything|me|you)\b)[\w-]+"
_PATH = (
    r'(?:"[^"\n]+"|“[^”\n]+”'
    r"|(?<![\w@./-])(?!and/or\b)(?:[\w.~-]*/(?:[\w./~@-]*[\w~/-])?|[\w~-]*\.[\w./~@-]*[\w~/-]))"
)
_SKY = r"(?:weather|forecast|temperature)\b"
_FILES = r"(?:files|folder|folders|directory)\b"

# What a request may begin with. The first that fits names the tool.
_STARTS = [
    ("handoff_to_user", r"ask\s+me\b"),
    ("send_email", rf"(?:e-?mail|mail|send|write|draft|compose)\b{_SENTENCE}{ADDRESS}"),
    ("send_email", rf"(?:tell|inform|notify|ask|remind|invite|message)\s+{ADDRESS}"),
    ("send_email again", rf"(?:to\s+)?{CLUSTER}\s+{TOPIC}"),
    ("delete_files", rf"(?:delete|remove|erase|rm)\b{_CLAUSE}(?:{_PATH}|\b(?:files?|temp|tmp|logs?)\b)"),
    ("delete_files", rf"(?:delete|remove|erase|rm)\s+{_WORD}{_END}"),
    ("get_weather", rf"(?:what|how|tell|get|check|show|look|give|find|is|will|loop)\b{_CLAUSE}{_SKY}"),
    ("get_weather noun", rf"(?:the\s+)?{_SKY}"),
    ("list_files", rf"(?:list|ls|show|what|which|see|give)\b{_CLAUSE}\b{_FILES}"),
    ("list_files", rf"(?:list|ls)\s+{_WORD}/?{_END}"),
    ("read_file", rf"(?:read|open|cat|print|show|what(?:'s|’s|\s+is))\b{_CLAUSE}{_PATH}"),
    ("read_file", rf"read\s+{_WORD}{_END}"),
]
_STARTS_COMPILED = [(kind, re.compile(pattern, re.I | re.S)) for kind, pattern in _STARTS]
_BOUNDARY = re.compile(
    r"(?:\A|(?P<full>[.!?;]\s+|\n\s*)|,\s*|\b(?:and|then|also|please)\s+|&\s*|:\s+)\s*"
    r"(?:(?:please|kindly|also|now|then|and|i(?:['’]d|\s+would)?\s+(?:want|like|need)\s+(?:you\s+)?to"
    r"|(?:can|could|would|will)\s+you)[\s,]+)*",
    re.I,
)
_QUOTED = re.compile(r'"[^"]*"|“[^”]*”')
_PLACE = re.compile(rf"\b(?:in|at|for|near|of)\s+(?P<near>.+)|{_SKY}(?P<plain>.+)", re.I | re.S)
_TIMES = re.compile(
    r"\b(?:right\s+now|now|today|tomorrow|tonight|currently|like|please|there|here|outside|is|be|again"
    r"|this\s+(?:week|weekend|morning|afternoon|evening))\b",
    re.I,
)
_FOLDER = re.compile(
    r"\b(?:in|inside|of|from|under|list|ls)\s+(?:the\s+)?(?:(?:folder|directory)\s+)?(?P<name>[\w./~-]*[\w/~-])",
    re.I,
)
_NO_FOLDER = {"files", "file", "all", "the", "my", "our", "workspace"} | {
    *("folder", "folders", "directory", "here", "there"),
}


READ = 2_000  # characters: a script needs no more, and its patterns are slow on long nonsense


def plan(text: str) -> list[Call]:
    """The tool calls that a message asks for, in its order: (tool, arguments); maybe none."""
    calls: list[Call] = []
    for kind, request in requests(text[:READ]):
        calls += [call for call in _CALLS[kind](request) if call not in calls]
    return calls


def requests(text: str) -> list[tuple[str, str]]:
    """The parts of a message that each begin a request, with the tool they want."""
    cuts = list(_cuts(text))
    if not cuts:
        return _anywhere(text)
    ends = [before for before, _, _ in cuts[1:]] + [len(text)]
    return [(kind, text[begin:end]) for (_, begin, kind), end in zip(cuts, ends, strict=True)]


def _cuts(text: str) -> Iterator[tuple[int, int, str]]:
    """(where the joining words begin, where the request begins, tool) for each request."""
    quoted = [found.span() for found in _QUOTED.finditer(text)]
    last, kind = 0, ""
    for boundary in _BOUNDARY.finditer(text):
        if any(begin < boundary.end() < end for begin, end in quoted):
            continue
        start = _start(text, boundary.end())
        if start and _begins(start, kind, text[last : boundary.start()], bool(boundary["full"])):
            last, kind = boundary.end(), start.split()[0]
            yield boundary.start(), last, kind


def _start(text: str, position: int) -> str:
    for kind, pattern in _STARTS_COMPILED:
        if pattern.match(text, position):
            return kind
    return ""


def _begins(start: str, before: str, request: str, full_stop: bool) -> bool:
    """Whether these words begin a new request or belong to the one before them."""
    if (
        start == "send_email again"
    ):  # "… and b@y.org about …": only after an e-mail that has its topic already
        found = re.search(CLUSTER, request) if before == "send_email" else None
        return bool(found and re.search(rf"\b{TOPIC}", request[found.end() :], re.I))
    if start == "get_weather noun":  # "about the launch and the weather" is one topic
        return before != "send_email" or full_stop
    return True


def _anywhere(text: str) -> list[tuple[str, str]]:
    """The request of a message that begins with none, such as one with a long greeting."""
    if re.search(r"\be-?mail\b", text, re.I) and re.search(ADDRESS, text):
        return [("send_email", text)]
    for kind, pattern in _STARTS_COMPILED:
        if kind in _CALLS and (found := re.compile(rf"\b(?:{pattern.pattern})", re.I | re.S).search(text)):
            return [(kind, text[found.start() :])]
    return []


def _weather(request: str) -> list[Call]:
    cities = _cities(request) or [""]
    return [("get_weather", {"city": city} if city else {}) for city in cities]


def _cities(request: str) -> list[str]:
    found = _PLACE.search(request)
    if not found:
        return []
    place = re.split(r"[?!;:\n(]|\.(?:\s|\Z)", found["near"] or found["plain"])[0]
    parts = re.split(r"\s*,\s*|\s+and\s+|\s+or\s+", _TIMES.sub(" ", place))
    cities = [re.sub(r"^(?:in|at|for|near)\s+", "", " ".join(part.split())) for part in parts]
    return [city for city in cities if city and len(city.split()) <= 4 and "@" not in city]


def _list(request: str) -> list[Call]:
    names = [found["name"] for found in _FOLDER.finditer(request)]
    named = re.search(r"\bthe\s+(?P<name>[\w./-]+)\s+(?:folder|directory)\b", request, re.I)
    names = [named["name"], *names] if named else names
    folder = next((name for name in names if name.lower() not in _NO_FOLDER), "")
    return [("list_files", {"folder": folder} if folder else {})]


def _read(request: str) -> list[Call]:
    return [("read_file", {"path": path}) for path in _paths(request)]


def _delete(request: str) -> list[Call]:
    paths = _paths(request)
    if not paths and re.search(r"\b(?:temp|tmp|temporary)\b", request, re.I):
        paths = TEMPORARY
    return [("delete_files", {"paths": list(paths)})] if paths else []


def _paths(request: str) -> list[str]:
    """What looks like paths; failing that the one word after the verb, if it says something."""
    paths = [path.strip('"“”') for path in re.findall(_PATH, request)]
    if paths:
        return list(dict.fromkeys(paths))
    word = re.match(rf"\w+\s+(?:the\s+)?(?:file\s+)?({_WORD}){_END}", request, re.I)
    return [word[1]] if word and word[1].lower() not in _NO_FOLDER else []


def _ask(request: str) -> list[Call]:
    """What the demo asks back. About reports it knows which there are."""
    about = re.sub(r"\A\W*ask\s+me\b[\s:,]*", "", request, flags=re.I).strip(" .!?\n")
    if re.search(r"\breports?\b", about, re.I):
        return [("handoff_to_user", {"message": "Which report should I read?", "choices": REPORTS})]
    if re.match(r"(?:if|whether)\b", about, re.I):
        return [
            ("handoff_to_user", {"message": f"You wanted to be asked {about}.", "choices": ["Yes", "No"]})
        ]
    return [
        ("handoff_to_user", {"message": f"{about[:1].upper()}{about[1:]}?" if about else "What is next?"})
    ]


_CALLS = {
    "handoff_to_user": _ask,
    "send_email": emails,
    "delete_files": _delete,
    "get_weather": _weather,
    "list_files": _list,
    "read_file": _read,
}
