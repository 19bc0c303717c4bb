"""The chat in a real browser: the answer that grows, questions, editing, deciding, reminding, files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.conftest import SignIn
from tests.e2e.test_journey import QUIET, address, arrives, open_call, say, sent
from tests.system import System

LENIENT = """
from django.contrib.auth.models import Group, User
from approvals.models import ToolPolicy
bob = User.objects.get(username="bob")
bob.groups.add(Group.objects.get(name="reviewers"))
ToolPolicy.objects.get_or_create(
    name="bob decides on his own mails", tool="send_email", effect="ask", when='user.name == "bob"',
    requester_may_decide=True,
)
"""
STRICT = """
from django.contrib.auth.models import Group, User
from approvals.models import ToolPolicy
User.objects.get(username="bob").groups.remove(Group.objects.get(name="reviewers"))
ToolPolicy.objects.filter(name="bob decides on his own mails").delete()
"""
LONG_AGO = """
from datetime import timedelta
from django.db.models.functions import Now
from approvals.models import ToolCall
ToolCall.objects.filter(status="pending").update(requested_at=Now() - timedelta(minutes=11))
"""
SLOW = """
from agents.models import Agent
Agent.objects.filter(slug="assistant").update(parameters={"delay_ms": %d})
"""


def shell(nod: System, code: str) -> None:
    nod.manage("shell", "--no-imports", "--command", code)


def new_chat(sign_in: SignIn, who: str = "alice", **options: object) -> Page:
    return sign_in(who, "/chat/", **options)


@pytest.fixture
def slow(nod: System):
    """The model takes its time for each word."""
    shell(nod, SLOW % 60)
    yield
    shell(nod, SLOW % 0)


WATCH = """() => {
  window.seen = {texts: [], formed: false};
  const look = () => {
    const draft = document.getElementById("draft");
    if (draft && draft.textContent) {
      seen.texts.push(draft.textContent.replace(/\\s+/g, " ").trim());
      if (draft.querySelector("li, pre, p")) seen.formed = true;
    }
    requestAnimationFrame(look);
  };
  look();
}"""


def test_an_answer_grows_with_its_form_and_never_shrinks(sign_in: SignIn, slow: None) -> None:
    alice = new_chat(sign_in)
    say(alice, "Hello")  # the demo answers with a list of what it knows
    alice.evaluate(WATCH)
    expect(alice.locator("#draft")).to_contain_text("Try one of these")
    alice.reload()
    alice.evaluate(WATCH)
    expect(alice.locator("#dots")).to_have_count(0, timeout=30_000)
    seen = alice.evaluate("seen")
    assert seen["formed"]
    final = re.sub(r"\s+", "", alice.locator(".words").last.text_content() or "")
    lengths = [len(re.sub(r"\s+|^-|(?<=\s)-(?=\s)", "", text)) for text in seen["texts"]]
    assert len(lengths) > 5
    assert all(later >= earlier - 2 for earlier, later in zip(lengths, lengths[1:], strict=False))
    for text in seen["texts"]:  # nothing twice, nothing left out: each is how the answer begins
        assert final.replace("-", "").startswith(re.sub(r"[\s-]+", "", text)), text
    expect(alice.locator(".words li")).to_have_count(6)


HURRY = "const own = AbortSignal.timeout.bind(AbortSignal); AbortSignal.timeout = () => own(300);"


def test_a_rendering_that_never_comes_is_asked_for_again(sign_in: SignIn, slow: None) -> None:
    alice = new_chat(sign_in)
    alice.add_init_script(HURRY)
    alice.reload()
    asked: list[Route] = []

    def hang(route: Route) -> None:
        asked.append(route)
        if len(asked) > 1:
            route.continue_()

    alice.route("**/draft", hang)
    say(alice, "Hello, who are you?")
    expect(alice.locator(".words").last).to_contain_text("Try one of these")
    assert len(asked) > 1


def test_code_is_copied(sign_in: SignIn) -> None:
    alice = new_chat(sign_in)
    alice.context.grant_permissions(["clipboard-read", "clipboard-write"])
    say(alice, "Read notes.txt")
    block = alice.locator(".words pre")
    expect(block).to_contain_text("Launch notes")
    expect(alice.locator("#dots")).to_have_count(0)
    block.hover()
    alice.get_by_role("button", name="Copy").click()
    expect(alice.get_by_role("button", name="Copied")).to_be_visible()
    expect(alice.locator("#announce")).to_have_text("Copied")
    copied = alice.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("Launch notes\n") and "Copy" not in copied


def test_a_question_waits_through_a_restart_and_is_answered_with_a_choice(
    nod: System, sign_in: SignIn
) -> None:
    alice, rita = new_chat(sign_in), sign_in("rita", "/approvals/")
    alice.locator("#examples").get_by_role("link", name="Ask me which report").click()
    expect(alice.get_by_label("Message")).to_have_value("Ask me which report to read")
    alice.get_by_role("button", name="Send").click()
    asked = alice.locator(".question")
    expect(asked).to_contain_text("Which report should I read?")
    expect(alice.locator("#waits")).to_contain_text("as soon as you answer")
    expect(rita.locator("#waiting .row", has_text="handoff_to_user")).to_have_count(0)
    nod.restart()
    alice.reload()
    alice.get_by_role("button", name="reports/2025-q4.txt").click()
    expect(asked).to_contain_text("You answered reports/2025-q4.txt")
    expect(alice.locator(".words").last).to_contain_text("Revenue 1.4 M")


def test_a_question_is_answered_in_words(sign_in: SignIn) -> None:
    alice = new_chat(sign_in)
    say(alice, "Ask me whether I like tea")
    alice.get_by_label("Your answer").fill("Only green <b>tea</b>")
    alice.get_by_role("button", name="Answer").click()
    expect(alice.locator(".question")).to_contain_text("You answered Only green <b>tea</b>")
    expect(alice.locator(".words").last).to_contain_text("You said: Only green <b>tea</b>")
    say(alice, "Ask me whether I like milk")
    expect(alice.get_by_placeholder("Write an answer…")).to_be_visible()
    alice.get_by_label("Message").fill("With honey")
    alice.get_by_role("button", name="Send").click()
    expect(alice.locator(".question").last).to_contain_text("You answered With honey")
    expect(alice.get_by_label("Message")).to_have_value("")


def test_chats_are_named_found_and_put_away(sign_in: SignIn) -> None:
    word = address().partition("@")[0]
    alice = new_chat(sign_in)
    say(alice, f"What is the weather in {word}?")
    expect(alice.locator(".words").last).to_contain_text("weather")
    alice.get_by_text("Rename or archive").click()
    alice.get_by_label("Name").fill(f"Sunny {word[::-1]}")
    alice.get_by_role("button", name="Rename").click()
    expect(alice.get_by_role("heading", level=1)).to_have_text(f"Sunny {word[::-1]}")
    alice.get_by_text("Rename or archive").click()
    alice.get_by_role("button", name="Archive this chat").click()
    alice.wait_for_url("**/chat/")
    entry = alice.locator("#sessions li", has_text=word[::-1])
    expect(entry).to_have_count(0)
    find = alice.get_by_label("Search your chats")
    find.fill(f"{word}x")
    expect(alice.locator("#sessions")).to_contain_text(f"No chats match “{word}x”.")
    expect(find).to_be_focused()
    find.press("Backspace")
    expect(entry).to_contain_text("archived")
    find.press("Enter")
    alice.wait_for_url(f"**/chat/?q={word}")
    entry.get_by_role("link").click()
    alice.get_by_label("Search your chats").fill(word)
    expect(alice.locator("#sessions .side-note")).to_contain_text("1 chat with")
    say(alice, "Thank you")
    expect(alice.locator("#flow > .words").last).not_to_contain_text(word)
    expect(alice.locator("#sessions .side-note")).to_contain_text("1 chat with")
    expect(alice.locator("#sessions li", has_text=word[::-1])).not_to_contain_text("archived")


def test_a_message_is_written_anew(sign_in: SignIn) -> None:
    alice = new_chat(sign_in)
    say(alice, "What is the weather in Bnro?")
    expect(alice.locator(".words").last).to_contain_text("Bnro")
    alice.get_by_label("Message").fill("A draft")
    again = alice.get_by_label("Other words")
    for leave in ("Escape", "Cancel"):
        alice.get_by_text("Edit", exact=True).click()
        expect(again).to_be_focused()
        alice.keyboard.type(" please")
        expect(again).to_have_value(re.compile(r"in Bnro\?( please)+$"))
        if leave == "Escape":
            alice.keyboard.press(leave)
        else:
            alice.get_by_role("button", name=leave).click()
        expect(again).to_be_hidden()
        expect(alice.get_by_label("Message")).to_have_value("A draft")
    alice.get_by_text("Edit", exact=True).click()
    expect(again).to_have_value("What is the weather in Bnro?")
    again.fill("What is the weather in Brno?")
    alice.get_by_role("button", name="Ask again").click()
    expect(alice.locator("#flow > .words").last).to_contain_text("Brno")
    expect(alice.locator("#flow > .bubble")).to_have_text(["What is the weather in Brno?"])
    folded = alice.locator("#flow > .superseded")
    expect(folded).to_contain_text("Before you wrote it anew: “What is the weather in Bnro?”")
    folded.locator("summary").first.click()
    expect(folded.locator(".call")).to_contain_text("get_weather")
    alice.reload()
    expect(alice.locator("#flow > .bubble")).to_have_text(["What is the weather in Brno?"])


@pytest.fixture
def lenient(nod: System) -> Iterator[None]:
    """Bob may decide what he asks for, while the test lasts."""
    shell(nod, LENIENT)
    yield
    shell(nod, STRICT)


@pytest.mark.usefixtures("lenient")
def test_who_may_decide_does_so_in_the_chat_but_not_by_accident(nod: System, sign_in: SignIn) -> None:
    bob, to, other = new_chat(sign_in, "bob"), address(), address()
    say(bob, f"Email {to} about the launch")
    approve = bob.get_by_role("button", name="Approve")
    expect(approve).to_be_visible()
    expect(bob.locator(".call")).to_contain_text(to)
    bob.evaluate("document.querySelector('form[data-decision]').closest('.call').style.marginTop = '3px'")
    bob.evaluate("document.querySelector('form[data-decision]').requestSubmit()")
    expect(bob.locator("#toast")).to_contain_text("Not taken")
    assert sent(nod, to) == 0
    bob.wait_for_timeout(QUIET)
    approve.click()
    expect(bob.locator(".words").last).to_contain_text(f"Email sent to {to}")
    assert sent(nod, to) == 1
    say(bob, f"Email {other} about the launch")
    expect(bob.get_by_role("button", name="Approve")).to_be_visible()
    bob.wait_for_timeout(QUIET)
    bob.get_by_text("Deny…").click()
    bob.get_by_label("Why not?").fill("Not on a Sunday.")
    bob.wait_for_timeout(QUIET)
    bob.get_by_role("button", name="Deny", exact=True).click()
    expect(bob.locator(".words").last).to_contain_text("Not on a Sunday.")
    assert sent(nod, other) == 0


def test_who_waits_long_reminds_the_reviewers(nod: System, sign_in: SignIn) -> None:
    alice, rita, to = new_chat(sign_in), sign_in("rita", "/approvals/"), address()
    say(alice, f"Email {to} about the launch")
    arrives(rita, to)
    expect(alice.locator(".nudge")).to_have_count(0)
    shell(nod, LONG_AGO)
    alice.reload()
    expect(alice.locator(".nudge")).to_contain_text("can decide")
    alice.get_by_role("button", name="Remind them").click()
    expect(alice.locator(".nudge")).to_contain_text("Reminded")
    expect(alice.get_by_role("button", name="Remind them")).to_have_count(0)
    open_call(rita, to)
    rita.get_by_role("button", name="Approve").click()
    expect(alice.locator(".words").last).to_contain_text(f"Email sent to {to}")


def test_a_file_is_attached_and_read(sign_in: SignIn, tmp_path: Path) -> None:
    alice = new_chat(sign_in)
    (tmp_path / "plan.md").write_text("The plan: tea at four.")
    (tmp_path / "cat.jpg").write_bytes(b"\xff\xd8")
    alice.locator("#files").set_input_files([tmp_path / "plan.md", tmp_path / "cat.jpg"])
    expect(alice.locator("#chosen li")).to_have_count(2)
    alice.get_by_label("Message").fill("What does it say?")
    alice.get_by_role("button", name="Send").click()
    expect(alice.locator("#text-error")).to_contain_text("cat.jpg is not a text file")
    expect(alice.get_by_label("Message")).to_have_value("What does it say?")
    alice.get_by_role("button", name="Leave out cat.jpg").click()
    alice.get_by_role("button", name="Send").click()
    expect(alice.locator(".words").last).to_contain_text("tea at four")
    expect(alice.locator(".files .chip")).to_have_text("plan.md")
    expect(alice.locator("#chosen li")).to_have_count(0)


def test_it_fits_a_phone(sign_in: SignIn) -> None:
    alice = new_chat(sign_in, viewport={"width": 390, "height": 844})
    width = "document.scrollingElement.scrollWidth"
    assert alice.evaluate(width) == 390
    say(alice, "Ask me which report to read")
    expect(alice.locator(".question")).to_be_visible()
    assert alice.evaluate(width) == 390
    inside = "(box => box.right <= document.querySelector('.talk').getBoundingClientRect().right - 16)"
    assert alice.evaluate(f"{inside}(document.querySelector('.composer .box').getBoundingClientRect())")
    alice.get_by_text("Rename or archive").click()
    assert alice.evaluate(width) == 390
