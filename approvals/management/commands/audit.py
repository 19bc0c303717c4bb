"""`manage.py audit export` and `verify`."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError

from approvals.actions import trail
from approvals.verify import Fault, Verifier


class Command(BaseCommand):
    help = "The audit trail: export it as JSON lines, or verify that nobody has changed it."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_subparsers(dest="what", required=True)
        what.add_parser("export", help="print it, one JSON object a line, oldest first")
        verify = what.add_parser("verify", help="exit 1 and name the first bad entry if it was tampered with")
        verify.add_argument(
            "file", nargs="?", help="an export to verify, - for standard input; else the database"
        )

    def handle(self, *, what: str, **options: Any) -> None:
        if what == "export":
            self._export()
        else:
            self._verify(options["file"])

    def _export(self) -> None:
        for fields in trail.export():
            self.stdout.write(json.dumps(fields, separators=(",", ":")))

    def _verify(self, file: str | None) -> None:
        if file is None:
            self._report(*trail.verify())
        elif file == "-":
            self._report(*trail.verify_lines(_lines(sys.stdin)))
        else:
            try:
                with open(file, encoding="utf-8") as opened:
                    self._report(*trail.verify_lines(_lines(opened)))
            except OSError as error:
                raise CommandError(f"{file} can't be read: {error.strerror}.") from None

    def _report(self, verifier: Verifier, fault: Fault | None) -> None:
        if fault:
            self.stderr.write(f"The audit trail was tampered with. First bad entry: {fault.seq}. {fault.why}")
            sys.exit(1)
        self.stdout.write(
            f"{verifier.entries} entries in {verifier.chains} chains, the last is {verifier.seq} of {verifier.at}: "
            "all genuine."
        )


def _lines(file: TextIO) -> Iterator[Any]:
    for line in file:
        try:
            yield json.loads(line)
        except ValueError:
            yield None
