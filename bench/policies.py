"""What a verdict costs with 10, 100 and 1,000 policies, and how long a dry run over 100,000 calls takes."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from bench.stats import Row
from tests.postgres import server

ROOT = Path(__file__).resolve().parent.parent
SIZES = (10, 100, 1000)
ROUNDS = 5
CALLS = 100_000
MAIL = {"to": "dev@example.com", "subject": "Launch", "body": "Which features?" * 20, "amount": 1500}


def measure(kind: str) -> tuple[list[Row], list[Row]]:
    """Rows of verdict costs in µs, and one of the dry run, on "sqlite" or "postgresql"."""
    with tempfile.TemporaryDirectory(prefix="nod-policies-") as folder:
        if kind == "sqlite":
            return _in_process(folder, {})
        with server() as url:
            return _in_process(folder, {"DATABASE_URL": url})


def _in_process(folder: str, env: dict[str, str]) -> tuple[list[Row], list[Row]]:
    env = {**os.environ, "DEBUG": "0", "SECRET_KEY": "k" * 60, "ALLOWED_HOSTS": "x", "NOD_DATA": folder} | env
    env["DJANGO_SETTINGS_MODULE"] = "hitl_site.settings"
    command = [sys.executable, "-m", "bench.policies"]
    done = subprocess.run(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    found: dict[str, list[Row]] = json.loads(done.stdout)
    return found["verdicts"], found["dry run"]


# --- What runs in the process -----------------------------------------------------------------------------
def _verdicts() -> list[Row]:
    from approvals.actions.verdicts import Request, examine
    from approvals.models import ToolPolicy

    user = _alice().pk
    request = Request(
        session="s", tool_use_id="1", tool="send_email", arguments=MAIL, requested_by=user, agent="a"
    )
    rows: list[Row] = []
    for name, make in MIXES.items():
        for size in SIZES:
            ToolPolicy.objects.all().delete()
            rules = make(size)
            ToolPolicy.objects.bulk_create(rules)
            rows.append(
                {
                    "policies": name,
                    "n": size,
                    "in memory µs": _in_memory(rules),
                    "with its query µs": _each(lambda: examine(request), 200),
                    "first after a change µs": _each(lambda: _changed(request), 10),
                }
            )
    return rows


def _in_memory(rows: list[Any]) -> float:
    from approvals.actions.policies import rule_of
    from approvals.policy import Facts, Policies, judge
    from approvals.policy_files import Entry

    entries = [Entry(row.name, row.tool, row.effect, when=row.when) for row in rows]
    policies = Policies(rule_of(entry) for entry in entries)
    return _each(lambda: judge(Facts("send_email", arguments=MAIL, user="alice"), policies), 500)


def _changed(request: Any) -> None:
    from approvals.actions.verdicts import examine
    from approvals.models import ToolPolicy

    ToolPolicy.objects.filter(name="p0").update(agent="")
    examine(request)


def _each(do: Callable[[], Any], times: int) -> float:
    """The median over rounds of the mean of one, in µs."""
    do()
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(times):
            do()
        rounds.append((time.perf_counter() - began) / times * 1e6)
    return round(median(rounds), 1)


def _named(size: int) -> list[Any]:
    """One a tool, as most desks have them."""
    from approvals.models import ToolPolicy

    return [
        ToolPolicy(name=f"p{n}", tool=f"tool_{n}" if n else "send_email", effect="ask") for n in range(size)
    ]


def _patterns(size: int) -> list[Any]:
    from approvals.models import ToolPolicy

    return [ToolPolicy(name=f"p{n}", tool=f"*_{n}" if n else "send_*", effect="ask") for n in range(size)]


def _conditions(size: int) -> list[Any]:
    """All of them about this tool, and none but the last is met: the worst case."""
    from approvals.models import ToolPolicy

    return [
        ToolPolicy(
            name=f"p{n}",
            tool="send_email",
            effect="block" if n % 2 else "ask",
            when=f'args.amount > {10_000 + n} && args.to.endsWith("@example.com")'
            if n
            else "args.amount > 1000",
        )
        for n in range(size)
    ]


MIXES = {"exact names": _named, "patterns": _patterns, "conditions on one tool": _conditions}


def _dry_run() -> list[Row]:
    from approvals.actions import dry_runs
    from approvals.models import ToolCall, ToolPolicy
    from approvals.policy_files import Entry

    dice = random.Random(1)
    alice = _alice()
    for _ in range(CALLS // 2000):
        ToolCall.objects.bulk_create(_call(dice, alice) for _ in range(2000))
    ToolPolicy.objects.all().delete()
    ToolPolicy.objects.bulk_create(_named(100))
    drafts = [Entry(f"c{n}", "send_email", "ask", when=f"args.amount > {500 + n * 400}") for n in range(10)]
    run = dry_runs.begin(
        alice,
        "bench",
        [Entry("Allow small ones", "send_email", "allow", when="args.amount <= 500"), *drafts],
        CALLS,
    )
    began, steps = time.perf_counter(), 0
    while not run.finished:
        run, steps = dry_runs.advance(run), steps + 1
    took = time.perf_counter() - began
    changed = sum(each.calls for each in dry_runs.changes(run) if each.before != each.after)
    return [
        {
            "calls": run.done,
            "seconds": round(took, 1),
            "steps (each shows how far)": steps,
            "would change": changed,
        }
    ]


def _call(dice: random.Random, alice: Any) -> Any:
    from approvals.models import ToolCall

    arguments = {**MAIL, "amount": dice.randint(1, 5000), "to": f"{dice.randint(1, 99)}@example.com"}
    number = dice.getrandbits(60)
    return ToolCall(
        session=f"s{number % 1000}", tool_use_id=str(number), tool="send_email", requested_by=alice,
        arguments=arguments,
        definition="", digest="", status="succeeded", effect="ask", risk="medium", agent="assistant",
    )  # fmt: skip


def _alice() -> Any:
    from django.contrib.auth.models import Group, User

    alice, new = User.objects.get_or_create(username="alice")
    if new:
        alice.groups.add(Group.objects.get(name="chat users"))
    return alice


def _main() -> None:
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    print(json.dumps({"verdicts": _verdicts(), "dry run": _dry_run()}))


if __name__ == "__main__":
    _main()
