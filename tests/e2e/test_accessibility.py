"""Every page as the right person, in light and dark, on a desk and on a phone: no fault that axe finds, nothing to
scroll sideways, and nothing that moves for those who asked for stillness."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.e2e.conftest import SignIn
from tests.e2e.test_journey import address, deny, open_call, say
from tests.system import System

RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
    "resultTypes": ["violations"],
}
DESK: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
LOOKS = [(size, scheme) for size in (DESK, PHONE) for scheme in SCHEMES]
SIDEWAYS = "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
MOVING = "document.getAnimations().filter((each) => each.playState === 'running').length"


Visit = Callable[["Place"], Page]


class Place(NamedTuple):
    """A page, who goes there, and what they open on it."""

    name: str
    who: str
    path: str
    ready: Callable[[Page], Any] = lambda page: None


def unfold(page: Page) -> None:
    for details in page.locator("main details").all():
        if details.is_visible():
            details.evaluate("(one) => { one.open = true }")


def chosen(form: str) -> Callable[[Page], None]:
    def choose(page: Page) -> None:
        page.goto(page.locator("#waiting .row").first.get_attribute("href") or "")
        page.get_by_role("button", name=form).click()
        expect(page.locator(".panel:visible")).to_be_visible()

    return choose


def first_row(page: Page) -> None:
    page.goto(page.locator(".past .row").first.get_attribute("href") or "")


def open_menu(page: Page) -> None:
    page.locator("#menu summary").click()
    expect(page.locator("#menu a:visible").first).to_be_visible()


PLACES = [
    Place("sign-in", "", "/login/"),
    Place("new chat", "alice", "/chat/"),
    Place("chat", "alice", "chat"),
    Place("chat that waits", "alice", "waiting"),
    Place("queue", "rita", "/approvals/"),
    Place("card, deny", "rita", "/approvals/", chosen("Deny…")),
    Place("card, trust", "rita", "/approvals/", chosen("Trust…")),
    Place("history", "rita", "/approvals/history/"),
    Place("decided call", "rita", "/approvals/history/", first_row),
    Place("call nobody was asked about", "admin", "/approvals/history/?status=unasked", first_row),
    Place("history, nothing found", "rita", "/approvals/history/?tool=none&since=x"),
    Place("trust", "rita", "/approvals/trust/"),
    Place("insights", "rita", "/insights/", unfold),
    Place("insights of nothing", "rita", "/insights/?tool=none", unfold),
    Place("audit", "admin", "/audit/"),
    Place("audit, nothing found", "admin", "/audit/?q=nothing&since=x"),
    Place("menu", "admin", "/audit/", open_menu),
    Place("outbox", "rita", "/outbox/"),
    Place("not for you", "alice", "/audit/"),
    Place("no such page", "alice", "/nowhere/"),
]


@pytest.fixture(scope="module")
def lived_in(nod: System) -> dict[str, str]:
    """Where to find the chats that the first test left."""
    return {}


@pytest.fixture
def visit(nod: System, chromium: Browser, sign_in: SignIn, lived_in: dict[str, str]) -> Iterator[Visit]:
    if not lived_in:
        prepare(sign_in, lived_in)
    nobody = chromium.new_context(base_url=nod.url)

    def go(place: Place) -> Page:
        path = lived_in.get(place.path, place.path)
        page = sign_in(place.who, path, viewport=DESK) if place.who else nobody.new_page()
        if not place.who:
            page.goto(path)
        place.ready(page)
        return page

    yield go
    nobody.close()


def prepare(sign_in: SignIn, lived_in: dict[str, str]) -> None:
    """A chat with a trusted, a denied and an answered call, and one that waits."""
    alice, rita = sign_in("alice"), sign_in("rita", "/approvals/")
    first, second = address(), address()
    say(alice, f"Email {first} about the launch")
    open_call(rita, first)
    deny(rita, "Not before Monday.")
    expect(alice.locator(".words").last).to_contain_text("Not before Monday.")
    say(alice, f"Email {second} about the launch")
    open_call(rita, second)
    rita.get_by_role("button", name="Trust…").click()
    rita.get_by_role("button", name="Approve and trust").click()
    expect(alice.locator(".words").last).to_contain_text(f"Email sent to {second}")
    say(alice, "What is the weather in Berlin?")
    expect(alice.locator(".call", has_text="get_weather")).to_contain_text("done")
    lived_in["chat"] = alice.url
    other = sign_in("alice", "/chat/")
    say(other, f"Email {address()} about the launch")
    expect(other.locator(".call .state")).to_contain_text("Waiting for")
    lived_in["waiting"] = other.url


def faults(page: Page) -> list[str]:
    """What axe finds, with the element and what to do about it."""
    found = Axe().run(page, options=RULES).response["violations"]
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary']}"
        for one in found
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_everybody_can_use_it(visit: Visit, place: Place) -> None:
    page = visit(place)
    for size, scheme in LOOKS:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        assert not faults(page), (size, scheme)
        assert page.evaluate(SIDEWAYS) <= 0, (size, scheme)
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(MOVING) == 0


def test_what_moves_stands_still_for_those_who_asked(visit: Visit) -> None:
    """The dots of an agent at work, put into a page: otherwise the check above might look at nothing."""
    page = visit(PLACES[1])
    page.evaluate(
        "document.querySelector('main').insertAdjacentHTML('beforeend', '<div class=dots><i></i></div>')"
    )
    assert page.evaluate(MOVING) == 1
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(MOVING) == 0
