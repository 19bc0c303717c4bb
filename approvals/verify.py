"""Verifies an audit trail, entry by entry, from the database or from an export. Pure: no database, no clock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from approvals import chain

CHECKPOINT = "audit.checkpoint"
EXPORTED = "audit.exported"
BROKEN = "audit.broken"
COLUMNS = ("seq", *chain.FIELDS, "hash")


@dataclass(frozen=True)
class Fault:
    """What is wrong, and the number of the first bad entry; for what is missing, of the last one before it."""

    seq: int
    why: str


@dataclass(frozen=True)
class Head:
    """The end of a chain as the database has it."""

    chain: str
    position: int
    hash: str
    seal: str


class Verifier:
    """Reads entries in the order of their numbers; then `end` looks at what should have been there."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = keys
        self._last: dict[str, str] = defaultdict(str)
        self._count: dict[str, int] = defaultdict(int)
        self._seqs: dict[str, int] = defaultdict(int)
        # By position, from the last one that a checkpoint covers.
        self._hashes: dict[str, dict[int, str]] = defaultdict(dict)
        self.entries = 0
        self.seq = 0
        self.kind = self.at = ""

    @property
    def chains(self) -> int:
        return len(self._count)

    def read(self, fields: Mapping[str, Any]) -> Fault | None:
        """What is wrong with the next entry, or None."""
        fault = self._shape(fields) or self._link(fields)
        if fault:
            return fault
        name = fields["session"]
        self.entries += 1
        self.seq, self.kind, self.at = fields["seq"], fields["kind"], fields["at"]
        self._last[name] = fields["hash"]
        self._count[name] += 1
        self._seqs[name] = self.seq
        self._hashes[name][self._count[name]] = fields["hash"]
        if self.kind == BROKEN:
            return Fault(self.seq, "Here Nod found that the entries before it were tampered with.")
        return self._covered(fields["data"]) if self.kind == CHECKPOINT else None

    def end(self, heads: Iterable[Head]) -> Fault | None:
        """After the last entry: each chain has to end where its head says."""
        seen = set()
        for head in heads:
            seen.add(head.chain)
            if fault := self._ends_at(head):
                return fault
        headless = next((name for name in self._count if name not in seen), None)
        if headless is not None:
            return Fault(self._seqs[headless], f"The head of the chain {headless!r} is gone.")
        return None

    def end_of_export(self) -> Fault | None:
        """The last entry of an export says that it was made; without it, its tail was cut off."""
        if self.kind == EXPORTED:
            return None
        return Fault(self.seq, f"The export does not end with {EXPORTED}: what came after this is missing.")

    def _shape(self, fields: Any) -> Fault | None:
        if not isinstance(fields, dict) or set(fields) != set(COLUMNS):
            return Fault(
                self.seq, f"What follows is no audit entry: it needs {', '.join(COLUMNS)} and no more."
            )
        texts = [name for name in COLUMNS if name not in ("seq", "data")]
        if not all(isinstance(fields[name], str) for name in texts):
            return Fault(self.seq, "What follows is no audit entry: its fields are text.")
        if not isinstance(fields["seq"], int) or fields["seq"] <= self.seq:
            return Fault(self.seq, "What follows is out of order.")
        return None

    def _link(self, fields: Mapping[str, Any]) -> Fault | None:
        seq, name = fields["seq"], fields["session"]
        if not chain.knows_key(self._keys, fields["hash"]):
            return Fault(
                seq, "It was signed with a key that AUDIT_KEYS does not hold, or its hash was changed."
            )
        if not chain.entry_is_genuine(self._keys, fields, fields["hash"]):
            return Fault(seq, "It was changed, or Nod did not write it.")
        if fields["prev"] != self._last[name]:
            return Fault(seq, "What stood before it in its chain is missing, or stands elsewhere.")
        return None

    def _covered(self, data: Mapping[str, Any]) -> Fault | None:
        for name, (position, last) in data["heads"].items():
            hashes = self._hashes[name]
            if hashes.get(position) != last:
                return Fault(
                    self._seqs.get(name, 0) or self.seq,
                    f"The chain {name!r} had {position} entries at the checkpoint {self.seq}; "
                    f"now it has {self._count.get(name, 0)}.",
                )
            for covered in [at for at in hashes if at < position]:
                del hashes[covered]
        return None

    def _ends_at(self, head: Head) -> Fault | None:
        seq, count = self._seqs[head.chain], self._count.get(head.chain, 0)
        if not chain.seal_is_genuine(self._keys, head.chain, head.position, head.hash, head.seal):
            return Fault(seq, f"The seal on the head of the chain {head.chain!r} is not genuine.")
        if (head.position, head.hash) != (count, self._last[head.chain]):
            return Fault(seq, f"The chain {head.chain!r} had {head.position} entries; now it has {count}.")
        return None
