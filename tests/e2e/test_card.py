"""The card on the real thing: edit, secrets, what is too long, and keys."""

from __future__ import annotations

import json
import re

from playwright.sync_api import Page, expect

from tests.e2e.conftest import SignIn
from tests.e2e.test_journey import QUIET, address, arrives, open_call, say, sent
from tests.system import System

# Longer than a message to the demo's agent may be.
LENGTHEN = """
from approvals.models import ToolCall
[call] = [each for each in ToolCall.objects.filter(status="pending") if each.arguments.get("to") == "{to}"]
call.arguments["body"] = "x" * 64_000
call.save(update_fields=["arguments"])
"""
AS_SOON_AS_SHOWN = """() => addEventListener("htmx:afterSettle", function once({ detail }) {
  const form = document.getElementById("changed-form");
  if (detail.target.id !== "desk-detail" || !form) return;
  removeEventListener("htmx:afterSettle", once);
  form.requestSubmit(form.querySelector(".primary"));
})"""


def body(page: Page, words: str) -> None:
    page.locator("#edit-form textarea").fill(words)


def test_what_a_reviewer_changes_is_what_is_sent_once(nod: System, sign_in: SignIn) -> None:
    rita, alice, to = sign_in("rita", "/approvals/"), sign_in("alice"), address()
    say(alice, f"Email {to} about the launch")
    open_call(rita, to)
    rita.keyboard.press("e")
    expect(rita.locator("#edit-form")).to_be_visible()
    body(rita, "Changed by rita, with care.")
    rita.keyboard.press("Control+Enter")
    expect(rita.locator(".diff ins").first).to_contain_text("Changed")
    assert sent(nod, to) == 0
    rita.get_by_role("button", name="Back to the form").click()
    expect(rita.locator("#edit-form textarea")).to_have_value("Changed by rita, with care.")
    rita.get_by_role("button", name="Look at the difference").click()
    expect(rita.locator("#what")).to_be_focused()
    rita.wait_for_timeout(QUIET)
    rita.keyboard.press("a")
    expect(rita.locator("#outcome")).to_contain_text("Approved by rita")
    expect(rita.locator("#changed-by")).to_contain_text("rita changed this")
    expect(alice.locator(".words").last).to_contain_text(f"Email sent to {to}")
    [mail] = [each for each in nod.mails() if each["To"] == to]
    assert "Changed by rita, with care." in str(mail.get_payload())


def test_a_refresh_leaves_what_is_being_edited(nod: System, sign_in: SignIn) -> None:
    rita, alice, to, other = sign_in("rita", "/approvals/"), sign_in("alice"), address(), address()
    say(alice, f"Email {to} about the launch")
    open_call(rita, to)
    rita.keyboard.press("e")
    body(rita, "Half a sentence")
    say(sign_in("bob"), f"Email {other} about the launch")
    arrives(rita, other)
    words, back = rita.locator("#edit-form textarea"), rita.locator("#edit-form .drafts-back")
    expect(words).to_have_value("Half a sentence")
    expect(back).to_be_hidden()
    rita.reload()
    rita.wait_for_timeout(QUIET)
    rita.keyboard.press("e")
    expect(back).to_contain_text("Your unsent changes are back.")
    expect(words).to_have_value("Half a sentence")
    back.get_by_role("button", name="Start anew").click()
    expect(words).not_to_have_value("Half a sentence")
    expect(back).to_be_hidden()
    rita.keyboard.press("Escape")
    expect(words).to_have_count(0)
    rita.wait_for_timeout(QUIET)
    rita.keyboard.press("e")
    expect(words).not_to_have_value("Half a sentence")
    expect(back).to_be_hidden()
    body(rita, "Half a sentence")
    words.focus()
    rita.keyboard.press("Control+Enter")
    expect(rita.locator("#changed-form")).to_be_visible()


def test_a_secret_is_shown_on_demand(nod: System, sign_in: SignIn) -> None:
    rita, alice, to, key = (
        sign_in("rita", "/approvals/"),
        sign_in("alice"),
        address(),
        "sk-proj-" + "a1B2" * 9,
    )
    say(alice, f"Email {to} saying the key is {key}")
    card = open_call(rita, to)
    args = card.locator(".args")
    expect(args).to_contain_text("hidden")
    expect(args).not_to_contain_text(key)
    args.get_by_role("button", name="Show").first.click()
    expect(card.locator(".args")).to_contain_text(key)
    rita.reload()
    expect(rita.locator("#card .args")).not_to_contain_text(key)


def test_who_looked_is_in_the_audit_trail_and_not_what_they_saw(nod: System, sign_in: SignIn) -> None:
    rita, alice, to, key = sign_in("rita", "/approvals/"), sign_in("alice"), address(), "ghp_" + "a1B2" * 9
    say(alice, f"Email {to} saying the key is {key}")
    card = open_call(rita, to)
    call = card.get_attribute("data-call")
    card.locator(".args").get_by_role("button", name="Show").first.click()
    expect(card.locator(".args")).to_contain_text(key)
    lines = [line for line in nod.manage("audit", "export").splitlines() if "secret.revealed" in line]
    [line] = [each for each in lines if json.loads(each)["call"] == call]
    entry = json.loads(line)
    assert (entry["kind"], entry["actor"]) == ("secret.revealed", "rita")
    assert key not in line
    admin = sign_in("admin", f"/audit/?q={call}&kind=secret.revealed")
    row = admin.locator(".trail tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("rita")
    row.locator("summary").click()
    expect(row.locator("pre")).to_contain_text("argument")
    expect(row).not_to_contain_text(key)


def test_what_is_too_long_can_only_be_denied(nod: System, sign_in: SignIn) -> None:
    alice, to = sign_in("alice"), address()
    say(alice, f"Email {to} about the launch")
    expect(alice.locator(".call .state")).to_contain_text("Waiting for")
    nod.manage("shell", "--no-imports", "--command", LENGTHEN.format(to=to))
    rita = sign_in("rita", "/approvals/")
    card = open_call(rita, to)
    expect(card.locator("#too-long")).to_contain_text("can only be denied")
    for name in ("Approve", "Trust", "Edit"):
        expect(card.get_by_role("button", name=name)).to_have_count(0)
    for key in "ate":
        rita.keyboard.press(key)
    expect(card.locator("form[data-decision]:visible, #edit-form")).to_have_count(0)
    rita.keyboard.press("d")
    rita.keyboard.type("Nobody reads that.")
    rita.keyboard.press("Control+Enter")
    expect(rita.locator("#outcome")).to_contain_text("Denied by rita")
    expect(alice.locator(".call .state")).to_contain_text("Denied by rita")
    assert sent(nod, to) == 0


def test_it_takes_no_decision_on_a_difference_that_has_only_just_come(nod: System, sign_in: SignIn) -> None:
    rita, alice, to = sign_in("rita", "/approvals/"), sign_in("alice"), address()
    say(alice, f"Email {to} about the launch")
    open_call(rita, to)
    decided: list[str] = []
    rita.on("request", lambda request: decided.append(request.url) if "/decide" in request.url else None)
    rita.keyboard.press("e")
    body(rita, "Changed by rita.")
    rita.evaluate(AS_SOON_AS_SHOWN)
    rita.keyboard.press("Control+Enter")
    expect(rita.get_by_text("Not taken: the card had only just appeared")).to_be_visible()
    expect(rita.locator(".diff ins").first).to_be_visible()
    rita.wait_for_timeout(QUIET)
    assert decided == []
    rita.get_by_role("button", name="Approve as changed").click()
    expect(rita.locator("#outcome")).to_contain_text("Approved by rita")
    assert len(decided) == 1


def test_keys_and_a_reason_by_ctrl_enter(nod: System, sign_in: SignIn) -> None:
    rita, alice, to = sign_in("rita", "/approvals/"), sign_in("alice"), address()
    say(alice, f"Email {to} about the launch")
    open_call(rita, to)
    rita.keyboard.press("?")
    expect(rita.locator("#keys")).to_be_visible()
    rita.keyboard.press("Escape")
    rita.keyboard.press("t")
    expect(rita.locator("#trust-form")).to_be_visible()
    rita.keyboard.press("Escape")
    rita.keyboard.press("d")
    rita.keyboard.type("Not today.")
    rita.keyboard.press("Control+Enter")
    expect(rita.locator("#outcome")).to_contain_text("Denied by rita")
    expect(alice.locator(".call .state")).to_contain_text("Denied by rita")
    assert sent(nod, to) == 0


def test_raw_json_comes_when_it_is_opened(sign_in: SignIn) -> None:
    rita, alice, to = sign_in("rita", "/approvals/"), sign_in("alice"), address()
    say(alice, f"Email {to} about the launch")
    open_call(rita, to)
    rita.keyboard.press("r")
    shown = rita.locator("#raw pre")
    expect(shown).to_contain_text(re.compile(r'"to"'))
    assert json.loads(shown.inner_text())["to"] == to
