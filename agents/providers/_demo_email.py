"""How the scripted demo drafts e-mails. Pure text work; it never makes up an address."""

import re
from typing import Any

# Unicode letters and all marks of RFC 5322, since half of an address would be another person's address.
_LOCAL = r"(?<![\w!#$%&*+/=?^{|}~.@-])\w(?:[\w!#$%&'*+/=?^`{|}~.-]*[\w!#$%&*+/=?^{|}~-])?"
_LABEL = r"\w(?:[\w-]*\w)?"
ADDRESS = rf"{_LOCAL}@{_LABEL}(?:\.{_LABEL})*(?![\w@]|[.-]+\w|[.-]*@)"
_JOINER = r"(?:\s*[,;&]\s*(?:and\s+)?|\s+(?:and|as\s+well\s+as|plus|or|cc)\s+)(?:also\s+)?(?:to\s+)?"
CLUSTER = rf"{ADDRESS}(?:{_JOINER}{ADDRESS})*"

_MANNERS = {
    "say": r"(?:saying|telling\s+(?:them|him|her|everyone)|(?:to|and)\s+(?:say|tell\s+(?:them|him|her)))"
    r"(?:\s+that)?|that|:",
    "ask": r"(?:asking|(?:to|and)\s+ask)(?:\s+(?:them|him|her))?|(?=(?:whether|if)\b)",
    "about": r"about|regarding|concerning|re:|on",
    "to": r"to(?=\s+[a-z])",
}
TOPIC = rf"(?:{'|'.join(f'(?:{manner})' for manner in _MANNERS.values())})(?!\w)"
_BEGINS = [(name, re.compile(rf"(?:{manner})(?!\w)\s*", re.I)) for name, manner in _MANNERS.items()]
_EARLY = re.compile(r"\b(?:saying|asking|about|regarding|concerning|that|telling)\b", re.I)
_LEAD = re.compile(
    r"\s*(?:e-?mail|mail|send|write|draft|compose|tell|inform|notify|ask|remind|invite|message)\b", re.I
)
_NOUN = re.compile(r"\s*,?\s*(?:(?:an?|the)\s+(?:\w+\s+)?(?:e-?mails?|mail|message|note)\b)?\s*,?\s*", re.I)
_MORE = re.compile(r"(?:[,;]|\b(?:and|also|cc|bcc|plus))(?:\s+(?:and|also))?(?:\s+to)?\s*$", re.I)
_QUOTE = r"[\"“](?P<q>[^\"”]+)[\"”]"
_SUBJECT = re.compile(rf"\bsubject\b(?:\s+line)?\s*(?::?\s*{_QUOTE}|:\s*(?P<line>[^\n]+))", re.I)
_BODY = re.compile(rf"\b(?:body|text)\b\s*(?::?\s*{_QUOTE}|:\s*(?P<line>.+))", re.I | re.S)
_QUESTION = re.compile(r"(?:which|what|when|where|who|whose|why|how)\b", re.I)
_CONNECTED = re.compile(r"(?:whether|if|for|about)\b", re.I)
_THANKS = re.compile(r"(?:^|[\s,;.!])(?:please|thanks|thank\s+you)\W*\Z", re.I)
_TO_YOU = {"ask", "remind", "invite"}
_TELLING_VERBS = {"tell", "inform", "notify", "remind"}
_SUBJECT_LENGTH = 70  # characters


def emails(request: str) -> list[tuple[str, dict[str, Any]]]:
    """A call of send_email for each recipient that the request names, in its order."""
    recipients, topic = _split(request)
    subject, body = draft(topic, _verb(request))
    subject = _given(_SUBJECT, request) or subject
    body = _given(_BODY, request) or body
    return [("send_email", {"to": to, "subject": _one_line(subject), "body": body}) for to in recipients]


def draft(topic: str, verb: str = "email") -> tuple[str, str]:
    """Subject and body for what the user wants said, such as `about the launch`."""
    manner, content = _manner(topic, verb)
    content = _THANKS.sub("", content).strip().rstrip(" ,;")
    if quoted := re.fullmatch(_QUOTE + r"[.!]?", content):
        return quoted["q"], quoted["q"]
    first, _, rest = _first_sentence(content)
    subject, sentence = _phrase(manner, verb, first)
    return subject, "\n\n".join(filter(None, ["Hello,", sentence, rest, "Best regards"]))


def _split(request: str) -> tuple[list[str], str]:
    """The recipients, and the rest of the request from where it says what the e-mail is about."""
    clusters = list(re.finditer(CLUSTER, request))
    if not clusters:
        return [], ""
    first = clusters[0]
    groups = [first, *(each for each in clusters[1:] if _MORE.search(request[: each.start()]))]
    after = _without(request, groups[1:], first.end())
    lead = _LEAD.match(request)
    early = _EARLY.search(request, lead.end() if lead else 0, first.start())
    if early:
        before = re.sub(r"\s+(?:to|for|at)\s*$", "", request[early.start() : first.start()], flags=re.I)
        return _unique(groups), f"{before} {after.lstrip()}".strip()
    return _unique(groups), after[_end(_NOUN, after) :]


def _without(request: str, groups: list[re.Match[str]], start: int) -> str:
    """The request from start on, without those groups of addresses and the word that joins each to it."""
    kept = ""
    for group in groups:
        kept += _MORE.sub("", request[start : group.start()])
        start = group.end()
    return kept + request[start:]


def _unique(groups: list[re.Match[str]]) -> list[str]:
    found: dict[str, str] = {}
    for group in groups:
        for address in re.findall(ADDRESS, group[0]):
            found.setdefault(address.casefold(), address)
    return list(found.values())


def _manner(topic: str, verb: str) -> tuple[str, str]:
    topic = topic.strip()
    for manner, pattern in _BEGINS:
        if found := pattern.match(topic):
            return manner, topic[found.end() :]
    if verb == "ask":
        return "ask", topic
    return ("say" if verb in _TELLING_VERBS else "about"), topic


def _phrase(manner: str, verb: str, content: str) -> tuple[str, str]:
    """The subject and the sentence that opens the e-mail."""
    plain = content.rstrip(" .!?")
    if not plain:
        return "Hello", "I would like to get in touch with you."
    match manner:
        case "ask":
            return _question(plain)
        case "say":
            return plain, f"I would like to let you know that {plain}."
        case "to" if verb in _TO_YOU:
            return plain, f"I would like to {verb} you to {plain}."
        case "to":
            return plain, f"I am writing to {plain}."
    return plain, f"I am writing about {plain}. Please let me know what you think."


def _question(plain: str) -> tuple[str, str]:
    if _QUESTION.match(plain):
        return f"{plain}?", f"I would like to ask {plain}."
    subject = f"Question: {re.sub(r'^(?:whether|if|for|about|to) ', '', plain)}"
    you = " you" if plain.lower().startswith("to ") else ""
    if you or _CONNECTED.match(plain):
        return subject, f"I would like to ask{you} {plain}."
    return subject, f"I have a question: {plain}?"


def _first_sentence(text: str) -> tuple[str, str, str]:
    found = re.search(r"(?<=[.!?])\s+|\s*\n\s*", text)
    return (text[: found.start()], found[0], text[found.end() :]) if found else (text, "", "")


def _verb(request: str) -> str:
    lead = _LEAD.match(request)
    return lead[0].strip().lower() if lead else "email"


def _given(pattern: re.Pattern[str], request: str) -> str:
    """A subject or body that the user wrote out."""
    found = pattern.search(request)
    return next((text.strip() for text in found.groups() if text), "") if found else ""


def _one_line(subject: str) -> str:
    line = " ".join(subject.split())
    line = line[:1].upper() + line[1:]
    if len(line) <= _SUBJECT_LENGTH:
        return line
    return line[:_SUBJECT_LENGTH].rsplit(" ", 1)[0].rstrip(" ,;:.") + "…"


def _end(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.match(text)
    return found.end() if found else 0
