"""What a person waits for: Send is clicked in one Chromium, the call shows on an open queue in another.

With the scripted model's typing delay, as `make run` has it; each round is a new chat.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from bench.stats import Row, quantiles
from tests.e2e.conftest import FLAGS, NAMES, type_name_and_password
from tests.system import System


def measure(rounds: int) -> list[Row]:
    """One row, in ms; empty where there is no Chromium."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        return []
    with tempfile.TemporaryDirectory(prefix="nod-bench-") as folder, sync_playwright() as playwright:
        system = System(Path(folder)).prepare(fast=False)
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        with system.up():
            alice, rita = _page(browser, system, "alice"), _page(browser, system, "rita")
            rita.goto("/approvals/")
            waits = [_round(alice, rita, number) for number in range(rounds + 1)][1:]
        browser.close()
    return [{"what": "Send clicked → call on the other's open queue", **quantiles(waits)}]


def _page(browser: Browser, system: System, user: str) -> Page:
    page = browser.new_context(base_url=system.url).new_page()
    type_name_and_password(page, user)
    return page


def _round(alice: Page, rita: Page, number: int) -> float:
    to = f"dev-{number}@example.com"
    alice.goto("/chat/")
    text = f"Please send an email to {to} asking which features will be in the launch"
    alice.get_by_label("Message").fill(text)
    clicked = time.monotonic()
    alice.get_by_role("button", name="Send").click(no_wait_after=True)
    # the first call is shown at once; those after it are counted by the bar, so that nothing moves
    told = rita.locator("#held", has_text=f"{number} new call").or_(
        rita.locator("#waiting .row", has_text=to)
    )
    told.first.wait_for()
    return (time.monotonic() - clicked) * 1000
