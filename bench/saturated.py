"""Approvals a second through the whole system: signed-in reviewers who do nothing but approve, at once.

All of it takes part: sign-in, CSRF, the form's POST with the card it answers, audit, wake-up, resume, effect, answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

import httpx

from bench.stats import Row, quantiles
from bench.system import Client, sign_in
from tests.system import PATIENCE, System

REVIEWERS = 8
LOOK_EVERY = 0.1  # seconds: who asks more often measures the asking


def measure(system: System, calls: int) -> Row:
    """{"calls", "approvals/s": until what came of each is stored, "mails", the POST's quantiles in ms}"""
    return asyncio.run(_measure(system, calls))


async def _measure(system: System, calls: int) -> Row:
    alice = Client(system, "alice", "chat")
    rita = Client(system, "rita", "review")
    sessions = [await _ask(alice) for _ in range(calls)]
    waiting = deque(await _waiting(rita, calls))
    before = len(system.mails())
    cookies = [await sign_in(system, "rita") for _ in range(REVIEWERS)]
    started = time.monotonic()
    took = await asyncio.gather(*(_approve(system, cookie, waiting) for cookie in cookies))
    decided = time.monotonic() - started
    while await _unfinished(rita):
        await asyncio.sleep(LOOK_EVERY)
    seconds = time.monotonic() - started
    for session in sessions:
        while (await alice.get(f"sessions/{session}"))["status"] != "idle":
            await asyncio.sleep(LOOK_EVERY)
    return {
        "calls": calls,
        "approvals/s": round(calls / seconds, 1),
        "decisions/s": round(calls / decided, 1),
        "mails": len(system.mails()) - before,
        **quantiles([each for one in took for each in one]),
    }


async def _ask(alice: Client) -> str:
    session = str((await alice.post("sessions", {"agent": "assistant"}))["id"])
    await alice.post(f"sessions/{session}/messages", {"text": "Email dev@example.com about the launch"})
    return session


async def _waiting(rita: Client, calls: int) -> list[dict[str, Any]]:
    """All that wait, as soon as all do."""
    deadline = time.monotonic() + PATIENCE + calls
    while True:
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await rita.get(f"calls?status=pending&cursor={cursor}")
            found, cursor = found + page["items"], page["next"]
        if len(found) == calls or time.monotonic() > deadline:
            assert len(found) == calls, f"{len(found)} of {calls} calls wait"
            return found
        await asyncio.sleep(0.2)


async def _unfinished(rita: Client) -> bool:
    for status in ("approved", "started"):
        if (await rita.get(f"calls?status={status}"))["items"]:
            return True
    return False


async def _approve(system: System, cookie: str, waiting: deque[dict[str, Any]]) -> list[float]:
    """Milliseconds of each POST. A browser's own form, with htmx's headers."""
    took = []
    headers = {"Cookie": cookie, "Referer": f"{system.url}/approvals/", "Origin": system.url}
    headers |= {"HX-Request": "true", "HX-Target": "desk-detail"}
    async with httpx.AsyncClient(base_url=system.url, headers=headers, timeout=PATIENCE) as http:
        token = cookie.partition("csrftoken=")[2].partition(";")[0]
        while waiting:
            call = waiting.popleft()
            form = {"choice": "approve", "version": call["version"], "digest": call["digest"]}
            started = time.perf_counter()
            answer = await http.post(
                f"/approvals/{call['id']}/decide", data={**form, "csrfmiddlewaretoken": token}
            )
            took.append((time.perf_counter() - started) * 1000)
            assert answer.status_code == httpx.codes.OK, answer.text[:500]
    return took
