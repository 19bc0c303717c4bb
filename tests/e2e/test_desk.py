"""Reviewers side by side at the list: nothing moves under the pointer, and everybody sees who does what."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.e2e.conftest import SignIn
from tests.e2e.test_journey import QUIET, address, arrives, bunch_with, open_call, say, sent, steady
from tests.system import System


def places(page: Page) -> dict[str, float]:
    """Where each row stands."""
    script = (
        "all => Object.fromEntries(all.map(row => [row.parentElement.id, row.getBoundingClientRect().top]))"
    )
    found: dict[str, float] = page.locator("#waiting > li > .row").evaluate_all(script)
    return found


def ask(sign_in: SignIn, who: str, to: str, about: str) -> Page:
    page = sign_in(who, "/chat/")
    say(page, f"Email {to} about {about}")
    expect(page.locator(".call .state")).to_contain_text("Waiting for")
    return page


def test_new_calls_wait_behind_a_bar_and_nothing_moves(sign_in: SignIn) -> None:
    rita, first = sign_in("rita", "/approvals/"), address()
    ask(sign_in, "alice", first, f"the launch of {first}")
    arrives(rita, first).hover()
    before = places(rita)
    second = address()
    ask(sign_in, "bob", second, f"the launch of {second}")
    expect(rita.locator("#held")).to_contain_text("1 new call")
    assert rita.locator("#waiting .row", has_text=second).count() == 0
    assert places(rita) == before
    count = int(rita.locator("#pending").get_attribute("data-count") or 0)
    expect(rita).to_have_title(f"({count}) Approvals · Nod")
    expect(rita.locator("link[rel=icon]")).to_have_attribute("href", re.compile(f"n={count}$"))
    rita.keyboard.press("n")
    expect(rita.locator("#waiting .row", has_text=second)).to_be_visible()
    expect(rita.locator("#held")).to_be_hidden()


def test_what_somebody_else_decides_stays_under_the_pointer_until_it_leaves(sign_in: SignIn) -> None:
    rita, remy, to, other = (
        sign_in("rita", "/approvals/"),
        sign_in("remy", "/approvals/"),
        address(),
        address(),
    )
    ask(sign_in, "alice", to, f"the launch of {to}")
    ask(sign_in, "bob", other, f"the launch of {other}")
    arrives(rita, to)
    row = arrives(rita, other)
    rita.locator("#waiting .row", has_text=to).hover()
    before = places(rita)
    open_call(remy, to)
    remy.get_by_role("button", name="Approve").click()
    gone = rita.locator("#waiting .gone", has_text=to)
    expect(gone).to_contain_text("approved by remy")
    assert places(rita) == before
    rita.locator("#desk-detail").hover()
    expect(gone).to_have_count(0)
    expect(row).to_be_visible()


def test_reviewers_see_who_looks_and_who_has_taken_a_call(sign_in: SignIn) -> None:
    rita, remy, to = sign_in("rita", "/approvals/"), sign_in("remy", "/approvals/"), address()
    ask(sign_in, "alice", to, f"the launch of {to}")
    arrives(remy, to)
    open_call(rita, to)
    row = remy.locator("#waiting .row", has_text=to)
    expect(row).to_contain_text("rita is looking")
    rita.keyboard.press("s")
    expect(row).to_contain_text("rita has taken this")
    expect(rita.locator("#attention")).to_have_text("you have taken this")
    open_call(remy, to)
    expect(remy.locator("#attention")).to_have_text("rita has taken this")
    rita.keyboard.press("s")
    expect(remy.locator("#attention")).to_have_text("rita is looking")
    remy.get_by_role("button", name="Approve").click()  # it stopped nobody
    expect(rita.locator("#outcome")).to_contain_text("Approved by remy")


def test_calls_that_are_alike_are_decided_together_and_taken_back(nod: System, sign_in: SignIn) -> None:
    """Three of alice's in one turn: nothing runs before the last is decided, so all can be undone."""
    rita, alice, about = sign_in("rita", "/approvals/"), sign_in("alice", "/chat/"), address()
    to = [address() for _ in range(3)]
    say(alice, f"Email {to[0]}, {to[1]} and {to[2]} about {about}")
    expect(alice.locator(".call .state", has_text="Waiting for")).to_have_count(3)
    arrives(rita, to[2])
    bunch = bunch_with(rita, to[0])
    expect(bunch).to_contain_text("× 3")
    bunch.locator("> .row").click()
    for each in to:
        expect(rita.locator("#members")).to_contain_text(each)
    late = address()
    ask(sign_in, "alice", late, about)  # as like them as can be, and not on the card
    steady(rita)
    rita.keyboard.press("a")
    expect(rita.locator("#outcome .state", has_text="approved by rita")).to_have_count(3)
    for each in to:
        expect(alice.locator(".words").last).to_contain_text(each)
    assert [sent(nod, each) for each in [*to, late]] == [1, 1, 1, 0]
    expect(arrives(rita, late)).to_be_visible()


def test_a_bunch_is_denied_with_one_reason(nod: System, sign_in: SignIn) -> None:
    rita, bob, about = sign_in("rita", "/approvals/"), sign_in("bob", "/chat/"), address()
    to = [address() for _ in range(3)]
    say(bob, f"Email {to[0]}, {to[1]} and {to[2]} about {about}")
    arrives(rita, to[2])
    bunch_with(rita, to[0]).locator("> .row").click()
    third = rita.locator("#members li", has_text=to[2])
    for toggle in ("Leave out", "Take it back in", "Leave out"):
        third.get_by_role("link", name=toggle).click()
    expect(third.get_by_role("link", name="Take it back in")).to_be_visible()
    steady(rita)
    rita.keyboard.press("d")
    rita.keyboard.type("Wait for the press release.")
    rita.get_by_role("button", name="Deny these 2").click()
    expect(rita.locator("#outcome .state", has_text="Denied by rita")).to_have_count(2)
    expect(bunch_with(rita, to[2]).locator("> .row")).to_contain_text(to[2])
    expect(bob.locator(".call .call-note", has_text="Wait for the press release.")).to_have_count(2)
    assert [sent(nod, each) for each in to] == [0, 0, 0]


def test_filters_stay_in_the_address_and_hold_for_what_comes(sign_in: SignIn) -> None:
    rita, alice, to = sign_in("rita", "/approvals/"), sign_in("alice", "/chat/"), address()
    ask(sign_in, "bob", to, f"the launch of {to}")
    arrives(rita, to)
    rita.goto("/approvals/?tool=delete_files")
    expect(rita.locator("#waiting")).not_to_contain_text(to)
    say(alice, "Please delete reports/2026-q1.txt")
    arrives(rita, "2026-q1")
    open_call(rita, "2026-q1")
    expect(rita).to_have_url(re.compile(r"\?tool=delete_files$"))
    rita.reload()
    expect(rita.locator("#card")).to_contain_text("2026-q1")
    expect(rita.locator("#waiting")).not_to_contain_text(to)
    rita.keyboard.press("d")  # leaves nothing waiting for the tests that count
    rita.wait_for_timeout(QUIET)
    if rita.locator("#deny-form").is_hidden():
        rita.keyboard.press("d")
    rita.keyboard.type("Keep it.")
    rita.get_by_role("button", name="Deny", exact=True).click()
    expect(rita.locator("#outcome")).to_contain_text("Denied by rita")


def test_it_says_that_it_is_offline_and_catches_up(sign_in: SignIn) -> None:
    rita, to = sign_in("rita", "/approvals/"), address()
    expect(rita.locator("#live")).to_have_attribute("data-state", "live")
    rita.context.set_offline(True)
    expect(rita.locator("#offline")).to_be_visible()
    ask(sign_in, "alice", to, f"the launch of {to}")
    rita.context.set_offline(False)
    arrives(rita, to)
    expect(rita.locator("#offline")).to_be_hidden()


def test_a_list_that_missed_every_doorbell_heals(sign_in: SignIn) -> None:
    """A socket that is open and hears nothing: the slow poll finds what there is."""
    rita = sign_in("rita")
    rita.route_web_socket("**/ws/approvals/", lambda socket: None)  # says nothing, not even hello
    rita.goto("/approvals/")
    to = address()
    ask(sign_in, "alice", to, f"the launch of {to}")
    expect(
        rita.locator("#waiting .row", has_text=to).or_(rita.locator("#held:visible")).first
    ).to_be_attached(timeout=30_000)
    expect(arrives(rita, to)).to_be_visible()
