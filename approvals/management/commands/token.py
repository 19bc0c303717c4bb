"""`manage.py token USER --scope chat,review`: prints a new API token, alone on its line."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from approvals.actions import tokens
from approvals.errors import Refusal


class Command(BaseCommand):
    help = "Prints a new API token for a person. It is shown this once and stored as a hash."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="whose token it is")
        parser.add_argument(
            "--scope", required=True, help=f"one or more of {', '.join(tokens.SCOPES)}, separated by commas"
        )
        parser.add_argument("--name", default="", help="what it is for")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"], is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active person named {options['user']!r}. See /admin/auth/user/.")
        try:
            scopes = [scope.strip() for scope in options["scope"].split(",") if scope.strip()]
            self.stdout.write(tokens.create(user, scopes, options["name"], actor="manage.py"))
        except Refusal as error:
            raise CommandError(error.message) from None
