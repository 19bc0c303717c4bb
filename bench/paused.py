"""Thousands of paused runs: what they hold, what they weigh, and how long sweeping past them takes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil
import redis

from bench.memory import measure as memory
from bench.stats import Row
from bench.system import sign_in, systems
from hitl_site.embedded import socket_path
from tests.system import PATIENCE, System

ROOT = Path(__file__).resolve().parent.parent
WATCHED = 15.0  # seconds: two or three sweeps


def measure(count: int) -> list[Row]:
    """Two rows: with nothing paused, and with so many; on PostgreSQL."""
    with systems("postgresql") as system:
        empty = _look(system, 0)
        before = _ask(system, "size")
        halves = [_start(system, "pause", str(part)) for part in (count // 2, count - count // 2)]
        if any(half.wait() for half in halves):
            raise RuntimeError("the runs could not be paused")
        weight = (_ask(system, "size") - before) / count
        full = _look(system, count)
    return [empty, {**full, "kB a run": round(weight / 1000, 2)}]


def _look(system: System, count: int) -> Row:
    sweep = _ask(system, "sweep")
    with system.up() as up:
        time.sleep(2)
        used = _processor(up)
        time.sleep(WATCHED)
        share = (_processor(up) - used) / WATCHED
        total = memory(up)[-1]
        active = _active(system)
        threads = _threads(up)
        connections = _ask(system, "connections")
        page = _page(system)
        broker = redis.Redis(unix_socket_path=str(socket_path(system.folder)))
        waiting = broker.llen("celery") + broker.hlen("unacked")
    return {
        "paused": count,
        "tasks in the broker": waiting,
        "tasks in workers": active,
        "threads of the worker": threads,
        "connections": connections,
        "PSS MiB, all": total["PSS MiB"],
        "processor": f"{share:.1%}",
        "sweep ms": sweep,
        "queue page ms": page,
        "kB a run": 0.0,
    }


def _processor(up: psutil.Process) -> float:
    """Seconds of processor that Nod's processes have used so far."""
    times = [process.cpu_times() for process in [up, *up.children(recursive=True)]]
    return float(sum(one.user + one.system for one in times))


def _active(system: System) -> int:
    """How many tasks the workers are busy with, by their own word."""
    command = [sys.executable, "-m", "celery", "-A", "hitl_site", "inspect", "active", "--json"]
    done = subprocess.run(command, env=system.env, cwd=ROOT, capture_output=True, text=True, check=True)
    return sum(len(tasks) for tasks in json.loads(done.stdout).values())


def _threads(up: psutil.Process) -> int:
    workers = [each for each in up.children(recursive=True) if "worker" in each.cmdline()]
    return sum(worker.num_threads() for worker in workers)


def _page(system: System) -> float:
    """Milliseconds until the queue page is whole, in a reviewer's browser without its drawing."""
    headers = {"Cookie": asyncio.run(sign_in(system, "rita"))}
    with httpx.Client(base_url=system.url, headers=headers, timeout=PATIENCE) as rita:
        took = []
        for _ in range(9):
            started = time.perf_counter()
            page = rita.get("/approvals/")
            took.append((time.perf_counter() - started) * 1000)
            assert page.status_code == httpx.codes.OK
    return round(median(took), 1)


def _ask(system: System, step: str) -> Any:
    process = _start(system, step)
    return json.loads(process.communicate()[0])


def _start(system: System, *step: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench.paused", *step]
    return subprocess.Popen(command, env=system.env, cwd=ROOT, stdout=subprocess.PIPE)


# --- What runs in the processes ---------------------------------------------------------------------------


def _pause(count: int) -> None:
    from django.contrib.auth.models import User

    from agents import driver, wakeups
    from agents.actions import conversations

    wakeups.wake = lambda run_id: None  # this process is the worker
    alice = User.objects.get(username="alice")
    for number in range(count):
        text = f"Email dev{number}@example.com about the launch"
        session = conversations.open_with(alice, "assistant", text)
        run = session.runs.get()
        driver.advance(str(run.pk))
        run.refresh_from_db()
        assert run.status == "waiting", run.status


def _sweep() -> float:
    """Milliseconds of one whole sweep, the median of 20."""
    from agents.sweeper import DUTIES

    took = []
    for _ in range(21):
        started = time.perf_counter()
        for duty in DUTIES:
            duty()
        took.append((time.perf_counter() - started) * 1000)
    return round(median(took[1:]), 2)


def _size() -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
        cursor.execute("SELECT pg_database_size(current_database())")
        return int(cursor.fetchone()[0])


def _connections() -> int:
    """To PostgreSQL, but for the one that asks."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) - 1 FROM pg_stat_activity WHERE backend_type = 'client backend'")
        return int(cursor.fetchone()[0])


STEPS = {"sweep": _sweep, "size": _size, "connections": _connections}


def _main() -> None:
    step, *more = sys.argv[1:]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitl_site.settings")
    import django

    django.setup()
    if step == "pause":
        _pause(int(more[0]))
    else:
        print(json.dumps(STEPS[step]()))


if __name__ == "__main__":
    _main()
