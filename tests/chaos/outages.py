"""`python -m tests.chaos.outages`: people chat and decide while Redis and PostgreSQL are killed again and again.

Redis is killed, or emptied, and PostgreSQL crashes, every ten seconds for two minutes. In the end each approved mail
was sent once, the queue page of a reviewer who never reloaded it shows what waits, and the logs hold one line for
each outage, and no trace. Then Redis stays away for a minute: what was approved meanwhile starts soon after.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import redis
from playwright.async_api import Browser, Page, async_playwright

from tests.chaos.cases import Client
from tests.chaos.site import Site, site
from tests.e2e.conftest import FLAGS, NAMES
from tests.postgres import end_on_signals

PEOPLE = 4
CONVERGE = 20.0  # seconds until an open page shows what is there
BACK = 10.0  # seconds after Redis is back until what was approved has run
PATIENCE = 120.0
RESULTS = Path(__file__).resolve().parents[2] / "var" / "chaos"


class Load:
    """People who each chat, get their mail approved, and begin anew."""

    def __init__(self, alice: Client, rita: Client) -> None:
        self._alice, self._rita = alice, rita
        self._number = 0
        self.going = True
        self.asked: list[str] = []

    async def person(self) -> None:
        while self.going:
            await self.until_idle(await self.ask())

    async def ask(self) -> str:
        """Says what it wants; returns the session."""
        self._number += 1
        to = f"load-{self._number}@example.com"
        session = str((await self._alice("POST", "sessions", {"agent": "assistant"})).json()["id"])
        body = {"text": f"Please send an email to {to} saying hello", "idempotency_key": "once"}
        answer = await self._alice("POST", f"sessions/{session}/messages", body)
        assert answer.status_code in (200, 202), answer.text
        self.asked.append(to)
        return session

    async def approve(self, session: str) -> None:
        """What waits in the session."""
        for call in (await self._alice("GET", f"sessions/{session}")).json()["calls"]:
            if call["status"] == "pending":
                body = {"version": call["version"], "digest": call["digest"], "decision": "approve"}
                await self._rita("POST", f"calls/{call['id']}/decisions", body)

    async def until_idle(self, session: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            shown: dict[str, Any] = (await self._alice("GET", f"sessions/{session}")).json()
            if shown["status"] in ("idle", "failed") and shown["messages"]:
                assert shown["status"] == "idle", shown
                return
            assert all(call["status"] != "unknown" for call in shown["calls"]), "no worker died"
            if any(call["status"] == "pending" for call in shown["calls"]):
                await self.approve(session)
            await asyncio.sleep(0.05)
        raise AssertionError(f"stuck: {shown}")

    async def waiting(self) -> set[str]:
        """The ids of the calls that wait."""
        found = (await self._rita("GET", "calls?status=pending")).json()
        return {call["id"] for call in found["items"]}


async def play(nod: Site, seconds: float, every: float) -> list[str]:
    """What went wrong; prints what happened."""
    async with (
        Client(nod, "alice", "chat") as alice,
        Client(nod, "rita", "review") as rita,
        async_playwright() as playwright,
    ):
        load = Load(alice, rita)
        browser = await playwright.chromium.launch(executable_path=_chromium(), args=FLAGS)
        page = await _queue(browser, nod)
        people = [asyncio.create_task(load.person()) for _ in range(PEOPLE)]
        outages = await _break(nod, seconds, every)
        load.going = False
        began = time.monotonic()
        await asyncio.gather(*people)
        print(f"All chats came to their end {time.monotonic() - began:.1f} s after the last outage.")
        for _ in range(3):
            await load.ask()
        problems = await _converges(page, load)
        await browser.close()
    return [*problems, *_mails(nod, load.asked[:-3]), *_logs(nod, outages)]


async def _break(nod: Site, seconds: float, every: float) -> int:
    """Breaks things in turn; returns how often."""
    ends = time.monotonic() + seconds
    count = 0
    while time.monotonic() < ends:
        await asyncio.sleep(every)
        if nod.postgres:
            await asyncio.to_thread(nod.postgres.crash)
        elif count % 2:
            redis.Redis(unix_socket_path=str(nod.socket)).flushall()
        else:
            nod.valkey.kill()
        count += 1
    print(f"{count} outages.")
    return count


async def away(nod: Site, seconds: float) -> list[str]:
    """Redis is away for so long, and a call is approved meanwhile. What went wrong; prints what happened."""
    async with Client(nod, "alice", "chat") as alice, Client(nod, "rita", "review") as rita:
        load = Load(alice, rita)
        session = await load.ask()
        while not await load.waiting():
            await asyncio.sleep(0.1)
        nod.valkey.hold()
        await load.approve(session)
        await asyncio.sleep(seconds)
        problems = [f"{to}: sent without a broker" for to in load.asked if _sent(nod)[to]]
        nod.valkey.release()
        began = time.monotonic()
        await load.until_idle(session)
        took = time.monotonic() - began
        print(f"Redis was away for {seconds:.0f} s; the approved mail was sent {took:.1f} s after.")
        late = [f"it took {took:.1f} s, {BACK:.0f} s at most were promised"] if took > BACK else []
        return [*problems, *late, *_mails(nod, load.asked)]


async def _queue(browser: Browser, nod: Site) -> Page:
    page = await (await browser.new_context(base_url=nod.system.url)).new_page()
    await page.goto("/login/?next=/approvals/")
    await page.get_by_label("Name").fill("rita")
    await page.get_by_label("Password").fill("nod")
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_selector("#waiting")
    return page


async def _converges(page: Page, load: Load) -> list[str]:
    """The page, never reloaded, shows what waits."""
    began = time.monotonic()
    while True:
        rows = await page.locator("#waiting [data-call]").evaluate_all(
            "rows => rows.map(row => row.dataset.call)"
        )
        wanted = await load.waiting()
        if len(wanted) == 3 and set(rows) == wanted:
            print(f"The open queue page shows what waits after {time.monotonic() - began:.1f} s.")
            return []
        if time.monotonic() - began > CONVERGE:
            return [f"the page shows {sorted(rows)}, {sorted(wanted)} wait"]
        await asyncio.sleep(0.1)


def _sent(nod: Site) -> Counter[str]:
    return Counter(mail["To"] for mail in nod.system.mails())


def _mails(nod: Site, asked: list[str]) -> list[str]:
    sent = _sent(nod)
    print(f"{len(asked)} mails were approved, {sum(sent.values())} were sent.")
    return [f"{to}: sent {sent[to]} times" for to in asked if sent[to] != 1] + [
        f"{to}: nobody asked for it" for to in sent if to not in asked
    ]


def _logs(nod: Site, outages: int) -> list[str]:
    """One line for each outage and process at most, and no trace."""
    lines = [line for line in nod.log.read_text().splitlines() if line.strip()]
    processes = 1 + len(nod.workers)
    kinds = Counter(re.sub(r"\(.*?\)|[0-9a-f-]{36}|\d+", "…", line)[:110] for line in lines)
    for kind, count in kinds.most_common(20):
        print(f"  {count:4} {kind}")
    traces = sum("Traceback" in line for line in lines)
    problems = [f"{traces} traces in the log"] if traces else []
    problems += [
        f"{count} lines for {outages} outages: {kind}"
        for kind, count in kinds.items()
        if count > outages * processes
    ]
    return problems


def _chromium() -> str:
    return next(filter(None, map(shutil.which, NAMES)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.outages", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--every", type=float, default=10)
    parser.add_argument("--away", type=float, default=60)
    asked = parser.parse_args()
    end_on_signals()
    failed = 0
    for database in asked.database or ("sqlite", "postgresql"):
        print(
            f"{database}: {'PostgreSQL crashes' if database == 'postgresql' else 'Redis is killed or emptied'}"
        )
        with site(database) as nod:
            problems = asyncio.run(play(nod, asked.seconds, asked.every))
            log = nod.log.read_text()
        with site(database) as nod:  # anew: the mails of the load are none of its business
            problems += asyncio.run(away(nod, asked.away))
        print("\n".join(problems) or "All held.")
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"outages-{database}.log").write_text(log)
        failed += bool(problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
