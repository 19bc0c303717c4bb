"""Every page and state as the right person, in light and dark, on a desk and on a phone: no fault that axe finds,
nothing to scroll sideways, and nothing that moves for those who asked for stillness.

The states are made in the database (tests/states.py), and each is loaded once: what it looks like otherwise needs no
other load. Every day, each is looked at in light on a desk or in dark on a phone, in turn, and what hardly differs
from another is left out, as are Django's own pages but one of a kind. With AXE=all (`make axe`) it is everything, in
all four looks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, expect

from tests.e2e.conftest import EXPECTED
from tests.system import System

ROOT = Path(__file__).resolve().parents[2]
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
DESK: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
ALL = os.environ.get("AXE") == "all"
# How a place is looked at, in this order, and whether for more than colours: a scheme changes nothing else.
Look = tuple[ViewportSize, Literal["light", "dark"], bool]
EVERY_DAY: list[Look] = [(DESK, "light", True), (PHONE, "dark", True)]  # each place in one of them, in turn
LOOKS: list[Look] = [*EVERY_DAY, (PHONE, "light", False), (DESK, "dark", False)]
LOOK = """async ([tags, whole]) => {
  const only = whole ? { type: "tag", values: tags } : { type: "rule", values: ["color-contrast"] };
  const found = await axe.run({ runOnly: only, resultTypes: ["violations"], preload: false });
  const cut = { "the page": document.scrollingElement };
  for (const css of [".top nav", ".scroll"]) cut[css] = document.querySelector(css);
  return found.violations.flatMap((one) => one.nodes.map((node) =>
    `${one.id}: ${node.html.slice(0, 160)} ${node.failureSummary}`
  )).concat(Object.entries(cut).flatMap(([name, one]) =>
    one && one.scrollWidth > one.clientWidth ? [`${name} is wider than its place`] : []
  ));
}"""
# Each control that can be seen, with the focus, as after a key was pressed: a line around it or around what it belongs
# to, which differs enough from what is behind it.
FOCUS = """() => {
  const channels = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
  const part = (value) => value <= 10 ? value / 3294 : (value / 269 + .0513) ** 2.4;
  const light = ([red, green, blue]) => .2126 * part(red) + .7152 * part(green) + .0722 * part(blue);
  const behind = (one) => {
    for (let at = one.parentElement; at; at = at.parentElement) {
      const found = channels(getComputedStyle(at).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return channels(getComputedStyle(document.documentElement).getPropertyValue("background-color"));
  };
  const lined = (one) => {
    const style = getComputedStyle(one);
    if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 1) return false;
    const [low, high] = [light(channels(style.outlineColor)), light(behind(one))].sort((a, b) => a - b);
    return style.outlineStyle === "auto" || (high + .05) / (low + .05) >= 3;
  };
  const controls = "a[href], button, input, textarea, select, summary, [tabindex='0']";
  return [...document.querySelectorAll(controls)].filter((one) => {
    if (!one.checkVisibility()) return false;
    one.focus({ preventScroll: true });
    if (document.activeElement !== one) return false;
    const box = one.closest(".box, .attach");
    return ![one, box, box?.querySelector("label")].filter(Boolean).some(lined);
  }).map((one) => `focus that cannot be seen: ${one.outerHTML.slice(0, 120)}`);
}"""
# What would take more than a hundredth of a second to get anywhere.
MOVING = """() => {
  const seconds = (all) => Math.max(...all.split(",").map(parseFloat));
  return [...document.querySelectorAll("*")].flatMap((one) => ["", "::before", "::after"].flatMap((part) => {
    const style = getComputedStyle(one, part);
    const moves = style.animationName !== "none" && seconds(style.animationDuration) > .01;
    return moves || seconds(style.transitionDuration) > .01 ? [`${one.tagName}.${one.className}${part}`] : [];
  }));
}"""


class Place(NamedTuple):
    """A page, who goes there, and what they open on it. `path`: or the name of a state of tests/states.py.

    `often`: it is looked at every day.
    """

    name: str
    who: str
    path: str
    act: Callable[[Page], Any] = lambda page: None
    often: bool = True


def unfold(page: Page) -> None:
    page.evaluate("document.querySelectorAll('main details').forEach((one) => { one.open = true })")


def click(name: str, then: str, role: Any = "button") -> Callable[[Page], None]:
    def act(page: Page) -> None:
        page.get_by_role(role, name=name).first.click()
        expect(page.locator(then).first).to_be_visible()

    return act


def open_details(css: str) -> Callable[[Page], None]:
    return lambda page: page.locator(f"{css} > summary").first.click()


def first_row(page: Page) -> None:
    page.locator("#result_list tbody th a").first.click()
    page.wait_for_url("**/change/**")


def open_menu(page: Page) -> None:
    page.locator("#menu summary").click()
    expect(page.locator("#menu a:visible").first).to_be_visible()


def wrong_password(page: Page) -> None:
    page.get_by_label("Name").fill("nobody")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()


def without_key(page: Page) -> None:
    """What a form says whose cookie is gone."""
    page.context.clear_cookies()
    page.locator("form").evaluate("(form) => form.submit()")
    expect(page.get_by_role("heading", level=1)).to_contain_text("open too long")


def offline(page: Page) -> None:
    page.context.set_offline(True)
    expect(page.locator("#offline")).to_be_visible()


def in_one_line(page: Page) -> None:
    bottoms = "all => all.map(one => Math.round(one.getBoundingClientRect().bottom))"
    assert len(set(page.locator(".search > *").evaluate_all(bottoms))) == 1


def attach(page: Page) -> None:
    files = [
        {
            "name": name,
            "mimeType": "text/plain",
            "buffer": b"\xff\xd8" if name == "cat.jpg" else b"tea at four",
        }
        for name in ("plan.md", "cat.jpg")
    ]
    page.locator("#files").set_input_files(files)  # type: ignore[arg-type]
    expect(page.locator("#chosen li")).to_have_count(2)
    page.get_by_label("Message").fill("What does it say?")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#text-error")).to_contain_text("cat.jpg")


def wrong_edit(page: Page) -> None:
    page.locator("#edit-form [inputmode=decimal]").fill("many")
    page.get_by_role("button", name="Look at the difference").click()
    expect(page.locator("[aria-invalid=true]")).to_be_visible()


def difference(page: Page) -> None:
    page.locator("#edit-form textarea").last.fill("Hello,\n\nwhat will be in it?")
    page.get_by_role("button", name="Look at the difference").click()
    expect(page.locator(".diff ins").first).to_be_visible()


def wrong_policy(page: Page) -> None:
    page.get_by_label("Tool:").fill("two words")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".errornote")).to_be_visible()


def delete(page: Page) -> None:
    first_row(page)
    page.locator(".deletelink").click()
    expect(page.locator(".delete-confirmation")).to_be_visible()


def dry_run(page: Page) -> None:
    first_row(page)
    here = "(button) => { button.removeAttribute('formtarget'); button.click() }"
    page.locator("[name=_dry_run]").evaluate(here)
    expect(page.locator("#dry-run")).to_contain_text("calls.")


def model_test(page: Page) -> None:
    first_row(page)
    here = "(button) => { button.removeAttribute('formtarget'); button.click() }"
    page.locator("[value='Test this model']").evaluate(here)
    expect(page.locator("#answer, #problem")).to_be_visible()


def tried(page: Page) -> None:
    page.get_by_label("Tool:").fill("send_email")
    page.get_by_label("Arguments:").fill('{"to": "dev@example.com"}')
    page.get_by_role("button", name="Try", exact=True).click()
    expect(page.locator("#considered")).to_be_visible()


PLACES = [
    Place("sign-in", "", "/login/"),
    Place("sign-in that failed", "", "/login/", wrong_password),
    Place("sign-in without a cookie", "", "/login/?next=/chat/", without_key, often=False),
    Place("new chat", "emil", "/chat/"),
    Place("new chat, files", "emil", "/chat/", attach),
    Place("chat", "carol", "chat said", unfold),
    Place("chat, a message written anew", "carol", "chat said", open_details(".edit")),
    Place("chat, a question", "carol", "chat asked"),
    Place("chat that waits for long", "carol", "chat late", open_details(".manage")),
    Place("chat, to be decided there", "dora", "chat own", open_details(".deny")),
    Place("chat that failed", "carol", "chat failed"),
    Place("chat at work", "carol", "chat busy"),
    Place("chats put away", "carol", "/chat/?archived=1", often=False),
    Place("chat put away", "carol", "chat away", often=False),
    Place("chats, nothing found", "carol", "/chat/?q=nowhere", often=False),
    Place("queue", "dora", "/approvals/"),
    Place("queue, filters", "dora", "/approvals/", open_details("#more-filters")),
    Place("queue, nothing found", "dora", "/approvals/?risk=low", often=False),
    Place("queue, offline", "dora", "/approvals/", offline),
    Place("queue, empty", "emil", "/approvals/"),
    Place("keys", "dora", "/approvals/", click("? keys", "#keys[open]")),
    Place("card", "dora", "card", unfold),
    Place("card, deny", "dora", "card", click("Deny…", "#deny-form")),
    Place("card, trust", "dora", "card", click("Trust…", "#trust-form")),
    Place("card, approve with a word", "dora", "strict", click("Approve…", "#approve-form")),
    Place("card, edit", "dora", "odd", click("Edit…", "#edit-form")),
    Place("card, edit that is wrong", "dora", "odd?form=edit", wrong_edit),
    Place("card, the difference", "dora", "card?form=edit", difference),
    Place("card, hidden values", "dora", "secret"),
    Place("card, a value shown", "dora", "secret", click("Show", ".arg-value .hint"), often=False),
    Place("card, too long", "dora", "long"),
    Place("card, half approved", "dora", "half", often=False),
    Place("card, nobody knows", "dora", "unknown"),
    Place("decided, undo", "dora", "undoable"),
    Place("decided, denied", "dora", "denied", often=False),
    Place("decided, trusted", "dora", "trusted", often=False),
    Place("decided, done", "dora", "done", unfold),
    Place("together", "dora", "together"),
    Place("together, deny", "dora", "together", click("Deny…", "#deny-form"), often=False),
    Place("together, one is left", "dora", "left", often=False),
    Place("together, decided", "dora", "result"),
    Place("history", "dora", "/approvals/history/", in_one_line),
    Place("history, nothing found", "dora", "/approvals/history/?tool=none&since=x"),
    Place("history, empty", "emil", "/approvals/history/", often=False),
    Place("trust", "dora", "/approvals/trust/"),
    Place("trust, empty", "emil", "/approvals/trust/", often=False),
    Place("insights", "dora", "/insights/", unfold),
    Place("insights of nothing", "emil", "/insights/", unfold, often=False),
    Place("insights of models", "admin", "/insights/", unfold, often=False),
    Place("notifications", "dora", "/notifications/"),
    Place("audit", "admin", "/audit/?kind=decision.made"),
    Place("audit, nothing found", "admin", "/audit/?q=nothing&since=x"),
    Place("menu", "admin", "/audit/?q=nothing", open_menu),
    Place("outbox", "dora", "/outbox/"),
    Place("not for you", "carol", "/audit/"),
    Place("no such page", "carol", "/nowhere/"),
    Place("admin, sign-in", "", "/admin/login/", often=False),
    Place("admin", "admin", "/admin/"),
    Place("admin, a list", "admin", "/admin/approvals/toolcall/"),
    Place("admin, a row", "admin", "/admin/approvals/toolcall/", first_row, often=False),
    Place("admin, a wrong policy", "admin", "/admin/approvals/toolpolicy/add/", wrong_policy),
    Place("admin, a dry run", "admin", "/admin/approvals/toolpolicy/", dry_run),
    Place("admin, try a call", "admin", "/admin/approvals/toolpolicy/try/", tried),
    Place("admin, a model that is tested", "admin", "/admin/agents/agent/", model_test, often=False),
    Place("admin, delete", "admin", "/admin/approvals/toolpolicy/", delete, often=False),
]


class Visitor:
    """A page for each person, signed in."""

    def __init__(self, nod: System, chromium: Browser) -> None:
        states = [sys.executable, "-m", "tests.states"]
        done = subprocess.run(states, env=nod.env, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        made = json.loads(done.stdout)
        self._places: dict[str, str] = made["places"]
        self._cookies: dict[str, str] = {"": "", **made["cookies"]}
        self._nod, self._chromium = nod, chromium
        self._pages: dict[str, Page] = {}
        self.complaints: list[str] = []

    def go(self, who: str, path: str) -> Page:
        """`path`: or the name of a state, with a query or without."""
        page = self._page(who)
        name, mark, query = path.partition("?")
        page.context.set_offline(False)
        page.set_viewport_size(DESK)
        page.emulate_media(color_scheme="light", reduced_motion="reduce")  # or colours are on their way yet
        page.goto(f"{self._places[name]}{mark}{query}" if name in self._places else path)
        return page

    def close(self) -> None:
        for page in self._pages.values():
            page.context.close()

    def _page(self, who: str) -> Page:
        if who not in self._pages:
            context = self._chromium.new_context(base_url=self._nod.url)
            if key := self._cookies[who]:
                context.add_cookies([{"name": "sessionid", "value": key, "url": self._nod.url}])
            self._pages[who] = context.new_page()
            self._pages[who].on("console", self._listen)
            self._pages[who].on("pageerror", lambda error: self.complaints.append(str(error)))
        return self._pages[who]

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(word in message.text for word in EXPECTED):
            self.complaints.append(f"{message.text} ({message.location})")


@pytest.fixture(scope="module")
def visitor(nod: System, chromium: Browser) -> Iterator[Visitor]:
    visitor = Visitor(nod, chromium)
    yield visitor
    visitor.close()


def faults(page: Page, looks: list[Look]) -> list[str]:
    """What is wrong with the page as it stands, with the element and what to do about it."""
    page.evaluate(AXE_SCRIPT)
    found = []
    for size, scheme, whole in looks:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        wrong = page.evaluate(LOOK, [TAGS, whole])
        page.keyboard.press("Shift")  # from now on the focus shows
        wrong += page.evaluate(FOCUS)
        found += [f"{size['width']} {scheme}: {one}" for one in wrong]
    return found + [f"moves: {one}" for one in page.evaluate(MOVING)]


def today() -> Iterator[tuple[Place, list[Look]]]:
    """What is looked at, and how."""
    for number, place in enumerate(place for place in PLACES if place.often or ALL):
        yield place, LOOKS if ALL else [EVERY_DAY[number % len(EVERY_DAY)]]


@pytest.mark.parametrize(("place", "looks"), [pytest.param(*each, id=each[0].name) for each in today()])
def test_everybody_can_use_it(visitor: Visitor, place: Place, looks: list[Look]) -> None:
    page = visitor.go(place.who, place.path)
    place.act(page)
    found = [*faults(page, looks), *visitor.complaints]
    visitor.complaints.clear()
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("who", "path"), [("carol", "chat busy"), ("admin", "/admin/")])
def test_what_moves_stands_still_for_those_who_asked(visitor: Visitor, who: str, path: str) -> None:
    """The check above looks at something: without the wish, these pages move."""
    page = visitor.go(who, path)
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(MOVING)
    page.emulate_media(reduced_motion="reduce")
    assert not page.evaluate(MOVING)


@pytest.mark.skipif(not ALL, reason="make axe")
@pytest.mark.timeout(900)
def test_everybody_can_administer(visitor: Visitor) -> None:
    """Each list that the index leads to, its first row with its history, and what adds one."""
    page = visitor.go("admin", "/admin/")
    own = [f"/admin/{path}" for path in ("login/", "password_change/", "approvals/toolpolicy/suggestions/")]
    left, seen, found = [*_links(page, "#content-main a, #user-tools a"), *own], set(), {}
    while left:
        path = left.pop(0)
        if path in seen or not path.startswith("/admin/") or "logout" in path:
            continue
        seen.add(path)
        page = visitor.go("admin", path)
        left += _links(page, "#result_list tbody tr:first-child th a, .object-tools a, .deletelink")
        found[path] = faults(page, LOOKS)
    print(*seen, sep="\n")
    assert not any(found.values()), json.dumps(
        {path: these for path, these in found.items() if these}, indent=1
    )


def _links(page: Page, css: str) -> list[str]:
    return list(page.locator(css).evaluate_all("all => all.map(one => new URL(one.href).pathname)"))
