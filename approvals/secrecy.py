"""Values that look like secrets, by the name of their argument or by their shape: found, counted, masked.

What is masked here is masked for the eye: the API gives the whole arguments, and what runs is what was asked.
"""

from __future__ import annotations

import re
from typing import Any

# The last word of a name tells what a value is: `session_token` is one, `token_count` is a number of them.
_TELLS = re.compile(
    r"(?:^|_)(?:passwords?|passwd|passphrase|passcode|pwd|secrets?|token|apikey|authorization|credentials?|cookies?"
    r"|(?:api|access|secret|private|signing|encryption|auth|account)_key|auth_header|secret_value|pin_code)$"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_WORD = re.compile(r"[^a-z0-9]+")

# A private key is nothing but its own lines, whole ones first: words between BEGIN and END are read like any others.
_APART = r"(?:[\s>\"',|]|\\[nr])*+"  # lines may be quoted, or written as \n
_KEY = (
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"
    rf"(?:{_APART}(?:Proc-Type: 4,ENCRYPTED|DEK-Info: [A-Z0-9-]{{1,20}},[0-9A-Fa-f]{{16,32}}))*+"
    rf"(?:{_APART}[A-Za-z0-9+/]{{40,}}+={{0,2}}+)++"
    rf"(?:{_APART}[A-Za-z0-9+/]{{1,39}}+={{0,2}}+(?={_APART}(?:-|\Z)))?+"
    rf"(?:{_APART}-----END [A-Z ]{{0,30}}PRIVATE KEY-----)?+"
)

# Each part takes time in proportion to the text. Of a pair, the group that is a secret is the last one.
_SHAPES = re.compile(
    rf"{_KEY}"
    r"|\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}"
    r"|\bgithub_pat_[A-Za-z0-9_]{20,}"
    r"|(?<![\w-])glpat-[\w-]{20,}"
    r"|(?<![\w-])xox[abeoprs]-[\w-]{10,}"
    r"|(?<![\w-])(?:sk|rk)[-_](?:live[-_]|test[-_]|proj-|ant-)?[A-Za-z0-9_-]{20,}"
    r"|\bAIza[\w-]{35}"
    r"|\bnpm_[A-Za-z0-9]{36}"
    r"|(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"
    r"|(?<=\b[Bb]earer )[\w.~+/-]{16,}=*"
    r"|(?<=\bBEARER )[\w.~+/-]{16,}=*"
    r"|(?<=\b[Bb]asic )[A-Za-z0-9+/]{16,}=*"
    r"|(?i:(?<=\bsecret_access_key=)|(?<=\bsecret_access_key = )|(?<=\bsecret_access_key: ))[A-Za-z0-9/+=]{30,}"
)


def mask(text: str) -> str:
    """What stands in place of a secret: how long it is, and nothing else of it."""
    return f"•••• {len(text):,} character{'' if len(text) == 1 else 's'}, hidden"


def hide(name: str, value: Any) -> tuple[Any, int]:
    """The value of an argument with what looks like a secret masked, and how many were."""
    if _tells(name):
        return _hide_all(value)
    match value:
        case str():
            return _hide_shapes(value)
        case list():
            pairs = [hide("", item) for item in value]
            return [item for item, _ in pairs], sum(count for _, count in pairs)
        case dict():
            inside = {key: hide(key, item) for key, item in value.items()}
            return {key: item for key, (item, _) in inside.items()}, sum(n for _, n in inside.values())
    return value, 0


def hide_in(arguments: Any, shown: frozenset[str] = frozenset()) -> Any:
    """All arguments with their secrets masked, but for those that are `shown`."""
    if not isinstance(arguments, dict):
        return hide("", arguments)[0]
    return {name: value if name in shown else hide(name, value)[0] for name, value in arguments.items()}


def secrets_in(arguments: Any) -> dict[str, int]:
    """The arguments that hold something hidden, with how many values each; empty where all is seen."""
    named = arguments if isinstance(arguments, dict) else {"arguments": arguments}
    counts = {name: hide(name, value)[1] for name, value in named.items()}
    return {name: count for name, count in counts.items() if count}


def _tells(name: str) -> bool:
    """Whether a name says that its value is a secret."""
    return bool(_TELLS.search(_NOT_WORD.sub("_", _CAMEL.sub("_", name).lower()).strip("_")))


def _hide_all(value: Any) -> tuple[Any, int]:
    match value:
        case str() if value:
            return mask(value), 1
        case int() | float() if not isinstance(value, bool):
            return mask(str(value)), 1
        case list():
            pairs = [_hide_all(item) for item in value]
            return [item for item, _ in pairs], sum(count for _, count in pairs)
        case dict():
            inside = {key: _hide_all(item) for key, item in value.items()}
            return {key: item for key, (item, _) in inside.items()}, sum(n for _, n in inside.values())
    return value, 0


def _hide_shapes(text: str) -> tuple[str, int]:
    return _SHAPES.subn(lambda found: mask(found.group()), text)
