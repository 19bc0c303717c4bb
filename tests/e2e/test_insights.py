"""The figures beside the work: what remy decides stands on rita's page, drawn and in the table alike."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime

from playwright.sync_api import Page, expect

from tests.e2e.conftest import SignIn
from tests.e2e.test_journey import address, deny, open_call, say


def figure(page: Page, name: str) -> int:
    """How many a tile says."""
    text = page.locator(f"#figure-{name}").inner_text()
    return int(text.split()[-1].replace(",", ""))


def remys(page: Page) -> Counter[str]:
    """Remy's row of the table, by its headings; nothing while there is none."""
    row = page.locator("#reviewer-table tbody tr", has=page.get_by_role("rowheader", name="remy", exact=True))
    heads = page.locator("#reviewer-table thead th").all_inner_texts()
    if not row.count():
        return Counter()
    cells = row.locator("td").all_inner_texts()
    return Counter({head: int(cell.split()[0]) for head, cell in zip(heads[1:-2], cells[:-2], strict=True)})


def show(page: Page) -> None:
    page.reload()
    page.locator("main details").evaluate_all("(all) => all.forEach((one) => { one.open = true })")


def test_the_figures_tell_what_another_decided(sign_in: SignIn) -> None:
    rita, remy, alice = sign_in("rita", "/insights/?days=7"), sign_in("remy", "/approvals/"), sign_in("alice")
    show(rita)
    asked, denied, mine = figure(rita, "asked"), figure(rita, "denied"), remys(rita)
    to = address()
    say(alice, f"Email {to} about the launch")
    open_call(remy, to)
    show(rita)
    assert (figure(rita, "asked"), figure(rita, "denied")) == (asked + 1, denied)
    assert figure(rita, "waiting") >= 1
    deny(remy, "Not this week.")
    show(rita)
    assert (figure(rita, "asked"), figure(rita, "denied")) == (asked + 1, denied + 1)
    now = remys(rita)
    assert (now["Decided"], now["Denied"]) == (mine["Decided"] + 1, mine["Denied"] + 1)
    bar = rita.locator("#by-reviewer .rates li", has_text="remy")
    share = rita.locator("#reviewer-table tr", has_text="remy").locator("td").nth(3).inner_text().split()[-1]
    expect(bar.locator("svg title")).to_have_text(re.compile(rf"^remy: .*{share} denied$"))
    drawn = float((bar.locator("rect.denied").get_attribute("width") or "").rstrip("%"))
    assert abs(drawn - 100 * now["Denied"] / now["Decided"]) < 0.01
    rita.locator("select[name=tool]").select_option("send_email")
    rita.get_by_role("button", name="Show").click()
    expect(rita).to_have_url(re.compile(r"days=7&tool=send_email"))
    expect(rita.locator("#by-tool .rates li")).to_have_count(1)


def test_times_are_told_in_the_readers_own_zone(sign_in: SignIn) -> None:
    page = sign_in("rita", "/insights/", timezone_id="Asia/Kolkata", viewport={"width": 1280, "height": 900})
    stamp = page.locator("main p time").first
    moment = datetime.fromisoformat(stamp.get_attribute("datetime") or "").astimezone(UTC)
    expect(stamp).to_have_attribute("title", re.compile(rf"Asia/.* · {moment:%Y-%m-%d %H:%M:%S} UTC$"))
    half = (moment.hour * 60 + moment.minute + 330) % 1440
    expect(stamp).to_have_text(re.compile(rf", {half // 60:02}:{half % 60:02}$"))


LIVE = ".grants:not(#over) > li[id^=grant]"


def test_trust_and_its_end_show_live(sign_in: SignIn) -> None:
    remy, rita, alice = sign_in("remy", "/approvals/trust/"), sign_in("rita", "/approvals/"), sign_in("alice")
    to = address()
    before = remy.locator(LIVE).count()
    say(alice, f"Email {to} about the launch")
    open_call(rita, to)
    rita.get_by_role("button", name="Trust…").click()
    rita.get_by_role("button", name="Approve and trust").click()
    expect(remy.locator(LIVE)).to_have_count(before + 1)
    newest = remy.locator(LIVE).first
    expect(newest.locator("time[data-local]")).to_have_attribute("title", re.compile("UTC$"))
    alice.get_by_role("button", name="Revoke").click()
    expect(remy.locator(LIVE)).to_have_count(before)


def test_the_menu_holds_what_does_not_fit(sign_in: SignIn) -> None:
    page = sign_in("admin", "/approvals/", viewport={"width": 390, "height": 844})
    menu = page.locator("#menu")
    expect(page.get_by_role("link", name="Audit")).to_be_hidden()
    menu.locator("summary").click()
    for name in ("Insights", "Outbox", "Audit", "Admin"):
        link = menu.get_by_role("link", name=name)
        expect(link).to_be_visible()
        box = link.bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= 390
    page.keyboard.press("Escape")
    expect(menu.get_by_role("link", name="Audit")).to_be_hidden()
    expect(menu.locator("summary")).to_be_focused()
    menu.locator("summary").click()
    page.mouse.click(195, 820)
    expect(menu.get_by_role("link", name="Audit")).to_be_hidden()
    menu.locator("summary").click()
    menu.get_by_role("link", name="Insights").click()
    expect(page.get_by_role("heading", name="Insights")).to_be_visible()
