"""Two and three people side by side, on the real thing."""

from __future__ import annotations

import contextlib
import re
import secrets
from pathlib import Path

from playwright.sync_api import Dialog, Locator, Page, Route, TimeoutError, expect

from tests.e2e.conftest import SignIn, type_name_and_password
from tests.system import System

QUIET = 600  # ms after which a card takes decisions


def say(page: Page, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".bubble").last).to_have_text(text)


def address() -> str:
    """An address that no other test uses."""
    return f"dev-{secrets.token_hex(4)}@example.com"


def card_of(page: Page, row: Locator) -> Locator:
    """The card of a row. (Its texts would not do: the preview of trust names the other calls of the session.)"""
    return page.locator(f'#card[data-call="{row.get_attribute("data-call")}"]')


def arrives(page: Page, text: str, timeout: float = 15_000) -> Locator:
    """The row of the call that holds the text, once it is there; new calls wait behind a bar."""
    row = page.locator("#waiting li:not(.gone) > .row:not([data-bunch])", has_text=text)
    bar = page.locator("#held:visible")
    while not row.count():
        expect(row.or_(bar).first).to_be_attached(timeout=timeout)
        if bar.count():
            # It goes by itself when the last row does: then there is nothing to keep still, and what is new comes in.
            with contextlib.suppress(TimeoutError):
                bar.click(timeout=2_000)
    return row


def bunch_with(page: Page, text: str) -> Locator:
    """The calls in one row of which one holds the text."""
    return page.locator("#waiting .bunch", has=page.locator(".row:not([data-bunch])", has_text=text))


def open_call(page: Page, text: str) -> Locator:
    """Chooses the waiting call whose row holds the text; returns its card."""
    row = arrives(page, text)
    card = card_of(page, row)
    if row.is_hidden():  # in a row with others like it
        bunch_with(page, text).locator("> .row").click()
        member = page.locator("#members a", has_text=text)
        expect(member.or_(card)).to_be_visible()  # the row of the only one that is left leads to its card
        if member.is_visible():
            member.click()
    else:
        row.click()
    expect(card).to_be_visible()
    page.wait_for_timeout(QUIET)
    return card


def walk_to(page: Page, text: str) -> None:
    """Chooses the same with the keyboard: one row down at a time, each only once the card before is there."""
    arrives(page, text)
    chosen = page.locator("#waiting > li > .row[aria-current]")
    while not page.locator("#waiting > li > .row[aria-current]", has_text=text).count():
        before = chosen.get_attribute("href") if chosen.count() else ""
        page.keyboard.press("j")
        expect(page.locator(f'#waiting > li > .row[aria-current]:not([href="{before}"])')).to_have_count(1)
    expect(card_of(page, chosen)).to_be_visible()


STEADY = """(quiet) => new Promise((done) => {
  let was, since;
  const look = () => {
    const card = document.getElementById("card");
    const now = card && [card.dataset.call ?? card.dataset.together, card.dataset.seen, card.dataset.form,
      Math.round(card.getBoundingClientRect().top + scrollY)].join();
    if (now !== was) { was = now; since = performance.now(); }
    if (now && performance.now() - since >= quiet) done(); else setTimeout(look, 20);
  };
  look();
})"""


def steady(page: Page) -> None:
    """Until the card has stood as it is, where it is, for so long that it takes decisions."""
    page.evaluate(STEADY, QUIET)


def deny(page: Page, reason: str) -> None:
    page.get_by_role("button", name="Deny…").click()
    page.get_by_label(re.compile("Why not")).fill(reason)
    page.get_by_role("button", name="Deny", exact=True).click()
    expect(page.locator("#outcome")).to_contain_text("Denied by")


def sent(nod: System, to: str) -> int:
    return sum(mail["To"] == to for mail in nod.mails())


def test_it_shows_a_call_live_and_sends_the_mail_once(nod: System, sign_in: SignIn) -> None:
    rita, alice, to = sign_in("rita", "/approvals/"), sign_in("alice"), address()
    say(alice, f"Please send an email to {to} asking which features will be in the launch")
    row = arrives(rita, to)
    expect(alice.locator(".call .state")).to_contain_text("Waiting for")
    assert sent(nod, to) == 0
    card = open_call(rita, to)
    expect(card).to_contain_text("which features will be in the launch")
    expect(card).to_contain_text("Ask before mail goes out")
    rita.get_by_role("button", name="Approve").click()
    expect(rita.locator("#outcome")).to_contain_text("Approved by rita")
    expect(alice.locator(".words").last).to_contain_text(f"Email sent to {to}")
    expect(rita.locator("#outcome")).to_contain_text("Done")
    expect(row).to_have_count(0)
    assert sent(nod, to) == 1


def test_it_tells_the_chat_why_a_call_was_denied(nod: System, sign_in: SignIn) -> None:
    rita, alice, to = sign_in("rita", "/approvals/"), sign_in("alice"), address()
    say(alice, f"Email {to} about the launch")
    open_call(rita, to)
    deny(rita, "The launch is secret until Monday.")
    expect(alice.locator(".call .state")).to_contain_text("Denied by rita")
    expect(alice.locator(".words").last).to_contain_text("The launch is secret until Monday.")
    assert sent(nod, to) == 0


def test_it_trusts_in_one_session_only_until_it_is_revoked(nod: System, sign_in: SignIn) -> None:
    rita, alice = sign_in("rita", "/approvals/"), sign_in("alice")
    first, second, third, fourth = address(), address(), address(), address()
    say(alice, f"Email {first} about the launch")
    open_call(rita, first)
    rita.get_by_role("button", name="Trust…").click()
    rita.get_by_role("button", name="Approve and trust").click()
    expect(alice.locator(".words").last).to_contain_text(f"Email sent to {first}")
    say(alice, f"Email {second} about the launch")
    expect(alice.locator(".words").last).to_contain_text(f"Email sent to {second}")
    other = sign_in("alice", "/chat/")
    say(other, f"Email {third} about the launch")
    arrives(rita, third)
    alice.get_by_role("button", name="Revoke").click()
    expect(alice.get_by_role("button", name="Revoke")).to_have_count(0)
    say(alice, f"Email {fourth} about the launch")
    arrives(rita, fourth)
    assert [sent(nod, to) for to in (first, second, third, fourth)] == [1, 1, 0, 0]


def test_it_asks_nobody_about_the_weather(sign_in: SignIn) -> None:
    alice = sign_in("alice")
    say(alice, "What is the weather in Brno?")
    expect(alice.locator(".words").last).to_contain_text("Brno")
    expect(alice.locator(".call .state")).to_contain_text("done")


def test_it_never_offers_trust_for_deleting_files(nod: System, sign_in: SignIn) -> None:
    rita, alice = sign_in("rita", "/approvals/"), sign_in("alice")
    say(alice, "Please delete reports/2025-q3.txt")
    open_call(rita, "2025-q3")
    expect(rita.get_by_role("button", name="Approve")).to_be_visible()
    expect(rita.get_by_role("button", name="Trust…")).to_have_count(0)
    file = nod.folder / "workspace" / "reports" / "2025-q3.txt"
    assert file.exists()
    rita.get_by_role("button", name="Approve").click()
    expect(alice.locator(".words").last).to_contain_text("Deleted")
    assert not file.exists()


def test_it_decides_each_of_two_calls_by_itself(nod: System, sign_in: SignIn) -> None:
    rita, alice, yes, no = sign_in("rita", "/approvals/"), sign_in("alice"), address(), address()
    say(alice, f"email {yes} and {no} about the launch")
    open_call(rita, no)
    deny(rita, "Not this one.")
    open_call(rita, yes)
    rita.get_by_role("button", name="Approve").click()
    expect(alice.locator(".words").last).to_contain_text(f"Email sent to {yes}")
    assert (sent(nod, yes), sent(nod, no)) == (1, 0)


def test_it_tells_the_loser_of_a_race_who_decided(nod: System, sign_in: SignIn) -> None:
    rita, remy, alice, to = (
        sign_in("rita", "/approvals/"),
        sign_in("remy", "/approvals/"),
        sign_in("alice"),
        address(),
    )
    say(alice, f"Email {to} about the launch")
    open_call(rita, to)
    open_call(remy, to)
    remy.context.set_offline(True)  # remy's page does not hear of it
    rita.get_by_role("button", name="Approve").click()
    expect(rita.locator("#outcome")).to_contain_text("Approved by rita")
    remy.route("**/approvals/*/", lambda route: route.abort())
    remy.context.set_offline(False)
    remy.unroute("**/approvals/*/")
    expect(remy.locator("#outcome, .notice.bad").first).to_contain_text(re.compile("rita"))
    expect(alice.locator(".words").last).to_contain_text(f"Email sent to {to}")
    assert sent(nod, to) == 1


def test_it_says_at_once_that_somebody_else_decided(sign_in: SignIn) -> None:
    rita, remy, alice, to = (
        sign_in("rita", "/approvals/"),
        sign_in("remy", "/approvals/"),
        sign_in("alice"),
        address(),
    )
    say(alice, f"Email {to} about the launch")
    open_call(rita, to)
    open_call(remy, to)
    rita.get_by_role("button", name="Approve").click()
    expect(remy.locator("#outcome")).to_contain_text("Approved by rita")
    expect(remy.get_by_role("button", name="Approve")).to_have_count(0)


def test_it_shows_the_same_after_a_reload(sign_in: SignIn) -> None:
    alice, to = sign_in("alice"), address()
    say(alice, f"Email {to} about the launch")
    expect(alice.locator(".call .state")).to_contain_text("Waiting for")
    alice.wait_for_load_state()  # or else the text is read as it is laid out without the style sheet
    before = alice.locator("#flow").inner_text()
    alice.reload()
    clock = re.compile(r"\d+ (s|min)")
    assert clock.sub("", alice.locator("#flow").inner_text()) == clock.sub("", before)


def test_it_stops_a_waiting_run(nod: System, sign_in: SignIn) -> None:
    rita, alice, to = sign_in("rita", "/approvals/"), sign_in("alice"), address()
    say(alice, f"Email {to} about the launch")
    arrives(rita, to)
    rita.locator("#desk-detail").hover()
    alice.get_by_role("button", name="Stop").click()
    expect(alice.locator(".call .state")).to_contain_text("Stopped by alice")
    expect(rita.locator("#waiting .row", has_text=to)).to_have_count(0)
    say(alice, "What is the weather in Brno?")
    expect(alice.locator(".words").last).to_contain_text("Brno")
    assert sent(nod, to) == 0


def test_it_decides_with_the_keyboard_alone(nod: System, sign_in: SignIn) -> None:
    rita, alice, yes, no = sign_in("rita", "/approvals/"), sign_in("alice"), address(), address()
    other = sign_in("alice", "/chat/")
    say(alice, f"Email {yes} about the launch of {yes}")
    say(other, f"Email {no} about the launch of {no}")
    arrives(rita, no)
    for to, keys in ((yes, "a"), (no, "d")):
        walk_to(rita, to)
        rita.wait_for_timeout(QUIET)
        rita.keyboard.press(keys)
        if keys == "d":
            rita.keyboard.type("No, thank you.")
            rita.keyboard.press("Tab")
            rita.keyboard.press("Enter")
        expect(rita.locator("#outcome")).to_be_visible()
        rita.goto("/approvals/")
    expect(alice.locator(".words").last).to_contain_text(f"Email sent to {yes}")
    assert (sent(nod, yes), sent(nod, no)) == (1, 0)


def test_it_makes_nothing_of_markup_in_arguments(sign_in: SignIn) -> None:
    rita, alice, mark = sign_in("rita", "/approvals/"), sign_in("alice"), secrets.token_hex(4)
    requests: list[str] = []
    rita.on("request", lambda request: requests.append(request.url))
    text = f'<img src=/{mark} onerror="document.title=1"> <b hx-get="/{mark}" hx-trigger="load">x</b> {mark}'
    to = address()
    say(alice, f"Email {to} about {text}")
    card = open_call(rita, to)
    expect(card).to_contain_text(f"<img src=/{mark}")
    assert not [url for url in requests if mark in url]
    assert card.locator("img, [hx-get='/" + mark + "']").count() == 0


def test_it_keeps_what_is_typed_while_a_message_is_on_its_way(sign_in: SignIn) -> None:
    alice = sign_in("alice")
    say(alice, "What is the weather in Brno?")
    expect(alice.locator(".words").last).to_contain_text("Brno")
    alice.wait_for_load_state("networkidle")
    held: list[Route] = []
    alice.route("**/messages", lambda route: held.append(route))  # noqa: PLW0108 (playwright marks it)
    alice.get_by_label("Message").fill("The first")
    with alice.expect_request("**/messages"):
        alice.get_by_role("button", name="Send").click()
    alice.get_by_label("Message").fill("The second, not sent yet")
    with alice.expect_response("**/messages"):
        held[0].continue_()
    expect(alice.locator(".bubble").last).to_have_text("The first")
    expect(alice.get_by_label("Message")).to_have_value("The second, not sent yet")
    alice.reload()
    expect(alice.get_by_label("Message")).to_have_value("The second, not sent yet")


def test_it_leads_back_after_an_expired_login(sign_in: SignIn) -> None:
    alice = sign_in("alice")
    say(alice, "What is the weather in Brno?")
    expect(alice.locator(".words").last).to_contain_text("Brno")
    here = alice.url
    alice.get_by_label("Message").fill("A long text that must not get lost")
    alice.wait_for_load_state("networkidle")  # or else a refresh finds the login gone before the click does
    alice.context.clear_cookies(name="sessionid")
    alice.get_by_role("button", name="Send").click()
    alice.wait_for_url("**/login/**")
    type_name_and_password(alice, "alice")
    alice.wait_for_url(here)
    expect(alice.get_by_label("Message")).to_have_value("A long text that must not get lost")


def test_it_refuses_an_empty_and_an_overlong_message_and_keeps_the_text(sign_in: SignIn) -> None:
    alice = sign_in("alice")
    box = alice.get_by_label("Message")
    box.fill("x" * 200_000)
    alice.get_by_role("button", name="Send").click()
    expect(alice.locator("#text-error")).to_contain_text("20,000")
    assert len(box.input_value()) == 200_000
    box.fill("   ")
    alice.get_by_role("button", name="Send").click()
    expect(alice.locator("#text-error")).to_contain_text("empty")


def test_it_fits_a_phone(nod: System, sign_in: SignIn, tmp_path: Path) -> None:
    alice, to = sign_in("alice"), address()
    say(alice, f"Email {to} about the launch")
    rita = sign_in("rita", "/approvals/", viewport={"width": 390, "height": 800})
    open_call(rita, to)
    assert rita.evaluate("document.scrollingElement.scrollWidth") <= 390
    rita.get_by_role("button", name="Approve").click()
    expect(alice.locator(".words").last).to_contain_text(f"Email sent to {to}")
    assert sent(nod, to) == 1


AS_SOON_AS_SHOWN = """(call) => addEventListener("htmx:afterSettle", function once({ detail }) {
  if (detail.target.id !== "desk-detail" || document.getElementById("card").dataset.call !== call) return;
  removeEventListener("htmx:afterSettle", once);
  document.getElementById("approve-form").requestSubmit();
})"""
PUSHED = """() => {
  const pushed = document.createElement("div");
  pushed.style.height = "300px";
  document.body.prepend(pushed);
  document.getElementById("approve-form").requestSubmit();
}"""


def test_it_takes_no_decision_on_a_card_that_has_only_just_come_or_moved(sign_in: SignIn) -> None:
    rita, alice, to, other = sign_in("rita", "/approvals/"), sign_in("alice"), address(), address()
    second = sign_in("alice", "/chat/")
    say(alice, f"Email {other} about the launch of {other}")
    say(second, f"Email {to} about the launch of {to}")
    arrives(rita, to)
    open_call(rita, other)
    decided: list[str] = []
    rita.on("request", lambda request: decided.append(request.url) if "/decide" in request.url else None)
    row = rita.locator("#waiting .row", has_text=to)
    rita.evaluate(AS_SOON_AS_SHOWN, row.get_attribute("data-call"))
    row.click()
    expect(rita.get_by_text("Not taken: the card had only just appeared")).to_be_visible()
    rita.wait_for_timeout(QUIET)
    rita.evaluate(PUSHED)
    rita.wait_for_timeout(QUIET)
    assert decided == []
    rita.get_by_role("button", name="Approve").click()
    expect(rita.locator("#outcome")).to_contain_text("Approved by rita")
    assert len(decided) == 1


def test_it_closes_a_socket_that_is_sent_too_much(sign_in: SignIn) -> None:
    rita = sign_in("rita", "/approvals/")
    code = rita.evaluate(
        "() => new Promise((closed) => {"
        "  const socket = new WebSocket(location.origin.replace('http', 'ws') + document.body.dataset.socket);"
        "  socket.onopen = () => socket.send('x'.repeat(5000));"
        "  socket.onclose = ({ code }) => closed(code);"
        "})"
    )
    assert code in (1006, 1009), "daphne drops the connection: its answer is not always read any more"


def test_text_of_another_direction_stays_in_its_place(sign_in: SignIn) -> None:
    """Right-to-left text in an argument does not turn round what stands beside it."""
    rita, alice, to = sign_in("rita", "/approvals/"), sign_in("alice"), address()
    say(alice, f"Email {to} about the \u05d0\u05d1\u05d2 launch")
    card = open_call(rita, to)

    def kept(css: str) -> set[str]:
        return set(card.locator(css).evaluate_all("all => all.map(one => getComputedStyle(one).unicodeBidi)"))

    assert kept(".arg-value .prose, .arg-value .mono") == {"plaintext"}
    assert kept(".arg-name code") == {"isolate"}


HOSTILE = (
    "<script>document.title=1</script>",
    "<img src=/{mark} onerror=document.title=1>",
    "[a](javascript:document.title=1) ![x](/{mark})",
    "<svg/onload=document.title=1><a href=//{mark}>x",
    "{{{{7*7}}}} ${{7*7}} <%= 7*7 %> {{% now 'Y' %}}",
    '" autofocus onfocus=document.title=1 x="',
    "<iframe srcdoc='<script>parent.document.title=1</script>'></iframe>",
    "<form action=/{mark}><button hx-post=/{mark} hx-trigger=load>x",
    "</textarea></script><base href=//{mark}/>",
)


def unharmed(page: Page, mark: str) -> None:
    assert page.title() != "1"
    made = "iframe, base, [onerror], [onload], [onfocus], script:not([src]):not([nonce])"
    assert page.locator(made).count() == 0
    assert page.locator(f"[hx-post*='{mark}'], [href*='{mark}'], [src*='{mark}']").count() == 0


def test_hostile_words_do_nothing_wherever_they_are_shown(sign_in: SignIn) -> None:
    """As a message, an argument, a reason and an answer: on the queue and in the chat."""
    mark = secrets.token_hex(4)
    words = " ".join(text.format(mark=mark) for text in HOSTILE)
    rita, alice, to = sign_in("rita", "/approvals/"), sign_in("alice"), address()
    asked: list[str] = []

    def refuse(dialog: Dialog) -> None:
        asked.append(mark)
        dialog.dismiss()

    for page in (rita, alice):
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", refuse)
    say(alice, f"Email {to} about {words}")
    open_call(rita, to)
    unharmed(rita, mark)
    deny(rita, words)
    unharmed(rita, mark)
    expect(alice.locator(".words").last).to_contain_text("denied")
    unharmed(alice, mark)
    alice.reload()
    expect(alice.locator(".words").last).to_contain_text("denied")
    unharmed(alice, mark)
    rita.goto("/approvals/history/")
    unharmed(rita, mark)
    assert not [url for url in asked if mark in url]
