"""Writes a set of golden sessions: `python -m tests.golden.make v2`. See README.md."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path


def main(version: str) -> None:
    """Plays each scene on a database of its own and saves where it stands."""
    import os

    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DEBUG": "1",
            "NOD_DATA": folder,
        }
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        connection.settings_dict["NAME"] = str(Path(folder) / "golden.sqlite3")
        call_command("migrate", verbosity=0)
        call_command("seed", verbosity=0)
        for name, scene in scenes().items():
            print(_save(f"{version}-{name}", scene()).name)


def scenes() -> dict[str, Callable[[], object]]:
    """Sessions by name, each as it stands when everything is stopped."""
    from django.contrib.auth.models import User

    from agents import driver
    from agents.models import Run
    from approvals.models import ToolCall
    from approvals.states import Status
    from tests.desk import approve, calls, chat, claim, deny, last_run, pass_by, pending

    people = User.objects.in_bulk(["alice", "rita"], field_name="username")
    alice, rita = people["alice"], people["rita"]
    mail = "Please send an email to {} saying hello"

    def waiting() -> object:
        return chat(alice, mail.format("waiting@example.com"))

    def siblings() -> object:
        session = chat(
            alice, "What is the weather in Brno, and email a@example.com and b@example.com saying hello"
        )
        deny(calls(session, status=Status.PENDING)[0], rita)
        return session

    def approved() -> object:
        session = chat(alice, mail.format("approved@example.com"))
        approve(pending(session), rita)
        return session

    def edited() -> object:
        session = chat(alice, mail.format("edited@example.com"))
        call = pending(session)
        approve(call, rita, arguments={**call.arguments, "subject": "Edited"})
        return session

    def unknown() -> object:
        session = chat(alice, mail.format("unknown@example.com"))
        approve(pending(session), rita)
        run = claim(last_run(session))
        ToolCall.objects.filter(session=session.key).update(status=Status.STARTED, epoch=run.epoch)
        pass_by(Run.objects.filter(pk=run.pk), "lease_until")
        driver.advance(str(run.pk))
        return session

    return {each.__name__: each for each in (waiting, siblings, approved, edited, unknown)}


def _save(name: str, session: object) -> Path:
    from agents.models import Session
    from tests.golden import store

    assert isinstance(session, Session)
    session.refresh_from_db()
    return store.save(name, session)


if __name__ == "__main__":
    main(sys.argv[1])
