"""Whole cycles a second: message, pause, decision, resume, answer; several people at once."""

from __future__ import annotations

import asyncio
import time

from bench.stats import Row
from bench.system import Client, Doorbells, doorbells, sign_in
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
    async with doorbells(system, "/ws/approvals/", await sign_in(system, "rita")) as desk:
        reviewer = asyncio.create_task(_review(rita, desk))
        cookie = await sign_in(system, "alice")
        people = (_person(system, alice, cookie, cycles // PEOPLE) for _ in range(PEOPLE))
        await asyncio.gather(*people)
        reviewer.cancel()


async def _review(rita: Client, desk: Doorbells) -> None:
    """Approves whatever comes, as soon as it comes."""
    while True:
        bell = await desk.until(lambda bell: bell["kind"] == "pending")
        await rita.decide(await rita.get(f"calls/{bell['call']}"))


async def _person(system: System, alice: Client, cookie: str, cycles: int) -> None:
    """Says the next thing as soon as the answer to the last is there; each in a chat of its own."""
    for _ in range(cycles):
        session = (await alice.post("sessions", {"agent": "assistant"}))["id"]
        async with doorbells(system, f"/ws/chat/{session}/", cookie) as chat:
            await alice.post(
                f"sessions/{session}/messages", {"text": "Email dev@example.com about the launch"}
            )
            while (await alice.get(f"sessions/{session}"))["status"] != "idle":
                await chat.until(lambda bell: bell["kind"] == "changed")


def _mails(system: System) -> int:
    return len(system.mails())
