"""The hash chains of the audit trail. Pure: no database, no clock.

There is one chain for each session, and one, "", for all that belongs to none. Each entry carries the hash of the
entry before it in its chain; its own hash is an HMAC-SHA256 over its fields and that, so that an entry can neither
be changed nor forged without a key. The head of a chain carries a seal, an HMAC over how many entries there are and
the hash of the last: without it, the newest entries could be cut off and nobody would see.

A hash is written KEYID.HEX. The key's id is in it so that keys can be changed: the first one signs, all verify.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

FIELDS = ("at", "kind", "actor", "session", "call", "tool", "digest", "data", "prev")
"""What an entry's hash covers, in the audit trail's words."""


def moment(at: datetime) -> str:
    """A time as it is hashed and exported: UTC with microseconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def entry_hash(keys: Sequence[bytes], fields: Mapping[str, Any]) -> str:
    """The hash of an entry by the first key. `fields`: at least FIELDS, `at` as `moment` writes it."""
    return _sign(keys[0], _entry(fields))


def entry_is_genuine(keys: Sequence[bytes], fields: Mapping[str, Any], claimed: str) -> bool:
    return _verify(keys, _entry(fields), claimed)


def seal(keys: Sequence[bytes], chain: str, position: int, last: str) -> str:
    """The seal on the head of a chain with so many entries, the last of which has this hash."""
    return _sign(keys[0], _head(chain, position, last))


def seal_is_genuine(keys: Sequence[bytes], chain: str, position: int, last: str, claimed: str) -> bool:
    return _verify(keys, _head(chain, position, last), claimed)


def knows_key(keys: Sequence[bytes], claimed: str) -> bool:
    """Whether one of the keys could have made this hash."""
    return any(claimed.startswith(f"{_id(key)}.") for key in keys)


def _entry(fields: Mapping[str, Any]) -> bytes:
    return _plain(["entry", *(fields[name] for name in FIELDS)])


def _head(chain: str, position: int, last: str) -> bytes:
    return _plain(["head", chain, position, last])


def _plain(value: Any) -> bytes:
    """JSON with sorted keys, without spaces, in ASCII: the same bytes after every storage and transport."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _sign(key: bytes, message: bytes) -> str:
    return f"{_id(key)}.{hmac.new(key, message, hashlib.sha256).hexdigest()}"


def _verify(keys: Sequence[bytes], message: bytes, claimed: str) -> bool:
    return any(hmac.compare_digest(_sign(key, message), claimed) for key in keys if knows_key([key], claimed))


@lru_cache(maxsize=32)
def _id(key: bytes) -> str:
    return hashlib.sha256(b"nod audit key id:" + key).hexdigest()[:8]
