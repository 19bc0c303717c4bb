"""`manage.py demo`: plays the whole loop in the terminal, on real processes, and stops."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hitl_site.demo import Demo, DemoProblem


class Command(BaseCommand):
    help = (
        "Plays a chat, two calls in a turn (one approved, one denied), a trust, and a restart in the middle."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=0, help="a free port is chosen otherwise")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            Demo(self.stdout.write, options["port"]).play()
        except DemoProblem as problem:
            raise CommandError(str(problem)) from None
