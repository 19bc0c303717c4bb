"""Whole cycles a second: message, pause, decision, resume, answer; several people at once."""

from __future__ import annotations

import asyncio
import time

from bench.stats import Row
from bench.system import Client
from tests.system import System

PEOPLE = 8


def measure(system: System, cycles: int) -> Row:
    """{"cycles/s", "mails": how many effects there were, "n": how many there should be}"""
    before = _mails(system)
    started = time.monotonic()
    asyncio.run(_all(system, cycles))
    seconds = time.monotonic() - started
    return {"cycles/s": round(cycles / seconds, 1), "n": cycles, "mails": _mails(system) - before}


async def _all(system: System, cycles: int) -> None:
    alice, rita = Client(system, "alice", "chat"), Client(system, "rita", "review")
    await asyncio.gather(*(_person(alice, rita, cycles // PEOPLE) for _ in range(PEOPLE)))


async def _person(alice: Client, rita: Client, cycles: int) -> None:
    session = (await alice.post("sessions", {"agent": "assistant"}))["id"]
    for _ in range(cycles):
        await alice.post(f"sessions/{session}/messages", {"text": "Email dev@example.com about the launch"})
        await rita.decide(await rita.pending(session))
        while (await alice.get(f"sessions/{session}"))["status"] != "idle":
            await asyncio.sleep(0.005)


def _mails(system: System) -> int:
    return len(system.mails())
