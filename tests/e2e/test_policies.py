"""Policies where people meet them: why it was asked, a narrower policy, two who approve, trust that is bound."""

from __future__ import annotations

import re
from uuid import uuid4

from playwright.sync_api import Page, expect

from tests.e2e.conftest import SignIn
from tests.e2e.test_journey import QUIET, open_call, say, sent
from tests.system import System

MAKE = (
    "from approvals.models import ToolPolicy; ToolPolicy.objects.create(tool='send_email', effect='ask', {})"
)


def domain() -> str:
    return f"d{uuid4().hex[:10]}.example"


def add_policy(nod: System, **fields: object) -> None:
    said = ", ".join(f"{name}={value!r}" for name, value in fields.items())
    nod.manage("shell", "--no-imports", "--command", MAKE.format(said))


def press(page: Page, key: str) -> None:
    page.wait_for_timeout(QUIET)
    page.keyboard.press(key)


def test_from_why_was_it_asked_to_a_narrower_policy(nod: System, sign_in: SignIn) -> None:
    alice, admin, where = sign_in("alice"), sign_in("admin", "/approvals/"), domain()
    say(alice, f"Email first@{where} about the launch")
    open_call(admin, f"first@{where}")
    admin.get_by_role("link", name="Why was it asked?").click()
    expect(admin.locator("#verdict")).to_contain_text("Because of Ask before mail goes out")
    expect(admin.locator("#considered .won")).to_contain_text("It decides.")
    admin.get_by_role("link", name=f"Allow it when to is an address at {where}").click()
    expect(admin.locator("#id_when")).to_have_value(re.compile(re.escape("args.to.lowerAscii().matches(")))
    with admin.expect_popup() as opened:
        admin.get_by_role("button", name="Dry run").click()
    beside = opened.value
    changed = beside.locator("#dry-run .won", has_text="Allow")
    expect(changed).to_contain_text("Ask")
    expect(changed.locator("td").nth(2)).to_have_text("1")
    expect(beside.locator("#dry-run p").first).to_contain_text(re.compile(r"of the last [\d,]+ calls\."))
    beside.close()
    admin.get_by_role("button", name="Save", exact=True).click()
    expect(admin.locator(".success")).to_contain_text("was added successfully")
    other = sign_in("bob")
    say(other, f"Email second@{where} about the launch")
    expect(other.locator(".call .state")).to_contain_text("done")
    assert (sent(nod, f"first@{where}"), sent(nod, f"second@{where}")) == (0, 1)


def test_two_people_approve_with_the_word(nod: System, sign_in: SignIn) -> None:
    where = domain()
    condition = f"args.to.endsWith('@{where}')"
    add_policy(nod, name=f"Two for {where}", when=condition, quorum=2, confirm="send it", risk="high")
    alice, rita, remy = sign_in("alice"), sign_in("rita", "/approvals/"), sign_in("remy", "/approvals/")
    to = f"them@{where}"
    say(alice, f"Email {to} about the launch")
    expect(alice.locator(".call .state")).to_contain_text("Waiting for two of rita or remy")
    for page in (rita, remy):
        open_call(page, to)
    press(rita, "a")
    approve = rita.get_by_role("button", name="Approve", exact=True)
    expect(approve).to_be_disabled()
    rita.keyboard.type("Send it")
    expect(approve).to_be_disabled()
    rita.get_by_label("To approve, type").fill("send it")
    approve.click()
    expect(rita.locator("#so-far")).to_contain_text("rita has approved; one more has to.")
    expect(remy.locator("#so-far")).to_contain_text("rita has approved; one more has to.")
    expect(remy.locator(".row", has_text=to)).to_contain_text("1 of 2 approved")
    expect(alice.locator(".call .state")).to_contain_text("Waiting for remy")
    rita.get_by_role("button", name="Withdraw my approval").click()
    expect(remy.locator("#so-far")).to_have_count(0)
    press(rita, "a")
    rita.get_by_label("To approve, type").fill("send it")
    approve.click()
    expect(remy.locator("#so-far")).to_contain_text("rita has approved")
    assert sent(nod, to) == 0
    press(remy, "a")
    remy.get_by_label("To approve, type").fill("send it")
    remy.get_by_role("button", name="Approve", exact=True).click()
    expect(remy.locator("#outcome")).to_contain_text("Approved by rita and remy")
    expect(alice.locator(".call .state")).to_contain_text("done")
    assert sent(nod, to) == 1


def test_trust_is_shown_before_it_is_given_and_bound(nod: System, sign_in: SignIn) -> None:
    alice, rita, where = sign_in("alice"), sign_in("rita", "/approvals/"), domain()
    say(alice, f"Email one@{where} about the launch")
    open_call(rita, f"one@{where}")
    press(rita, "d")
    rita.get_by_label("Why not?").fill("Not to them.")
    rita.get_by_role("button", name="Deny", exact=True).click()
    expect(alice.locator(".call .state").last).to_contain_text("Denied")
    say(alice, f"Email two@{where} about the launch")
    open_call(rita, f"two@{where}")
    press(rita, "t")
    expect(rita.locator("#would-sum")).to_contain_text("Would have covered 1 of the last 1 calls")
    expect(rita.locator("#would-sum")).to_contain_text("; 1 of these was denied")
    rita.get_by_label("to", exact=True).check()
    expect(rita.locator("#would-sum")).to_contain_text("Would have covered 0 of the last 1 calls")
    expect(rita.locator("#would-denied")).to_have_text("")
    expect(rita.locator("#trust-reach")).to_have_text("while to stays the same")
    rita.get_by_role("button", name="Approve and trust").click()
    expect(alice.locator(".call .state").last).to_contain_text("done")
    say(alice, f"Email two@{where} about the launch")
    expect(alice.locator(".call")).to_have_count(3)
    expect(alice.locator(".call .state").last).to_contain_text("done")
    say(alice, f"Email three@{where} about the launch")
    expect(alice.locator(".call .state").last).to_contain_text("Waiting")
    rita.goto("/approvals/trust/")
    entry = rita.locator(".grants:not(#over) > li", has_text=f"two@{where}")
    expect(entry).to_contain_text("used 1 time")
    entry.get_by_role("button", name="Revoke").click()
    expect(entry).to_have_count(0)
    ended = rita.locator("#over > li", has_text=f"two@{where}")
    expect(ended).to_contain_text("revoked by rita")
    ended.get_by_text("What it let through").click()
    expect(ended.locator(".uses li")).to_have_count(1)
    assert sent(nod, f"two@{where}") == 2
