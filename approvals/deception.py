"""Characters that do not look like what they are: found, counted, named. `presentation.mark` shows them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Set
from functools import cache
from typing import Any, NamedTuple

_NOT_PLAIN = re.compile(r"[^\t\n\x20-\x7e]")
_LATIN = re.compile(r"[a-zA-Z]")
_WORD = re.compile(r"[\w'’\-]+")
_SEGMENT = re.compile(r"[^\s/\\]+")
_HOST = re.compile(r"@|\w\.\w")
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0\u034f\u17b4\u17b5")
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_EMOJI_JOINERS = frozenset("\u200d\ufe0e\ufe0f")
# Marks that pass for a slash, a dot or an at sign where an address or a path stands.
_ALIKE_SIGNS = frozenset("\u2024\u2044\u2215\u29f8\uff0e\uff0f\uff20\u2571\u30ce")
# Letters in rings and squares: signs by their kind, and read as letters.
_RINGED = re.compile("[\u249c-\u24e9\U0001f110-\U0001f129\U0001f130-\U0001f149\U0001f150-\U0001f169]")
_PILE = 4  # accents on one letter that a language may need (UTS 39); more of them cover what stands around
# UTS 39, "highly restrictive": these scripts are written with Latin words between, and nobody mixes them up.
_FREELY_MIXED = (
    "CJK",
    "HIRAGANA",
    "KATAKANA",
    "HANGUL",
    "BOPOMOFO",
    "IDEOGRAPHIC",
    "THAI",
    "LAO",
    "KHMER",
    "MYANMAR",
)
_ALIKE = dict(
    zip(
        "аеорсухіјѕһԁԛԝӏΑΒΕΖΗΙΚΜΝΟΡΤΥΧАВЕЅІЈКМНОРСТХУԚԜабѵνοιαρυκ",
        "aeopcyxijshdqwlABEZHIKMNOPTYXABESIJKMHOPCTXYQWa6vvoiapuk",
        strict=True,
    )
)


# Of the Latin script itself, but of no language's alphabet: phonetic letters and small capitals (UTS 39, confusables).
_PHONETIC = dict(zip("ɑɡɪɢʙʜʟɴʀʏǀᴀᴄᴅᴇᴊᴋᴍᴏᴘᴛᴜᴠᴡᴢꜰꜱ", "agigbhlnrylacdejkmoptuvwzfs", strict=True))
# Letters of languages that pass for others where an address stands.
_IN_ADDRESSES = {"ı": "i", "丨": "l", "ㅣ": "l", "〇": "o", "ー": "-"}
_READ_AS = _ALIKE | _PHONETIC | _IN_ADDRESSES


class Trick(NamedTuple):
    """One character that does not look like what it is."""

    at: int
    char: str
    alike: bool  # passes for a Latin letter or sign; else invisible, a control, or an odd space

    @property
    def code(self) -> str:
        return f"U+{ord(self.char):04X}"


def tricks(text: str) -> list[Trick]:
    """The characters of a text that could deceive, in order."""
    odd = frozenset(_NOT_PLAIN.findall(text))
    if not odd:
        return []
    hidden = [Trick(at, text[at], False) for at in sorted(set(_hidden(text, odd)))]
    alike = [Trick(at, text[at], True) for at in sorted(set(_alike(text, odd)))]
    return sorted(hidden + alike) if alike else hidden


def _tricky(text: str) -> bool:
    """Whether there is any; stops at the first."""
    odd = frozenset(_NOT_PLAIN.findall(text))
    return any(True for _ in _hidden(text, odd)) or any(True for _ in _alike(text, odd))


def warning(text: str) -> str:
    """One sentence about the deceptive characters of a text; empty when there are none."""
    found = tricks(text)
    alike = [trick for trick in found if trick.alike]
    turning = [trick for trick in found if trick.char in _TURNING]
    hidden = [trick for trick in found if not trick.alike and trick.char not in _TURNING]
    parts = []
    if alike:
        parts.append(f"{_count(alike, 'look-alike character')}: {_scripts(alike)}.{_reads_like(text, found)}")
    if turning:
        parts.append(
            f"{_count(turning, 'character')} that can turn the direction of text round ({_codes(turning)})."
        )
    if hidden:
        parts.append(f"{_count(hidden, 'invisible or odd character')} ({_codes(hidden)}).")
    return " ".join(parts)


def _hidden(text: str, odd: frozenset[str]) -> Iterator[int]:
    """Where something takes no ink, or turns text round. `odd`: the text's characters that are not plain ASCII."""
    yield from _piled(text, odd)
    suspects = {char for char in odd if char == "\r" or _takes_no_ink(char)}
    if not suspects:
        return
    for match in re.finditer(f"[{re.escape(''.join(sorted(suspects)))}]", text):
        at, char = match.start(), match.group()
        honest = char == "\r" and text[at + 1 : at + 2] == "\n"
        if not honest and not (char in _EMOJI_JOINERS and at and _in_emoji(text, at)):
            yield at


@cache
def _takes_no_ink(char: str) -> bool:
    """Controls, format characters, odd spaces, tags, selectors."""
    category = unicodedata.category(char)
    if category in ("Cc", "Cf", "Co", "Cn", "Cs", "Zs", "Zl", "Zp") or char in _BLANK:
        return True
    return "VARIATION SELECTOR" in unicodedata.name(char, "")


def _piled(text: str, odd: frozenset[str]) -> Iterator[int]:
    """Where there are more accents than one letter can carry."""
    accents = sorted(char for char in odd if unicodedata.category(char) in ("Mn", "Me"))
    if accents:
        for pile in re.finditer(f"[{re.escape(''.join(accents))}]{{{_PILE + 1},}}", text):
            yield from range(pile.start() + _PILE, pile.end())


def _in_emoji(text: str, at: int) -> bool:
    """A joiner or selector right after a picture sign (or a joiner after its selector) belongs to an emoji."""
    before = text[at - 1]
    if text[at] == "\u200d" and before in "\ufe0e\ufe0f":
        before = text[at - 2 : at - 1] or " "
    return unicodedata.category(before) in ("So", "Sk", "Sm")


def _alike(text: str, odd: frozenset[str]) -> Iterator[int]:
    """Where letters of another script stand in a word with Latin letters, or pass for a Latin address."""
    foreign = {char for char in odd if _foreign(char)}
    if foreign:
        for word in _WORD.finditer(text):
            letters = word.group()
            if not letters.isascii() and _LATIN.search(letters):
                yield from _places(letters, word.start(), foreign)
    passing = foreign | (odd & _IN_ADDRESSES.keys())
    signs = {char for char in odd if char in _ALIKE_SIGNS or _RINGED.match(char)}
    if passing or signs:
        for segment in _SEGMENT.finditer(text):
            if not segment.group().isascii():
                yield from _alike_in_address(segment.group(), segment.start(), passing, signs)


def _alike_in_address(segment: str, start: int, passing: Set[str], signs: Set[str]) -> Iterator[int]:
    """The same in what stands between spaces and slashes."""
    if signs and _LATIN.search(segment):
        yield from _places(segment, start, signs)
    if passing and _HOST.search(segment):
        for word in _WORD.finditer(segment):
            odd = list(_places(word.group(), start + word.start(), passing))
            if odd and all(segment[at - start] in _READ_AS for at in odd):
                yield from odd


def _places(text: str, start: int, chars: Set[str]) -> Iterator[int]:
    return (at for at, char in enumerate(text, start) if char in chars)


@cache
def _foreign(char: str) -> bool:
    """A letter of no Latin alphabet, nor of a script that is freely mixed with Latin."""
    if char in _PHONETIC:
        return True
    if char.isascii() or unicodedata.category(char)[0] not in "LN":
        return False
    name = unicodedata.name(char, "")
    if name.startswith(
        ("LATIN", "SUPERSCRIPT", "SUBSCRIPT", "VULGAR", "MICRO SIGN", "FEMININE", "MASCULINE")
    ):
        return False
    return not name.startswith(_FREELY_MIXED)


def _count(found: list[Trick], noun: str) -> str:
    return f"{len(found):,} {noun}{'' if len(found) == 1 else 's'}"


def _codes(found: list[Trick]) -> str:
    codes = list(Counter(trick.code for trick in found))
    return ", ".join(codes[:5]) + (f" and {len(codes) - 5} more" if len(codes) > 5 else "")


def _scripts(found: list[Trick]) -> str:
    chars = list(Counter(trick.char for trick in found))[:5]
    return ", ".join(f"“{char}” is {_script(char)}" for char in chars)


def _script(char: str) -> str:
    name = unicodedata.name(char, "unnamed")
    first = name.split(" ")[0]
    if (
        char in _PHONETIC
        or char in _ALIKE_SIGNS
        or first in ("MATHEMATICAL", "FULLWIDTH", "MODIFIER", "DOUBLE-STRUCK")
    ):
        return name.lower()
    return first.capitalize()


def _reads_like(text: str, found: list[Trick]) -> str:
    """What the first word with look-alikes would be read as, where that is clear. Never with what is hidden in it."""
    first = next(trick.at for trick in found if trick.alike)
    word = next((w for w in re.finditer(r"\S+", text) if w.start() <= first < w.end()), None)
    if word is None or len(word.group()) > 80:
        return ""
    odd = [trick.char for trick in found if word.start() <= trick.at < word.end()]
    if not all(char in _READ_AS for char in odd):
        return ""
    return f" This is not “{''.join(_READ_AS.get(char, char) for char in word.group()).strip('.,;:!?')}”."


def deceptive(value: Any) -> bool:
    """Whether any text in a JSON value, names included, has characters that could deceive."""
    match value:
        case str():
            return _tricky(value)
        case list():
            return any(deceptive(item) for item in value)
        case dict():
            return any(deceptive(item) for pair in value.items() for item in pair)
    return False
