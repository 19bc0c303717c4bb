"""Conditions on a call, in CEL (https://cel.dev), such as `args.amount > 1000`. Pure.

The library is imported where the first condition is met: it costs 0.2 s, and many desks have none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from approvals.hints import did_you_mean

if TYPE_CHECKING:
    import cel

NAMES: dict[str, str] = {
    "args": "the arguments, as args.to",
    "tool": "its name",
    "agent": "its slug",
    "session": "its id",
    "user": "who asked: user.name, and user.groups as a list",
    "now": "the time, in UTC",
}
"""What a condition may speak of."""

LONGEST = 2000
MAX_WHY = 200
MOST_ITEMS = (1000, 200, 30)  # of the longest list, with one macro, two, more; 0.3 s at worst
_MACRO = re.compile(r"\b(?:all|exists|exists_one|filter|map)\s*\(")
_FUNCTIONS = (
    "all bool bytes contains double duration dyn endsWith exists exists_one filter getDate getDayOfMonth getDayOfWeek "
    "getDayOfYear getFullYear getHours getMilliseconds getMinutes getMonth getSeconds has int lowerAscii map matches "
    "size startsWith string timestamp type uint"
)
BUILT_IN = frozenset(_FUNCTIONS.split())
HINTS = {
    r"[^=!<>]=[^=]": "To compare, write ==",
    "[“”„‘’]": "Texts stand in straight quotes",
    r"\bor\b": "For “or”, write ||",
    r"\band\b": "For “and”, write &&",
    r"\bnot\b": "For “not”, write !",
}
"""What people write who know other languages, and what CEL has for it."""
_OPERATOR = re.compile(r"[_!@\-\[\]]|.*_$")
_TYPES = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"})


class BadCondition(ValueError):
    """A condition cannot be used; the message says why, for whoever wrote it."""


class ConditionFailed(Exception):
    """A condition has no answer for this call; the message says why, as the end of a sentence.

    It may quote what a model wrote: what cannot be seen is replaced.
    """

    def __init__(self, why: str) -> None:
        super().__init__("".join(char if char.isprintable() else "\ufffd" for char in why[:MAX_WHY]))


class Context:
    """What the conditions on one call are evaluated on.

    The library's form of it is made once for all conditions that speak of the same names, and of those names alone:
    to make it takes longer than most conditions do, and arguments may be large.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names
        self._made: dict[frozenset[str], cel.Context] = {}

    def of(self, spoken_of: frozenset[str]) -> cel.Context:
        """The library's form of those of these names that there are."""
        made = self._made.get(spoken_of)
        if made is None:
            import cel

            values = {name: value for name, value in self._names.items() if name in spoken_of}
            made = self._made[spoken_of] = cel.Context(values, {"lowerAscii": _lower})
        return made

    @cached_property
    def largest(self) -> int:
        """Items of the longest list or object."""
        longest, left = 0, list(self._names.values())
        while left:
            value = left.pop()
            if isinstance(value, dict | list):
                longest = max(longest, len(value))
                left.extend(value.values() if isinstance(value, dict) else value)
        return longest


def check(text: str) -> None:
    """Raises BadCondition for what is no CEL, or speaks of what there is not."""
    if len(text) > LONGEST:
        raise BadCondition(f"It is longer than {LONGEST} characters. Shorten it, or make two policies of it.")
    program, _ = _compiled(text)
    if unknown := sorted(set(program.variables()) - NAMES.keys() - _TYPES - _bound(text)):
        known = ", ".join(NAMES)
        raise BadCondition(
            f"It speaks of {_quoted(unknown)}. It may speak of {known}; texts stand in quotes."
        )
    functions = (name for name in program.functions() if not _OPERATOR.match(name))
    if unknown := sorted(set(functions) - BUILT_IN):
        raise BadCondition(
            f"There is no function {_quoted(unknown)}. {did_you_mean(unknown[0], sorted(BUILT_IN))}"
        )
    for pattern in re.findall(r"""\bmatches\(\s*("[^"]*"|'[^']*')\s*\)""", text):
        _check_constant(f'"".matches({pattern})', f"{pattern} is no pattern")
    if not program.variables():
        _check_constant(text, "It is always the same, and neither true nor false")


def _check_constant(text: str, what: str) -> None:
    try:
        holds(text, Context({}))
    except ConditionFailed as why:
        raise BadCondition(f"{what}: {why}.") from None


def holds(text: str, context: Context) -> bool:
    """Whether the condition is met. Raises ConditionFailed where it has no answer, which is neither yes nor no."""
    if (most := _most_items(text)) is not None and context.largest > most:
        raise ConditionFailed(f"it goes through more than {most} items")
    try:
        program, spoken_of = _compiled(text)
        answer = program.execute(context.of(spoken_of))
    except BadCondition as error:
        raise ConditionFailed(f"it is no CEL ({error})") from None
    except KeyError as missing:
        raise ConditionFailed(f"there is no {missing.args[0]}") from None
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a panic of the library is none of Python's Exceptions
        raise ConditionFailed(_first_sentence(error)) from None
    if not isinstance(answer, bool):
        raise ConditionFailed(f"it gives {type(answer).__name__}, not true or false")
    return answer


@lru_cache(maxsize=4096)
def _most_items(text: str) -> int | None:
    """What a condition may go through: each all(…), exists(…) and their like takes the square of it at worst, and one
    in another the cube; nothing else of the worker runs meanwhile. None without any."""
    count = len(_MACRO.findall(text))
    return None if not count else MOST_ITEMS[min(count, len(MOST_ITEMS)) - 1]


def arguments_in(text: str) -> frozenset[str]:
    """The arguments that a condition names as `args.name`; none where it is no CEL."""
    return frozenset(re.findall(r"\bargs\.([A-Za-z_]\w*)", text))


@lru_cache(maxsize=4096)
def _compiled(text: str) -> tuple[cel.Program, frozenset[str]]:
    """The program, and which of the names it speaks of."""
    import cel

    try:
        program = cel.compile(text)
    except Exception as error:
        raise BadCondition(_place(str(error), text)) from None
    return program, frozenset(NAMES.keys() & set(program.variables()))


def _place(message: str, text: str) -> str:
    """The parser's message in one line: where it is, and what it saw there."""
    found = re.search(r"<input>:(\d+):(\d+): (?:Syntax error: )?(.+)", message)
    if not found:
        return f"It cannot be read: {text[:80]}"
    line, column, what = found.groups()
    for sign, hint in HINTS.items():
        if re.search(sign, text):
            what = f"{what.split(' expecting {')[0].rstrip('.')}. {hint}"
            break
    where = f"line {line}, character {column}" if "\n" in text else f"character {column}"
    return f"It cannot be read at {where}: {what.split(' expecting {')[0]}."


def _bound(text: str) -> set[str]:
    """The names that all(x, …), exists(x, …) and their like bring along."""
    return set(re.findall(r"\b(?:all|exists|exists_one|filter|map)\s*\(\s*([A-Za-z_]\w*)\s*,", text))


def _lower(text: str) -> str:
    """CEL's own name and meaning: only A to Z change."""
    return re.sub("[A-Z]+", lambda found: found[0].lower(), text)


def _quoted(names: list[str]) -> str:
    return " and ".join(f"“{name}”" for name in names)


def _first_sentence(error: BaseException) -> str:
    text = str(error).split(". ")[0].split("\n")[0].strip().rstrip(".")
    return (text[:1].lower() + text[1:]) or type(error).__name__
