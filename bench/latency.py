"""How long people wait: message → visible to the reviewer, decision → tool starts, decision → answer."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from bench.stats import Row, quantiles
from bench.system import Client, doorbells, sign_in
from tests.system import System

WARM_UP = 3


def measure(system: System, rounds: int) -> list[Row]:
    """One row a question, in ms."""
    return asyncio.run(_measure(system, rounds))


async def _measure(system: System, rounds: int) -> list[Row]:
    alice, rita = Client(system, "alice", "chat"), Client(system, "rita", "review")
    cookie = await sign_in(system, "rita")
    session = (await alice.post("sessions", {"agent": "assistant"}))["id"]
    samples: dict[str, list[float]] = {}
    async with doorbells(system, "/ws/approvals/", cookie) as desk:
        for number in range(WARM_UP + rounds):
            taken = await _round(system, alice, rita, desk, session)
            if number >= WARM_UP:
                for name, value in taken.items():
                    samples.setdefault(name, []).append(value)
    return [{"what": name, **quantiles(values)} for name, values in samples.items()]


async def _round(system: System, alice: Client, rita: Client, desk: Any, session: str) -> dict[str, float]:
    asked = time.time()
    await alice.post(f"sessions/{session}/messages", {"text": "Email dev@example.com about the launch"})
    bell = await desk.until(lambda bell: bell["kind"] == "pending")
    rang = time.time()
    call = await rita.get(f"calls/{bell['call']}")
    decided = time.time()
    answer = await rita.decide(call)
    answered = time.time()
    await desk.until(lambda bell: bell["kind"] == "changed")
    started = time.time()
    while (await alice.get(f"sessions/{session}"))["status"] != "idle":
        await asyncio.sleep(0.001)
    assert answer["status"] == "approved"
    return {
        "message → pending call in the reviewer's socket": (rang - asked) * 1000,
        "decision → its answer": (answered - decided) * 1000,
        "decision → tool starts (in the reviewer's socket)": (started - decided) * 1000,
        "decision → effect (file in the outbox)": (_newest(system.folder / "outbox") - decided) * 1000,
        "decision → the chat's answer is there": (time.time() - decided) * 1000,
    }


def _newest(outbox: Path) -> float:
    return max(path.stat().st_mtime for path in outbox.iterdir())
