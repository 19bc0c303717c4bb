"""Everything is stopped while a call is pending, and started again."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.conftest import SignIn
from tests.e2e.test_journey import address, arrives, open_call, say, sent
from tests.system import System


def test_it_still_waits_after_a_restart_and_finishes(nod: System, sign_in: SignIn) -> None:
    to = address()
    alice, rita = sign_in("alice"), sign_in("rita", "/approvals/")
    say(alice, f"Email {to} about the launch")
    arrives(rita, to)
    nod.restart()
    open_call(rita, to)
    rita.get_by_role("button", name="Approve").click()
    expect(rita.locator("#outcome")).to_contain_text("Approved by rita")
    patience = 60_000  # the worker starts anew as well
    expect(alice.locator(".words").last).to_contain_text(f"Email sent to {to}", timeout=patience)
    assert sent(nod, to) == 1
