"""Pictures of every page in its states: `python -m tests.screens FOLDER` (make screens), to be looked at.

Each state at 1280 and 390 px, light and dark, against a system of its own with the demo's people.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from bench.desk import ask_many
from tests.e2e.conftest import FLAGS, NAMES, type_name_and_password
from tests.system import System

SIZES = {"desk": (1280, 900), "phone": (390, 844)}
SCHEMES = ("light", "dark")
HOSTILE = "launch-list@ex\u0430mple.com"
STALE = """
from datetime import timedelta
from django.db.models.functions import Now
from approvals.models import ToolCall
ToolCall.objects.filter(status="pending").update(halfway_at=Now() - timedelta(minutes=1))
"""


class Studio:
    """Who is signed in where, and where the pictures go."""

    def __init__(self, browser: Browser, system: System, folder: Path) -> None:
        self.system, self._browser, self._folder = system, browser, folder
        self._people: dict[str, BrowserContext] = {}

    def page(self, person: str, path: str) -> Page:
        page = self._context(person).new_page()
        page.goto(path)
        return page

    def _context(self, person: str) -> BrowserContext:
        if person not in self._people:
            context = self._browser.new_context(base_url=self.system.url)
            type_name_and_password(context.new_page(), person)
            self._people[person] = context
        return self._people[person]

    def shoot(self, name: str, person: str, path: str, act: Callable[[Page], None] | None = None) -> None:
        """One state, in both sizes and schemes; `act` brings the page into it."""
        state = self._context(person).storage_state() if person else None
        for size, (width, height) in SIZES.items():
            for scheme in SCHEMES:
                context = self._browser.new_context(
                    base_url=self.system.url,
                    storage_state=state,
                    viewport={"width": width, "height": height},
                    color_scheme=scheme,  # type: ignore[arg-type]
                )
                page = context.new_page()
                page.goto(path)
                if act:
                    act(page)
                page.wait_for_timeout(300)  # sockets say that they are live
                wide = page.evaluate("document.scrollingElement.scrollWidth > innerWidth")
                page.screenshot(path=self._folder / f"{name}-{size}-{scheme}.png")
                print(f"{name}-{size}-{scheme}{'  SCROLLS SIDEWAYS' if wide else ''}", flush=True)
                context.close()


def say(page: Page, text: str, *, waits: bool = True) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_role("button", name="Send").click()
    page.locator(".call .state, .question, .words").last.wait_for()
    if waits:
        page.locator(".call .state", has_text="Waiting for").first.wait_for()


def first(page: Page, text: str) -> str:
    """The address of the waiting call whose row holds the text."""
    page.goto("/approvals/")
    row = page.locator("#waiting .row:not([data-bunch])", has_text=text)
    return str(row.first.get_attribute("href"))


def press(key: str) -> Callable[[Page], None]:
    def act(page: Page) -> None:
        page.wait_for_timeout(600)
        page.keyboard.press(key)

    return act


def empty(studio: Studio) -> None:
    studio.shoot("sign-in", "", "/login/")
    for name, person, path in (
        ("chat-new", "alice", "/chat/"),
        ("queue-empty", "rita", "/approvals/"),
        ("history-empty", "rita", "/approvals/history/"),
        ("trust-empty", "rita", "/approvals/trust/"),
        ("insights-empty", "rita", "/insights/"),
    ):
        studio.shoot(name, person, path)


def one(studio: Studio) -> None:
    chat = studio.page("alice", "/chat/")
    say(chat, "Please send an email to dev@example.com asking which features will be in the launch")
    studio.shoot("queue-one", "rita", "/approvals/")
    studio.shoot("chat-waits", "alice", chat.url)
    rita = studio.page("rita", "/approvals/")
    address = first(rita, "dev@example.com")
    for name, key in (("deny", "d"), ("trust", "t"), ("edit", "e"), ("keys", "?")):
        studio.shoot(f"card-{name}", "rita", address, press(key))

    def change(page: Page) -> None:
        press("e")(page)
        page.locator("#edit-form textarea").first.wait_for()
        page.locator("#edit-form textarea").last.fill(
            "Hello,\n\nwhich features will be in the launch?\n\nAlice"
        )
        page.keyboard.press("Control+Enter")
        page.locator("#changed-form").wait_for()

    studio.shoot("card-changed", "rita", address, change)
    change(rita)
    rita.wait_for_timeout(600)
    rita.keyboard.press("a")
    rita.locator("#outcome").wait_for()
    studio.shoot("card-done", "rita", address)
    studio.shoot("chat-done", "alice", chat.url)


def many(studio: Studio) -> None:
    bob = studio.page("bob", "/chat/")
    say(bob, "Email anna@example.com, ben@example.com and cleo@example.com about the launch")
    alice = studio.page("alice", "/chat/")
    say(alice, "Please delete reports/2025-q3.txt")
    studio.page("alice", "/chat/")
    odd = studio.page("alice", "/chat/")
    say(odd, f"Email {HOSTILE} about the launch")
    asked = studio.page("alice", "/chat/")
    say(asked, "Ask me which report to read", waits=False)
    studio.shoot("chat-question", "alice", asked.url)
    studio.shoot("queue-many", "rita", "/approvals/")
    rita = studio.page("rita", "/approvals/")
    studio.shoot("card-deceptive", "rita", first(rita, "launch-list"))
    together = rita.locator("#waiting .bunch > .row").first.get_attribute("href")
    studio.shoot("card-together", "rita", str(together))
    studio.shoot("card-high", "rita", first(rita, "2025-q3"))
    studio.system.manage("shell", "--no-imports", "--command", STALE)
    remy = studio.page("remy", first(rita, "2025-q3"))
    remy.keyboard.press("s")
    remy.locator("#attention", has_text="you have").wait_for()
    studio.shoot("queue-taken", "rita", "/approvals/")
    studio.shoot("queue-filtered", "rita", "/approvals/?tool=delete_files&risk=low")
    studio.shoot("queue-offline", "rita", "/approvals/", lambda page: page.context.set_offline(True))
    ask_many(studio.system, 200)
    studio.shoot("queue-200", "rita", "/approvals/")


def others(studio: Studio) -> None:
    rita = studio.page("rita", "/approvals/")
    rita.goto(first(rita, "2025-q3"))
    press("d")(rita)
    rita.keyboard.type("Keep the 2025 reports until the audit is over.")
    rita.keyboard.press("Control+Enter")
    rita.locator("#outcome").wait_for()
    rita.goto(first(rita, "launch-list"))
    press("t")(rita)
    rita.get_by_role("button", name="Approve and trust").click()
    rita.locator("#outcome").wait_for()
    for name, person, path in (
        ("history", "rita", "/approvals/history/"),
        ("trust", "rita", "/approvals/trust/"),
        ("insights", "rita", "/insights/"),
        ("notifications", "rita", "/notifications/"),
        ("audit", "admin", "/audit/"),
        ("admin", "admin", "/admin/"),
        ("not-found", "rita", "/nothing/"),
        ("forbidden", "alice", "/approvals/"),
    ):
        studio.shoot(name, person, path)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = next(filter(None, map(shutil.which, NAMES)))
    with sync_playwright() as playwright, tempfile.TemporaryDirectory(prefix="nod-screens-") as data:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        system = System(Path(data)).prepare()
        with system.up():
            studio = Studio(browser, system, folder)
            for part in (empty, one, many, others):
                part(studio)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
