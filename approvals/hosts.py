"""Where the addresses in a text lead: the host as a browser would see it."""

from __future__ import annotations

import re
import socket
import unicodedata
from dataclasses import dataclass
from urllib.parse import unquote

# Browsers take any number of slashes, of either kind, after the schemes that they open by themselves.
_START = re.compile(r"(?i)(?<![a-z0-9+.-])(?:(?:https?|wss?|ftp):[/\\]*|[a-z][a-z0-9+.-]{1,30}://)")
_AUTHORITY = re.compile(r"[^\s/\\?#]{1,2000}")
_HOST = re.compile(r"\[[0-9a-fA-F:.%]+\]|[^\s/\\?#<>\"'`,;()\[\]{}|^:]+")
_DOTS = str.maketrans({"\u3002": ".", "\uff0e": ".", "\uff61": "."})
_NUMBERS = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}")
LONGEST = 253
LONGEST_AUTHORITY = 2000
UNCLEAR = "An address leads to a host that browsers may read in different ways."


@dataclass(frozen=True)
class Host:
    """Where a host stands in a text, and a sentence where it is not the one that it looks like."""

    start: int
    end: int
    warning: str = ""


def hosts(text: str) -> list[Host]:
    """The hosts of all addresses in a text, in order."""
    found = []
    past = 0
    for match in _START.finditer(text):
        if match.start() >= past and (host := _host(text, match.end())):
            found.append(host)
            past = host.end
    return found


def _host(text: str, start: int) -> Host | None:
    """What stands before an @ is a user name, whatever it looks like."""
    authority = _AUTHORITY.match(text, start)
    if not authority:
        return None
    if authority.end() - start == LONGEST_AUTHORITY:  # what comes after it may be an @
        return Host(start, authority.end(), UNCLEAR)
    at = text.rfind("@", start, authority.end()) + 1
    host = _HOST.match(text, at or start)
    if not host:
        return None
    end = host.start() + len(host.group().rstrip(".,!*_~"))
    if end == host.start():
        return None
    return Host(host.start(), end, _warning(text[start : max(at - 1, start)], text[host.start() : end]))


def _warning(user: str, written: str) -> str:
    seen = as_seen(written)
    if not seen:
        return UNCLEAR
    if user:
        return f"An address leads to {seen}: what stands before the @ is only a user name."
    if seen != written.lower():
        return f"An address leads to {seen}, not to what it looks like."
    if any(label.startswith("xn--") for label in seen.split(".")):
        return f"{seen} stands for a name in other letters, which may look like another one."
    return ""


def as_seen(host: str) -> str:
    """The host that a browser goes to, in ASCII; empty where that is not clear."""
    if host.startswith("["):
        return host.lower()
    name = unicodedata.normalize("NFKC", unquote(host)).translate(_DOTS).lower()
    if len(name) > LONGEST:
        return ""
    if _NUMBERS.fullmatch(name):
        return _number(name)
    if not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError:
            return ""
    return name if re.fullmatch(r"[a-z0-9._-]+", name) else ""


def _number(name: str) -> str:
    """1.1 and 0x7f000001 are addresses, too."""
    try:
        return socket.inet_ntoa(socket.inet_aton(name))
    except OSError:
        return ""
