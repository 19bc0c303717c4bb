"""`manage.py policies import FILE`, `export` and `schema`."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from approvals.actions import policies
from approvals.actions.doubts import doubts
from approvals.actions.policies import Difference
from approvals.errors import InvalidInput
from approvals.policy_files import BadPolicyFile, Entry, read, write
from approvals.policy_files.read import schema
from approvals.sentences import sentence

ACTOR = "manage.py"


class Command(BaseCommand):
    help = "Policies as a file. `import` makes the set of policies equal to the file, in one transaction."

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_subparsers(dest="what", required=True)
        take = what.add_parser("import", help="make the set of policies equal to a file in YAML or JSON")
        take.add_argument("file", help="the file, - for standard input")
        take.add_argument(
            "--dry-run", action="store_true", help="print what would change, and change nothing"
        )
        give = what.add_parser("export", help="print the policies as a file")
        give.add_argument("--json", action="store_true", help="as JSON instead of YAML")
        what.add_parser("schema", help="print the file's JSON Schema")

    def handle(self, *, what: str, **options: Any) -> None:
        if what == "schema":
            self.stdout.write(json.dumps(schema(), indent=2))
        elif what == "export":
            self.stdout.write(write(policies.stored(), as_json=options["json"]), ending="")
        else:
            self._import(options["file"], dry=options["dry_run"])

    def _import(self, file: str, *, dry: bool) -> None:
        try:
            entries = read(_text(file))
            change = policies.compare(entries) if dry else policies.replace_all(entries, ACTOR)
        except BadPolicyFile as bad:
            raise CommandError("\n".join([f"{file} was not imported.", *bad.problems])) from None
        except InvalidInput as bad:
            raise CommandError(f"{file} was not imported. {bad.message}") from None
        self._tell(change, dry=dry)
        for each in entries:
            for doubt in doubts(each):
                self.stderr.write(f"Note on “{each.name}”: {doubt}")

    def _tell(self, change: Difference, *, dry: bool) -> None:
        for each in change.removed:
            self._line("-", each)
        for before, after in change.changed:
            self._line("~", after)
            for name, was, will in before.differences(after):
                self.stdout.write(f"    {name}: {was} → {will}")
        for each in change.added:
            self._line("+", each)
        verbs = ("Would add", "change", "remove") if dry else ("Added", "changed", "removed")
        counts = (len(change.added), len(change.changed), len(change.removed))
        done = ", ".join(f"{verb} {count}" for verb, count in zip(verbs, counts, strict=True))
        self.stdout.write(f"{done}." if change else "Nothing to change.")

    def _line(self, mark: str, entry: Entry) -> None:
        off = "" if entry.enabled else " (off)"
        self.stdout.write(f"{mark} {entry.name}: {sentence(entry)}{off}")


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise CommandError(f"{file} is no UTF-8 text.") from None
