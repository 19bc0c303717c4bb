"""Reviewers as processes of their own, each with its own connection, that decide calls as fast as they can.

Every call belongs to a run that waits, as in life: its decision wakes it. There is no web server in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.postgres import server

ROOT = Path(__file__).resolve().parent.parent


class Deciders:
    """A database with nothing in it but people and calls that wait."""

    def __init__(self, folder: Path, more: dict[str, str]) -> None:
        self._folder = folder
        self._env = {
            **os.environ,
            **more,
            "NOD_DATA": str(folder),
            "DEBUG": "0",
            "ALLOWED_HOSTS": "localhost",
        }
        self._env |= {"SECRET_KEY": "of this benchmark alone, not a secret"}
        self._env |= {"DJANGO_SETTINGS_MODULE": "hitl_site.settings"}
        self._do("migrate")

    def decide(self, calls: int, how_many: int, *, same: bool, audit: bool = True) -> tuple[list[Any], float]:
        """What each of `how_many` deciders said, and the seconds it took. `same`: all decide all of the calls.

        Each says {"outcomes": {"won": 3, …}, "ms": [how long each decision took]}.
        """
        for left in (*self._folder.glob("ready-*"), *self._folder.glob("go")):
            left.unlink()
        self._do("ask", str(calls))
        parts = [(0, 1) if same else (number, how_many) for number in range(how_many)]
        deciders = [
            self._start("decide", str(number), *map(str, part), *(() if audit else ("unaudited",)))
            for number, part in enumerate(parts)
        ]
        while len(list(self._folder.glob("ready-*"))) < how_many:
            if any(decider.poll() is not None for decider in deciders):
                raise RuntimeError("a decider did not start")
            time.sleep(0.05)
        started = time.monotonic()
        (self._folder / "go").touch()
        said = [json.loads(decider.communicate()[0]) for decider in deciders]
        return said, time.monotonic() - started

    def count(self) -> dict[str, int]:
        """What the database says: approved calls, decisions, runs that were woken. The audit trail verifies."""
        return dict(json.loads(self._do("count")))

    def _do(self, *step: str) -> bytes:
        process = self._start(*step)
        printed = process.communicate()[0]
        if process.returncode:
            raise RuntimeError(f"{step[0]} did not work")
        return printed

    def _start(self, *step: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "bench.deciders", str(self._folder), *step]
        return subprocess.Popen(command, env=self._env, cwd=ROOT, stdout=subprocess.PIPE)


@contextmanager
def deciders(kind: str) -> Iterator[Deciders]:
    """On "sqlite" or "postgresql", for the block."""
    with tempfile.TemporaryDirectory(prefix="nod-deciders-") as folder:
        if kind == "sqlite":
            yield Deciders(Path(folder), {})
        else:
            with server() as url:
                yield Deciders(Path(folder), {"DATABASE_URL": url})


# --- What runs in the processes ---------------------------------------------------------------------------

MOST = 8  # reviewers


def _migrate() -> None:
    from django.contrib.auth.models import Group, User
    from django.core.management import call_command

    from agents.actions.catalogue import register_local
    from agents.models import Agent
    from approvals.policy import REVIEWERS

    call_command("migrate", verbosity=0)
    register_local()
    User.objects.create(username="alice")
    Agent.objects.create(slug="assistant", name="Assistant")
    for number in range(MOST):
        User.objects.create(username=f"reviewer-{number}").groups.add(Group.objects.get(name=REVIEWERS))


def _ask(calls: int) -> None:
    from django.contrib.auth.models import User

    from agents.models import Agent, Run, Session
    from agents.states import RunStatus
    from approvals.actions import calls as ledger
    from approvals.actions.verdicts import Request, examine
    from approvals.audit import audited

    alice, agent = User.objects.get(username="alice"), Agent.objects.get()
    for number in range(calls):
        with audited():
            session = Session.objects.create(user=alice, agent=agent)
            run = Run.objects.create(session=session, status=RunStatus.WAITING)
            mail = {"to": f"{number}@example.com", "subject": "Launch", "body": "Which features?"}
            request = Request(
                session=session.key, run=str(run.pk), turn=1, tool_use_id="1", tool="send_email", arguments=mail,
                agent=agent.slug, requested_by=alice.pk,
            )  # fmt: skip
            ledger.ask([examine(request)])


def _decide(folder: Path, number: int, first: int, step: int, *how: str) -> dict[str, Any]:
    from django.contrib.auth.models import User

    from agents import wakeups
    from approvals import audit, events
    from approvals.actions import decisions
    from approvals.models import ToolCall
    from approvals.states import Choice, Status

    wakeups.wake = lambda run_id: None  # there is no broker here, and no Redis
    events.send = lambda topic, payload: None
    if how == ("unaudited",):
        audit._store = lambda entries: None  # what it costs is the difference
    me = User.objects.get(username=f"reviewer-{number}")
    waiting = ToolCall.objects.filter(status=Status.PENDING).order_by("pk")
    seen = [
        (key, decisions.Ruling(Choice.APPROVE, version=version, digest=digest))
        for key, version, digest in waiting.values_list("pk", "version", "digest")[first::step]
    ]
    (folder / f"ready-{number}").touch()
    while not (folder / "go").exists():
        time.sleep(0.001)
    outcomes: Counter[str] = Counter()
    took = []
    for key, ruling in seen:
        started = time.perf_counter()
        outcomes[_outcome(key, me, ruling)] += 1
        took.append((time.perf_counter() - started) * 1000)
    return {"outcomes": outcomes, "ms": took}


def _outcome(key: Any, me: Any, ruling: Any) -> str:
    from approvals.actions import decisions
    from approvals.errors import AlreadyDecided

    try:
        decisions.decide(key, me, ruling)
    except AlreadyDecided as lost:
        return "told" if lost.extra.get("decided_by") else "not told"
    except Exception as error:  # every other end counts as an error
        return f"{type(error).__name__}: {error}"[:100]
    return "won"


def _count() -> dict[str, int]:
    from agents.models import Run
    from agents.states import RunStatus
    from approvals.actions import trail
    from approvals.models import Decision, ToolCall
    from approvals.states import Status

    assert trail.verify()[1] is None, "the audit trail does not verify"
    return {
        "approved": ToolCall.objects.filter(status=Status.APPROVED).count(),
        "decisions": Decision.objects.count(),
        "runs due": Run.objects.filter(status=RunStatus.QUEUED).count(),
    }


def _main() -> None:
    folder, step, *more = sys.argv[1:]
    import django

    django.setup()
    match step:
        case "migrate":
            _migrate()
        case "ask":
            _ask(int(more[0]))
        case "decide":
            number, first, stride, *how = more
            print(json.dumps(_decide(Path(folder), int(number), int(first), int(stride), *how)))
        case "count":
            print(json.dumps(_count()))


if __name__ == "__main__":
    _main()
