"""Answers that come late, not at all, or for somebody else: nothing is decided, lost or said that is not so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from playwright.sync_api import Error, Page, Route, expect

from tests.e2e.conftest import SignIn, type_name_and_password
from tests.e2e.test_journey import QUIET, address, arrives, bunch_with, card_of, open_call, say, sent, steady
from tests.system import System

FIRST_LOOK = re.compile(r"\?ids=.*seen=")
IN_ANOTHER_TAB = """() => {
  const form = document.getElementById("approve-form");
  return fetch(form.action + "?", { method: "POST", body: new FormData(form) }).then((answer) => answer.text());
}"""
OWN = {"viewport": {"width": 1280, "height": 800}}  # a browser of its own, since its person signs out


@contextmanager
def held(page: Page, url: re.Pattern[str]) -> Iterator[list[Route]]:
    """Requests to this address are on their way until the block ends."""
    found: list[Route] = []
    open_again = False

    def hold(route: Route) -> None:
        if open_again:
            route.continue_()
        else:
            found.append(route)

    page.route(url, hold)
    try:
        yield found
    finally:
        open_again = True
        for route in found:
            with suppress(Error):  # the test has let it go
                route.continue_()


def until(page: Page, found: list[Route], count: int = 1) -> None:
    for _ in range(200):
        if len(found) >= count:
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"{len(found)} requests of {count}")


def test_a_decision_is_not_lost_among_refreshes(nod: System, sign_in: SignIn) -> None:
    rita, alice, to = sign_in("rita", "/approvals/"), sign_in("alice"), address()
    say(alice, f"Email {to} about the launch")
    open_call(rita, to)
    with held(rita, re.compile(r"\?seen=")) as refreshes:
        rita.evaluate("nodRefresh()")
        until(rita, refreshes)
        rita.get_by_role("button", name="Approve").click()
        for _ in range(3):  # doorbells of other calls
            rita.evaluate("nodRefresh()")
            rita.wait_for_timeout(80)
        expect(rita.locator("#outcome")).to_contain_text("Approved by rita")
    expect(alice.locator(".words").last).to_contain_text(f"Email sent to {to}")
    assert sent(nod, to) == 1


def test_what_became_of_several_is_not_lost_among_refreshes(nod: System, sign_in: SignIn) -> None:
    """Their card says that they are decided while the answer to the decision is still on its way, and after it."""
    rita, bob, about, to = sign_in("rita", "/approvals/"), sign_in("bob", "/chat/"), address(), address()
    say(bob, f"Email {to} and {address()} about {about}")
    arrives(rita, to)
    bunch_with(rita, to).locator("> .row").click()
    expect(rita.locator("#members")).to_contain_text(to)
    steady(rita)
    with held(rita, re.compile("/together/decide$")) as decisions, held(rita, FIRST_LOOK) as refreshes:
        rita.keyboard.press("a")
        until(rita, decisions)
        rita.evaluate(IN_ANOTHER_TAB)
        until(rita, refreshes)
        rita.evaluate("nodRefresh()")  # is asked when the first is answered, and for the same
        rita.wait_for_timeout(80)
        with rita.expect_response(FIRST_LOOK):
            refreshes[0].continue_()
        until(rita, refreshes, 2)
        decisions[0].continue_()
        expect(rita.locator("#outcome")).to_contain_text(to)
        with rita.expect_response(FIRST_LOOK):
            refreshes[1].continue_()
    rita.wait_for_timeout(QUIET)
    expect(rita.locator("#outcome")).to_contain_text(to)


def test_a_stop_is_not_lost_among_refreshes(nod: System, sign_in: SignIn) -> None:
    alice, to = sign_in("alice"), address()
    say(alice, f"Email {to} about the launch")
    expect(alice.locator(".call .state")).to_contain_text("Waiting for")
    with held(alice, re.compile(r"/chat/[0-9a-f-]{36}/\?")) as refreshes:
        alice.evaluate("nodRefresh()")
        until(alice, refreshes)
        alice.get_by_role("button", name="Stop").click()
        for _ in range(3):
            alice.evaluate("nodRefresh()")
            alice.wait_for_timeout(80)
        expect(alice.locator("#broken")).to_contain_text("Stopped.")


def test_a_key_never_decides_the_call_that_was_left(nod: System, sign_in: SignIn) -> None:
    rita, alice, first, second = sign_in("rita", "/approvals/"), sign_in("alice"), address(), address()
    other = sign_in("alice", "/chat/")
    say(alice, f"Email {first} about the launch of {first}")
    say(other, f"Email {second} about the launch of {second}")
    arrives(rita, second)
    open_call(rita, first)
    decided: list[str] = []
    rita.on("request", lambda request: decided.append(request.url) if "/decide" in request.url else None)
    row = rita.locator("#waiting .row", has_text=second)
    call = row.get_attribute("data-call")
    with held(rita, re.compile(rf"/approvals/{call}/$")) as chosen:
        row.click()
        until(rita, chosen)
        rita.keyboard.press("a")
        expect(rita.locator("#toast")).to_contain_text("another call is on its way")
        rita.get_by_role("button", name="Approve").click()
        rita.wait_for_timeout(QUIET)
    expect(card_of(rita, row)).to_be_visible()
    steady(rita)
    assert decided == []
    rita.keyboard.press("a")
    expect(rita.locator("#outcome")).to_contain_text("Approved by rita")
    assert [url for url in decided if str(call) in url] == decided


def test_who_chooses_the_call_that_they_see_decides_it(nod: System, sign_in: SignIn) -> None:
    rita, alice, to = sign_in("rita", "/approvals/"), sign_in("alice"), address()
    say(alice, f"Email {to} about the launch of {to}")
    open_call(rita, to)
    row = arrives(rita, to)
    with held(rita, re.compile(rf"/approvals/{row.get_attribute('data-call')}/$")) as chosen:
        row.click()
        until(rita, chosen)
        rita.get_by_role("button", name="Approve").click()
        expect(rita.locator("#outcome")).to_contain_text("Approved by rita")
    rita.wait_for_timeout(QUIET)
    expect(rita.locator("#outcome")).to_contain_text("Approved by rita")
    expect(alice.locator(".words").last).to_contain_text(f"Email sent to {to}")


def test_a_choice_that_fails_says_so(sign_in: SignIn) -> None:
    rita, alice, first, second = sign_in("rita", "/approvals/"), sign_in("alice"), address(), address()
    other = sign_in("alice", "/chat/")
    say(alice, f"Email {first} about the launch of {first}")
    say(other, f"Email {second} about the launch of {second}")
    arrives(rita, second)
    open_call(rita, first)
    row = rita.locator("#waiting .row", has_text=second)
    call = row.get_attribute("data-call")
    rita.route(re.compile(rf"/approvals/{call}/$"), lambda route: route.abort("connectionrefused"))
    row.click()
    expect(rita.locator("#toast")).to_contain_text(
        "Nod did not answer. What you see is what was there before."
    )
    expect(rita.locator("#card")).to_contain_text(first)


def test_a_message_that_is_refused_by_its_size_says_so(sign_in: SignIn) -> None:
    alice = sign_in("alice", "/chat/")
    alice.get_by_label("Message").fill("Read this")
    alice.locator("input[type=file]").set_input_files(
        {"name": "big.txt", "mimeType": "text/plain", "buffer": b"x" * 3_000_000}
    )
    alice.get_by_role("button", name="Send").click()
    expect(alice.locator("#toast")).to_contain_text("it may be too long")
    expect(alice.get_by_label("Message")).to_have_value("Read this")


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login/**")


def test_unsent_text_stays_with_who_wrote_it(sign_in: SignIn) -> None:
    page = sign_in("alice", "/chat/", **OWN)
    page.get_by_label("Message").fill("For nobody else yet")
    for person, text in (("bob", ""), ("alice", "For nobody else yet")):
        sign_out(page)
        type_name_and_password(page, person)
        page.goto("/chat/")
        expect(page.get_by_label("Message")).to_have_value(text)


def test_a_page_of_somebody_else_is_loaded_anew(sign_in: SignIn) -> None:
    """Signed out and in as another person in a second tab, the first one does nothing in their name."""
    rita, alice, to = sign_in("rita", "/approvals/", **OWN), sign_in("alice"), address()
    say(alice, f"Email {to} about the launch")
    open_call(rita, to)
    tab = rita.context.new_page()
    tab.goto("/approvals/")
    with held(
        rita, re.compile("/approvals/")
    ):  # between the two, nobody is signed in: it would ask who is there
        sign_out(tab)
        type_name_and_password(tab, "remy")
    decided: list[str] = []
    rita.on("request", lambda request: decided.append(request.url) if "/decide" in request.url else None)
    with suppress(Error):  # it may be on its way by itself
        rita.evaluate("nodRefresh()")
    expect(rita.locator(".me .who")).to_have_text("remy")
    expect(rita.locator("#card")).to_contain_text(to)
    assert decided == []
    tab.close()
