"""How long /insights/ takes with 100,000 calls in its period, for an administrator and for a reviewer."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from bench.stats import Row
from tests.postgres import server

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
CALLS = 100_000
WEEK = timedelta(days=6.9)
TOOLS = [f"tool_{number}" for number in range(12)]
BODY = "Which features will be available at launch? " * 10


def measure(kind: str) -> list[Row]:
    """A row for each who asks, on "sqlite" or "postgresql"."""
    with tempfile.TemporaryDirectory(prefix="nod-insights-") as folder:
        if kind == "sqlite":
            return _in_process(folder, {})
        with server() as url:
            return _in_process(folder, {"DATABASE_URL": url})


def _in_process(folder: str, env: dict[str, str]) -> list[Row]:
    env = {**os.environ, "DEBUG": "0", "SECRET_KEY": "k" * 60, "ALLOWED_HOSTS": "x", "NOD_DATA": folder} | env
    env["DJANGO_SETTINGS_MODULE"] = "hitl_site.settings"
    command = [sys.executable, "-m", "bench.insights"]
    done = subprocess.run(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    found: list[Row] = json.loads(done.stdout)
    return found


# --- What runs in the process -----------------------------------------------------------------------------
def _fill(calls: int) -> None:
    from django.db import connection, transaction

    dice = random.Random(1)
    alice, *reviewers = (_person(name) for name in ("alice", "rita", "remy", "rob"))
    with transaction.atomic():
        for thousand in range(calls // 1000):
            _some(dice, alice, reviewers, 1 - (thousand + 1) * 1000 / calls)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _some(dice: random.Random, alice: Any, reviewers: list[Any], past: float) -> None:
    """A thousand calls, asked for when so much of the week was still to come."""
    from django.utils import timezone

    from approvals.models import Decision, ToolCall

    now = timezone.now() - WEEK * past
    made = [_call(dice, alice, now) for _ in range(1000)]
    ToolCall.objects.bulk_create(made, batch_size=200)
    Decision.objects.bulk_create(
        Decision(
            call=call, by=dice.choice(reviewers), requested_by=alice, digest="", version=1, at=call.decided_at,
            choice="deny" if call.status == "denied" else "approve",
        )
        for call in made
        if call.decided_at
    )  # fmt: skip


def _call(dice: random.Random, alice: Any, now: Any) -> Any:
    from approvals.models import ToolCall

    asked = now - timedelta(seconds=dice.uniform(60, 60 * 95))
    left = asked + timedelta(seconds=dice.expovariate(1 / 300))
    status = dice.choices(["succeeded", "denied", "expired", "cancelled"], [80, 14, 4, 2])[0]
    number = dice.getrandbits(60)
    return ToolCall(
        session=f"s{number % 1000}", tool_use_id=str(number), tool=dice.choice(TOOLS), requested_by=alice,
        agent=dice.choice(["assistant", "clerk"]), arguments={"to": f"{number}@example.com", "body": BODY},
        definition="", digest="", status=status, effect="ask", risk="medium", groups="|reviewers|",
        requested_at=asked, finished_at=left, decided_at=left if status in ("succeeded", "denied") else None,
    )  # fmt: skip


def _person(name: str) -> Any:
    from django.contrib.auth.models import Group, User

    person, _ = User.objects.get_or_create(username=name)
    if name != "alice":
        person.groups.add(Group.objects.get(name="administrators" if name == "rob" else "reviewers"))
    return person


def _rows() -> list[Row]:
    return [
        {"who": f"{who}", **_timed(name)} for who, name in (("administrator", "rob"), ("reviewer", "rita"))
    ]


def _timed(name: str) -> Row:
    from django.test import Client

    client = Client(SERVER_NAME="x")
    client.force_login(_person(name))
    took: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        response = client.get("/insights/?days=7", secure=True)
        took.append((time.perf_counter() - began) * 1000)
        assert response.status_code == 200, response.status_code
    return {
        "calls": CALLS,
        "ms (median)": round(median(took)),
        "ms (slowest)": round(max(took)),
        "page, kB": round(len(response.content) / 1024),
    }


def _main() -> None:
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    _fill(CALLS)
    print(json.dumps(_rows()))


if __name__ == "__main__":
    _main()
