"""Writes a policy file."""

from __future__ import annotations

import json
from collections.abc import Iterable

import yaml

from approvals.policy_files.entries import Entry


class _Indented(yaml.SafeDumper):
    """Sets the entries of a list in, as the documentation does: entries of both can stand in one file."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def write(entries: Iterable[Entry], *, as_json: bool = False) -> str:
    """The file for these policies, in their order, as `read` takes it back to the same policies."""
    data = {"policies": [entry.written() for entry in entries]}
    if as_json:
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    return yaml.dump(data, Dumper=_Indented, sort_keys=False, allow_unicode=True, width=110)
