"""A reviewer's desk in Chromium: the page with many waiting calls, what one change moves, and the hand on the keys.

Everything is measured from outside, by the browser's own events, whatever the page is made of.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from playwright.sync_api import TimeoutError as TooLate

from bench.stats import Row
from tests.e2e.conftest import FLAGS, NAMES, type_name_and_password
from tests.system import PATIENCE, System

ROOT = Path(__file__).resolve().parent.parent
FEW = 10
ROUNDS = 5
DECISIONS = 30
EVIL = "evil.example"  # mail to it is denied, all other is approved
TOO_SOON = "Not taken"
QUIET = 500  # ms in which a new card takes no decision
BUSY = ".htmx-request, .htmx-swapping, .htmx-settling"
TELL = """
import json
from approvals.models import Decision
made = Decision.objects.select_related("call")
print("rows", json.dumps([[str(one.call_id), one.choice, one.call.arguments["to"]] for one in made]))
"""
SHOWN = """() => new Promise((done) => {
  const found = () => performance.getEntriesByName("first-contentful-paint")[0];
  const look = () => found() ? done(found().startTime) : setTimeout(look, 10);
  look();
})"""


def measure(many: int) -> dict[str, list[Row]]:
    """Tables of the page, of an update and of decisions by keyboard; empty where there is no Chromium."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        return {"page": [], "update": [], "keyboard": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            sizes = [_size(browser, count) for count in (FEW, many)]
            keyboard = [_keyboard(browser, live=live) for live in (False, True)]
        finally:
            browser.close()
    return {
        "page": [page for page, _ in sizes],
        "update": [update for _, update in sizes],
        "keyboard": keyboard,
    }


@contextmanager
def _system() -> Iterator[System]:
    with tempfile.TemporaryDirectory(prefix="nod-desk-") as folder:
        system = System(Path(folder)).prepare()
        with system.up():
            yield system


def ask_many(system: System, count: int, first: int = 0) -> None:
    """So many more calls wait for people; made in a process of its own."""
    command = [sys.executable, "-m", "bench.desk", str(count), str(first)]
    subprocess.run(command, env=system.env, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


def address(number: int) -> str:
    """Whom a mail goes to; each third is one to be denied."""
    return f"dev{number}@{EVIL if number % 3 == 1 else 'example.com'}"


class Asker:
    """Alice, who has the demo's agent write mails: each is a call that waits."""

    def __init__(self, system: System) -> None:
        headers = {"Authorization": f"Bearer {system.token('alice', 'chat')}"}
        self._http = httpx.Client(base_url=f"{system.url}/api/v1/", headers=headers, timeout=PATIENCE)
        self._stopped = threading.Event()
        self.asked = 0

    def close(self) -> None:
        self._http.close()

    def ask(self, count: int) -> None:
        for _ in range(count):
            session = self._http.post("sessions", json={"agent": "assistant"}).raise_for_status().json()["id"]
            text = {"text": f"Please send an email to {address(self.asked)} about launch {self.asked}"}
            self._http.post(f"sessions/{session}/messages", json=text).raise_for_status()
            self.asked += 1

    @contextmanager
    def every_second(self) -> Iterator[None]:
        """One more each second, while the block lasts."""
        thread = threading.Thread(target=self._ask_on)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def _ask_on(self) -> None:
        while not self._stopped.wait(1):
            self.ask(1)


def _reviewer(browser: Browser, system: System) -> BrowserContext:
    context = browser.new_context(base_url=system.url)
    page = context.new_page()
    type_name_and_password(page, "rita")
    page.close()
    return context


# --- The page, and one change ------------------------------------------------------------------------------


def _size(browser: Browser, count: int) -> tuple[Row, Row]:
    with _system() as system:
        ask_many(system, count)
        context = _reviewer(browser, system)
        _open(context)  # scripts and styles are read once
        rounds = [_open(context) for _ in range(ROUNDS)]
        page: Row = {"pending": count}
        page |= {name: round(median(one[name] for one in rounds), 1) for name in rounds[0]}
        return page, {"pending": count, **_update(context, system)}


def _open(context: BrowserContext) -> dict[str, float]:
    """From going there until the first call is decided, in ms; each round decides one."""
    page = context.new_page()
    moved = Moved(page)
    began = time.perf_counter()
    page.goto("/approvals/", wait_until="commit")
    painted = page.evaluate(SHOWN)
    hand = Hand(page)
    page.locator("#card").wait_for()
    moved_by_page = moved.documents
    hand.ready()
    ready = (time.perf_counter() - began) * 1000
    hand.press("a")
    page.locator("#outcome").wait_for()
    made = (time.perf_counter() - began) * 1000
    page.close()
    return {
        "first paint ms": painted,
        "may decide ms": ready,
        "decided ms": made,
        "presses too early": hand.early,
        "kB of the page": moved_by_page / 1000,
    }


@dataclass
class Moved:
    """Bytes that a page got, by the browser's own count: answers and frames of sockets."""

    page: Page
    answers: float = 0
    frames: float = 0
    documents: float = 0  # of pages, as they are once unpacked

    def __post_init__(self) -> None:
        session = self.page.context.new_cdp_session(self.page)
        session.send("Network.enable")
        self._types: dict[str, str] = {}
        self._read: Counter[str] = Counter()
        session.on("Network.responseReceived", self._began)
        session.on("Network.dataReceived", self._came)
        session.on("Network.loadingFinished", self._ended)
        session.on("Network.webSocketFrameReceived", self._framed)

    def _began(self, event: Any) -> None:
        self._types[event["requestId"]] = event["type"]

    def _came(self, event: Any) -> None:
        if self._types.get(event["requestId"]) == "Document":
            self.documents += event["dataLength"]

    def _ended(self, event: Any) -> None:
        self.answers += event["encodedDataLength"]

    def _framed(self, event: Any) -> None:
        self.frames += len(event["response"]["payloadData"])


def _update(context: BrowserContext, system: System) -> Row:
    """What an open page of a reviewer moves when one more call comes: answers with their heads, and frames."""
    page = context.new_page()
    moved = Moved(page)
    page.goto("/approvals/")
    page.locator("#live[data-state=live]").wait_for()
    page.wait_for_load_state("networkidle")
    sizes, asker = [], Asker(system)
    for _ in range(ROUNDS):
        before = moved.answers, moved.frames
        asker.ask(1)
        _until(page, lambda before=before: moved.frames > before[1])  # the doorbell has rung
        page.wait_for_load_state("networkidle")
        while page.locator(BUSY).count():
            page.wait_for_timeout(20)
        page.wait_for_timeout(1000)  # what comes late counts too
        sizes.append((moved.answers - before[0], moved.frames - before[1]))
    page.close()
    asker.close()
    answers, frames = (median(one) / 1000 for one in zip(*sizes, strict=True))
    return {
        "kB of answers": round(answers, 2),
        "kB of frames": round(frames, 3),
        "kB in all": round(answers + frames, 2),
        "most kB": round(max(sum(one) for one in sizes) / 1000, 2),
    }


def _until(page: Page, true: Any) -> None:
    deadline = time.monotonic() + 15
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError("nothing came over the socket")
        page.wait_for_timeout(10)


# --- A hand on the keys ------------------------------------------------------------------------------------


@dataclass
class Hand:
    """Somebody who reads the card, then presses keys; and who presses again when it was too early."""

    page: Page
    early: int = 0
    took: list[float] = field(default_factory=list)

    def ready(self) -> None:
        """Until the card has stood still for as long as the page wants."""
        self.page.wait_for_timeout(QUIET)

    def press(self, key: str) -> None:
        """Until the page takes it: its card is new, or moved, while others come in."""
        for _ in range(20):
            self.page.keyboard.press(key)
            if not self._refused():
                return
            self.early += 1
            self.ready()
        raise RuntimeError(f"the page never took {key}")

    def _refused(self) -> bool:
        toast = self.page.locator("#toast", has_text=TOO_SOON)
        if not toast.is_visible():
            return False
        self.page.evaluate("document.getElementById('toast').hidden = true")
        return True

    def decide(self, reason: str = "We do not write to them.") -> tuple[str, str]:
        """Decides the card that is shown by what it says. Returns the call and the decision."""
        card = self.page.locator("#card")
        call = str(card.get_attribute("data-call"))
        evil = EVIL in card.locator(".args").inner_text()
        decided = self.page.locator(f"#card[data-call='{call}'] #outcome")
        for _ in range(10):
            if evil:
                self.press("d")
                self.page.locator("#comment").wait_for()
                self.page.keyboard.type(reason)
                self.page.keyboard.press("Tab")
                self.page.keyboard.press("Enter")
            else:
                self.press("a")
            try:
                decided.wait_for(timeout=2000)
            except TooLate:
                self.early += 1  # a press that was too early, or only scrolled
                if evil:
                    self.page.keyboard.press("Escape")
                continue
            return call, "deny" if evil else "approve"
        raise RuntimeError("the call was not decided")

    def go_on(self) -> None:
        """To the next call that waits; the card that is shown then is another one."""
        before = self.page.locator("#card").get_attribute("data-call")
        for _ in range(10):
            self.page.keyboard.press("j")
            try:
                self.page.locator(f"#card:not([data-call='{before}']):not(:has(#outcome))").wait_for(
                    timeout=2000
                )
            except TooLate:
                self.page.keyboard.press(
                    "n"
                )  # all that is shown is decided: what came meanwhile waits behind the bar
                continue
            return
        raise RuntimeError("there is no next call")

    def work(self, count: int) -> dict[str, str]:
        """So many decisions, with how long each took, from the card before to the outcome."""
        made: dict[str, str] = {}
        for number in range(count):
            began = time.perf_counter()
            if number:
                self.go_on()
            self.ready()
            call, decision = self.decide()
            made[call] = decision
            self.took.append(time.perf_counter() - began)
        return made


def _keyboard(browser: Browser, *, live: bool) -> Row:
    """30 decisions on the demo's calls; `live`: while one more comes in every second."""
    with _system() as system, closing(Asker(system)) as asker:
        asker.ask(DECISIONS)
        page = _reviewer(browser, system).new_page()
        page.goto("/approvals/")
        page.locator(f"#pending[data-count='{DECISIONS}']").wait_for(state="attached")
        page.locator("#card").wait_for()
        hand = Hand(page)
        with asker.every_second() if live else nullcontext():
            made = hand.work(DECISIONS)
        return {
            "calls": "one more every second" if live else "30 that wait",
            "decisions": len(made),
            "median s": round(median(hand.took), 2),
            "most s": round(max(hand.took), 2),
            "presses too early": hand.early,
            "came meanwhile": asker.asked - DECISIONS,
            "wrong": wrong_decisions(system, made),
        }


def wrong_decisions(system: System, made: dict[str, str]) -> int:
    """Decisions that the database has otherwise than the rule wants, or that nobody meant."""
    printed = system.manage("shell", "--no-imports", "--command", TELL)
    [line] = [line for line in printed.splitlines() if line.startswith("rows ")]
    rows: list[tuple[str, str, str]] = json.loads(line.removeprefix("rows "))
    meant = {call: choice for call, choice, to in rows if (choice == "deny") == to.endswith(EVIL)}
    return len(rows) - len(meant) + sum(meant.get(call) != choice for call, choice in made.items())


# --- What runs in the process of its own -------------------------------------------------------------------


def _ask(count: int, first: int) -> None:
    """Calls of agents that run elsewhere: no worker has anything to do with them."""
    from django.contrib.auth.models import User

    from approvals.actions import calls as ledger
    from approvals.actions.verdicts import Request, examine
    from approvals.audit import audited

    alice = User.objects.get(username="alice")
    for start in range(first, first + count, 500):
        with audited():
            requests = [
                Request(
                    session=f"bench-{number}", tool_use_id="1", tool="send_email", agent="assistant",
                    requested_by=alice.pk, said="I send the mail now.",
                    arguments={"to": address(number), "subject": f"Launch {number}", "body": "Which features?"},
                )
                for number in range(start, min(start + 500, first + count))
            ]  # fmt: skip
            ledger.ask([examine(request) for request in requests])


def _main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitl_site.settings")
    import django

    django.setup()
    count, first = sys.argv[1:]
    _ask(int(count), int(first))


if __name__ == "__main__":
    _main()
