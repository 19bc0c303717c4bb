"""The worker is killed while a tool runs, and people find out what became of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import SignIn
from tests.e2e.test_journey import QUIET, address, arrives, open_call, say, sent
from tests.system import System

SOON = 30_000  # ms until it has to be on the page


@pytest.fixture
def killed_at(points: Path) -> Callable[[Page, str], None]:
    """killed_at(chat, place): the worker dies when this chat's run comes to the place."""

    def arm(chat: Page, place: str) -> None:
        session = chat.url.rstrip("/").rpartition("/")[2]
        (points / f"{place}--{session}").write_text("kill")

    return arm


def test_it_asks_whether_it_happened(nod: System, sign_in: SignIn, killed_at: Callable[..., None]) -> None:
    rita, alice, to = sign_in("rita", "/approvals/"), sign_in("alice"), address()
    say(alice, f"Email {to} about the launch")
    open_call(rita, to)
    killed_at(alice, "acted")
    rita.get_by_role("button", name="Approve").click()
    comes_back(rita, to)
    expect(alice.locator(".call .state")).to_contain_text("Outcome unknown")
    assert sent(nod, to) == 1, "the worker died behind the effect"
    settle(rita, to, "It happened", "It is in the outbox.")
    expect(alice.locator(".words").last).to_contain_text("It is in the outbox.")
    assert sent(nod, to) == 1, "and it was not done once more"


def test_it_gives_up_what_did_not_happen(
    nod: System, sign_in: SignIn, killed_at: Callable[..., None]
) -> None:
    rita, alice, to = sign_in("rita", "/approvals/"), sign_in("alice"), address()
    say(alice, f"Email {to} about the launch")
    open_call(rita, to)
    killed_at(alice, "started")
    rita.get_by_role("button", name="Approve").click()
    comes_back(rita, to)
    assert sent(nod, to) == 0, "the worker died before the effect"
    settle(rita, to, "Give it up", "It is too late for this mail.")
    expect(alice.locator(".words").last).to_contain_text("It is too late for this mail.")
    assert sent(nod, to) == 0


def test_what_may_be_repeated_goes_on_by_itself(sign_in: SignIn, killed_at: Callable[..., None]) -> None:
    alice = sign_in("alice")
    say(alice, "Hello")
    expect(alice.locator(".words").last).not_to_be_empty()
    expect(alice.get_by_role("button", name="Stop")).to_have_count(0)
    killed_at(alice, "acted")
    say(alice, "What is the weather in Berlin?")
    expect(alice.locator(".call")).to_have_count(1)
    expect(alice.locator(".call .state")).to_contain_text("done", timeout=SOON)
    expect(alice.locator(".words").last).to_contain_text("Berlin")


def comes_back(page: Page, to: str) -> None:
    """The call leaves the list, and is there again: nobody knows what became of it."""
    expect(page.locator("#waiting li:not(.gone) > .row", has_text=to)).to_have_count(0)
    expect(arrives(page, to, SOON)).to_contain_text("Did it happen?")


def settle(page: Page, to: str, button: str, note: str) -> None:
    open_call(page, to)
    page.locator("#note").fill(note)
    page.wait_for_timeout(QUIET)
    page.get_by_role("button", name=button).click()
    expect(page.locator("#settle-form")).to_have_count(0)
