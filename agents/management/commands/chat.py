"""`manage.py chat`: talk with an agent in the terminal, with approvals asked inline as y / n / t."""

from __future__ import annotations

import getpass
import logging
import os
import sys
from argparse import ArgumentParser
from io import TextIOWrapper
from typing import Any

import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from agents import wakeups
from agents.terminal.chat import Chat, agent_named, input_lines, session_of
from agents.terminal.lines import Lines
from agents.terminal.person import sign_in
from agents.terminal.screen import Leave, Screen
from approvals.visible import one_line, visible

ALONE = "Nod's other processes do not run: nobody sees this live, and nobody else decides until they do."


class Command(BaseCommand):
    help = "Talks with an agent in the terminal. What it may not do alone is asked inline: y, n or t."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--as", dest="user", default="", help="who you are at Nod; else as in the system")
        parser.add_argument("--agent", default="", help="the agent's slug, for a new chat")
        parser.add_argument(
            "--resume",
            nargs="?",
            const="",
            metavar="SESSION",
            help="go on with a chat; without SESSION with your newest",
        )

    def handle(self, *, user: str, agent: str, resume: str | None, **options: Any) -> None:
        if agent and resume is not None:
            raise CommandError("--agent is for a new chat. Leave it out, or leave out --resume.")
        try:
            with wakeups.kept():
                sys.exit(self._chat(user, agent, resume))
        except Leave:
            raise CommandError("Nobody signed in.") from None
        except DatabaseError as error:
            raise CommandError(
                f"The database is not usable ({one_line(str(error))}). Is it there, and migrated (manage.py migrate)? "
                "What was stored is not lost: come back with --resume."
            ) from None

    def _chat(self, user: str, slug: str, resume: str | None) -> int:
        interactive = sys.stdin.isatty() and sys.stdout.isatty()
        lines = Lines() if interactive else None
        screen = _screen(lines)
        person = sign_in(user, (lambda: screen.ask("Your name at Nod: ")) if interactive else None, _password)
        session = None if resume is None else session_of(person, resume)
        agent = session.agent if session else agent_named(slug)
        _quieten(screen)
        chat = Chat(screen, person, session, agent, lines.keep if lines else lambda text: None)
        if not interactive:
            return chat.send(input_lines())
        screen.line(
            f"{agent.name}, with {person.user.get_username()}. Ctrl-C stops the agent, Ctrl-D leaves.", "dim"
        )
        return chat.talk()


def _screen(lines: Lines | None) -> Screen:
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, TextIOWrapper):  # a terminal may know fewer characters, or send what is none
            stream.reconfigure(errors=errors)
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
    terminal = sys.stdout.isatty()
    return Screen(sys.stdout, lines.read if lines else None, colour=terminal and not plain, wide=terminal)


def _password(prompt: str) -> str:
    try:
        return getpass.getpass(prompt)
    except (EOFError, KeyboardInterrupt):
        raise CommandError("Nobody signed in.") from None


class _Visible(logging.Formatter):
    """Log lines may quote a model."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def _quieten(screen: Screen) -> None:
    """Says once that nobody listens, where nobody does, instead of a log line for each outage."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Visible("%(levelname)s %(name)s: %(message)s"))
    if not _redis_answers():
        for name in ("nod.events", "nod.wakeups"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if screen.interactive:
            screen.line(ALONE, "dim")


def _redis_answers() -> bool:
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=1) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError, ValueError):
        return False
