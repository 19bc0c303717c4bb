"""Pages that nobody reloads show what is there, whatever happened to their sockets."""

from __future__ import annotations

import time

import psutil
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.e2e.conftest import SignIn
from tests.e2e.test_journey import address, arrives, open_call, say, sent
from tests.system import System

POLLED = 21_000  # ms: a page asks by itself every 15 to 20 s
HEALED = 20_000  # ms after which a page hears again


def kill(nod: System, word: str) -> None:
    """One of Nod's processes is gone; `manage.py up` starts it again."""
    up = psutil.Process(nod.pid)
    [process] = [child for child in up.children(recursive=True) if word in " ".join(child.cmdline())]
    process.kill()


def live(page: Page) -> None:
    expect(page.locator("#live")).to_have_attribute("data-state", "live", timeout=HEALED)


def test_a_doorbell_that_is_lost(nod: System, sign_in: SignIn) -> None:
    rita, alice, to = sign_in("rita"), sign_in("alice"), address()

    def deaf(route: WebSocketRoute) -> None:
        server = route.connect_to_server()
        server.on_message(lambda message: route.send(message) if "hello" in str(message) else None)

    rita.route_web_socket("**/ws/**", deaf)
    rita.goto("/approvals/")
    live(rita)
    say(alice, f"Email {to} about the launch")
    asked = time.monotonic()
    arrives(rita, to, POLLED)
    open_call(rita, to)
    rita.get_by_role("button", name="Approve").click()
    expect(alice.locator(".words").last).to_contain_text(f"Email sent to {to}")
    assert time.monotonic() - asked < (POLLED + HEALED) / 1000


def test_a_redis_that_is_killed(nod: System, sign_in: SignIn) -> None:
    """With all that it knew: who listens, and which runs wait for a worker."""
    rita, alice = sign_in("rita", "/approvals/"), sign_in("alice")
    live(rita)
    kill(nod, "valkey-server")
    ask_and_approve(nod, rita, alice)


def test_a_web_server_that_is_replaced(nod: System, sign_in: SignIn) -> None:
    rita, alice = sign_in("rita", "/approvals/"), sign_in("alice")
    say(alice, "Hello")
    expect(alice.locator(".words").last).not_to_be_empty()
    live(rita)
    kill(nod, "daphne")
    expect(rita.locator("#live")).not_to_have_attribute("data-state", "live", timeout=HEALED)
    live(rita)
    live(alice)
    ask_and_approve(nod, rita, alice)


def ask_and_approve(nod: System, rita: Page, alice: Page) -> None:
    """From one open page to the other and back; no doorbell has to come, only the pages' own looks."""
    to = address()
    say(alice, f"Email {to} about the launch")
    arrives(rita, to, POLLED)
    open_call(rita, to)
    rita.get_by_role("button", name="Approve").click()
    expect(alice.locator(".words").last).to_contain_text(f"Email sent to {to}", timeout=POLLED)
    assert sent(nod, to) == 1


def test_a_laptop_that_was_without_network(nod: System, sign_in: SignIn) -> None:
    rita, alice, to = sign_in("rita", "/approvals/"), sign_in("alice"), address()
    rita.context.set_offline(True)
    expect(rita.locator("#live")).to_have_text("Offline")
    say(alice, f"Email {to} about the launch")
    expect(alice.locator(".call .state")).to_contain_text("Waiting for")
    expect(rita.locator("#waiting .row", has_text=to)).to_have_count(0)
    rita.context.set_offline(False)
    arrives(rita, to, HEALED)
    live(rita)
