"""Keys alone, from the sign-in to the last decision, while more calls come in: none of the decisions is wrong."""

from __future__ import annotations

from contextlib import closing

import pytest
from playwright.sync_api import Browser, Page, expect

from bench.desk import Asker, Hand, wrong_decisions
from tests.system import System

DECISIONS = 6


def sign_in_with_keys(page: Page, user: str) -> None:
    page.goto("/login/")
    while page.evaluate("document.activeElement.name") != "username":
        page.keyboard.press("Tab")
    page.keyboard.type(user)
    page.keyboard.press("Tab")
    page.keyboard.type("nod")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/login/" not in url)


@pytest.fixture
def quiet_nod(tmp_path_factory: pytest.TempPathFactory) -> System:
    """A system of its own: whoever works through the whole list would decide the calls of other tests."""
    return System(tmp_path_factory.mktemp("keys")).prepare()


@pytest.mark.timeout(300)
def test_from_the_sign_in_to_the_last_decision_by_keys(quiet_nod: System, chromium: Browser) -> None:
    with quiet_nod.up(), closing(Asker(quiet_nod)) as asker:
        asker.ask(DECISIONS)
        context = chromium.new_context(base_url=quiet_nod.url)
        page = context.new_page()
        sign_in_with_keys(page, "rita")
        expect(page.locator("#card")).to_be_visible()
        hand = Hand(page)
        with asker.every_second():
            made = hand.work(DECISIONS)
        assert len(made) == DECISIONS
        assert set(made.values()) == {"approve", "deny"}
        assert asker.asked > DECISIONS
        assert wrong_decisions(quiet_nod, made) == 0
        context.close()


def tab_to(page: Page, css: str) -> None:
    """Goes on with Tab until what the selector names has the focus."""
    for _ in range(150):
        if page.evaluate("(css) => document.activeElement.matches(css)", css):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never came to {css}")


def test_a_policy_is_made_by_keys(nod: System, chromium: Browser) -> None:
    with closing(chromium.new_context(base_url=nod.url)) as context:
        page = context.new_page()
        sign_in_with_keys(page, "admin")
        tab_to(page, "#menu summary")
        page.keyboard.press("Enter")
        tab_to(page, "#menu a[href='/admin/']")
        page.keyboard.press("Enter")
        page.wait_for_url("**/admin/")
        tab_to(page, "#content a.addlink[href$='/toolpolicy/add/']")
        page.keyboard.press("Enter")
        page.wait_for_url("**/toolpolicy/add/")
        for name, typed in (("name", "By keys alone"), ("tool", "tool_of_nobody"), ("effect", "Always")):
            tab_to(page, f"#id_{name}")
            page.keyboard.type(typed)
        tab_to(page, "#id_groups_from")
        page.keyboard.press("ArrowDown")
        tab_to(page, "#id_groups_add")
        page.keyboard.press("Enter")
        expect(page.locator("#id_groups_to option")).to_have_count(1)
        tab_to(page, "[name=_save]")
        page.keyboard.press("Enter")
        expect(page.locator(".success")).to_contain_text("By keys alone")
        expect(page.locator("#result_list")).to_contain_text("tool_of_nobody")
