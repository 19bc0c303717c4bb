"""Being told: in the browser, by mail, as an app. With a real browser, which has no push service to subscribe to."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import SignIn, type_name_and_password
from tests.e2e.test_journey import QUIET, address, deny, open_call, say
from tests.system import PATIENCE, System

POINT = (  # a browser's public key
    "BFFZC3pRUUDS14TIVghmj9/vjIL9H1vlJCFVSg3D0DPt4MF9qJBKcn2K4b82v4p5Jg0BLwDU2AiI0dC7RP2hbaQ="
)
# A tab behind another one, whose notifications and tones are counted instead of shown.
SPY = """
  window.told = []; window.tones = 0; window.behind = false;
  Object.defineProperty(document, "hidden", { get: () => window.behind });
  window.Notification = class {
    constructor(title, options) { window.told.push([title, options.tag, options.body]); }
    static permission = "granted";
    static async requestPermission() { window.asked = true; return "granted"; }
  };
  const start = OscillatorNode.prototype.start;
  OscillatorNode.prototype.start = function (at) { window.tones += 1; start.call(this, at); };
"""


@pytest.fixture
def rita(sign_in: SignIn) -> Page:
    page = sign_in("rita", "/approvals/", permissions=["notifications"])
    page.add_init_script(SPY)
    page.goto("/notifications/")
    return page


def until(page: Page, condition: str) -> None:
    """wait_for_function would need an eval that these pages do not allow."""
    deadline = time.monotonic() + PATIENCE
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def turn_on(page: Page, name: str) -> None:
    button = page.get_by_role("button", name=name)
    button.click()
    expect(button).to_have_text("Turn off")


def ask(alice: Page) -> str:
    to = address()
    say(alice, f"Email {to} about the launch")
    return to


def test_it_tells_of_a_call_behind_another_tab_and_only_there(rita: Page, sign_in: SignIn) -> None:
    alice = sign_in("alice")
    assert rita.evaluate("window.asked") is None, "nothing is asked for before a click"
    turn_on(rita, "In this browser")
    assert rita.evaluate("window.asked")
    rita.goto("/approvals/history/")
    before = int(rita.locator("#pending").get_attribute("data-count") or 0)
    ask(alice)
    expect(rita.locator("#pending")).to_have_attribute("data-count", str(before + 1))
    rita.wait_for_timeout(3500)  # by then nobody has looked at this tab lately
    assert rita.evaluate("window.told") == []
    rita.evaluate("window.behind = true")
    to = ask(sign_in("alice", "/chat/"))
    until(rita, "window.told.length == 1")
    [title, tag, body] = rita.evaluate("window.told[0]")
    assert (title, tag) == (f"{before + 2} calls wait", "nod-calls")
    assert to not in f"{title}{body}"
    rita.evaluate("window.behind = false")
    rita.goto("/approvals/")
    open_call(rita, to)
    deny(rita, "Only a test.")
    expect(rita.locator("#pending")).to_have_attribute("data-count", str(before + 1))
    assert rita.evaluate("window.told") == []


def test_a_sound_only_where_it_was_turned_on(rita: Page, sign_in: SignIn) -> None:
    turn_on(rita, "Sound")
    until(rita, "window.tones == 2")  # what it sounds like
    rita.goto("/approvals/history/")
    rita.get_by_role("heading", name="History").click()  # browsers allow it from the first click on
    rita.evaluate("window.behind = true")
    ask(sign_in("alice"))
    until(rita, "window.tones == 2")
    assert rita.evaluate("window.told") == []
    rita.goto("/notifications/")
    rita.get_by_role("button", name="Sound").click()
    expect(rita.get_by_role("button", name="Sound")).to_have_text("Turn on")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_its_page(sign_in: SignIn, scheme: str) -> None:
    page = sign_in("rita", "/notifications/", color_scheme=scheme, viewport={"width": 390, "height": 844})
    expect(page.locator("#push-state")).not_to_be_empty()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_what_is_turned_on_stays_on(rita: Page) -> None:
    turn_on(rita, "In this browser")
    rita.reload()
    expect(rita.get_by_role("button", name="In this browser")).to_have_text("Turn off")
    rita.get_by_role("button", name="In this browser").click()
    rita.reload()
    expect(rita.get_by_role("button", name="In this browser")).to_have_text("Turn on")


def test_a_device_is_subscribed_with_the_key_of_this_nod(nod: System, rita: Page) -> None:
    """The push service is a stand-in: this Chromium has none."""
    rita.add_init_script(
        """
      let here = null;
      const bytes = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0)).buffer;
      const KEYS = { auth: bytes("MDEyMzQ1Njc4OWFiY2RlZg=="), p256dh: bytes("POINT") };
      PushManager.prototype.getSubscription = async () => here;
      PushManager.prototype.subscribe = async ({ applicationServerKey: key }) => {
        if (key.length !== 65 || key[0] !== 4) throw new Error("no key");
        here = { endpoint: "https://push.example.com/e2e", getKey: (name) => KEYS[name],
          unsubscribe: async () => { here = null; } };
        return here;
      };
    """.replace("POINT", POINT)
    )
    rita.reload()
    push = rita.get_by_role("button", name="Push to this device")
    push.click()
    expect(rita.locator("#push-state")).to_have_text("On for this device.")
    rita.reload()  # the stand-in forgets what it had; Nod does not
    expect(rita.get_by_text("1 device of yours takes them.")).to_be_visible()
    push.click()
    expect(rita.locator("#push-state")).to_have_text("On for this device.")
    push.click()
    expect(rita.locator("#push-state")).to_have_text("Off for this device.")
    rita.reload()
    expect(rita.get_by_text("takes them.")).to_have_count(0)


def test_it_is_an_app_and_says_when_it_is_offline(sign_in: SignIn) -> None:
    page = sign_in("rita", "/approvals/", viewport={"width": 390, "height": 844})
    about = page.evaluate(
        "fetch(document.querySelector('link[rel=manifest]').href).then((got) => got.json())"
    )
    for icon in about["icons"]:
        size = page.evaluate(
            "async (src) => { const image = new Image(); image.src = src; await image.decode(); return image.width; }",
            icon["src"],
        )
        assert f"{size}x{size}" == icon["sizes"]
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.reload()  # one that was on its way when the worker began is not the worker's yet
    until(page, "!!navigator.serviceWorker.controller")
    page.context.set_offline(True)
    page.goto("/approvals/history/")
    expect(page.get_by_role("heading", name="You are offline.")).to_be_visible()
    expect(page.get_by_text("Nothing is decided.")).to_be_visible()
    assert page.evaluate("caches.keys()") == []
    page.context.set_offline(False)
    page.get_by_role("link", name="Try again").click()
    expect(page.get_by_role("heading", name="History")).to_be_visible()


def test_a_push_shows_a_number_and_opens_pages_of_this_site_alone(nod: System, rita: Page) -> None:
    rita.evaluate("navigator.serviceWorker.ready.then(() => true)")
    [worker] = rita.context.service_workers
    said = [
        {"count": 3, "open": "/approvals/"},
        {"count": "<b>", "open": "https://evil.example/"},
        {"open": "//evil.example/"},
        {"count": 1, "open": "javascript:alert(1)"},
        None,
    ]
    shown, opened = worker.evaluate(
        """async (said) => {
          const shown = [], opened = [];
          self.registration.showNotification = async (title, options) => { shown.push([title, options.data.open]); };
          self.clients.openWindow = async (address) => { opened.push(address); };
          self.clients.matchAll = async () => [];
          const done = [];
          const waitUntil = (it) => done.push(it);
          const happen = (name, more) => self.dispatchEvent(Object.assign(new Event(name), { waitUntil, ...more }));
          for (const each of said) {
            happen("push", { data: { json: () => each } });
            happen("notificationclick", { notification: { close() {}, data: each } });
          }
          await Promise.all(done);
          return [shown, opened];
        }""",
        said,
    )
    queue = f"{nod.url}/approvals/"
    assert shown[0] == ["3 calls wait for you", queue]
    assert shown[1:] == [["A call waits for you", queue]] * 4
    assert opened == [queue] * 5


@pytest.fixture
def mails(nod: System) -> Iterator[Callable[[], dict[str, str]]]:
    """mails(): what Nod itself wrote about deleted files, by address, once two people have it."""
    set_notify(nod, "email")

    def read() -> dict[str, str]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if len(texts := written(nod)) >= 2:
                return {re.findall(r"^To: (.*)$", text, re.M)[0]: text for text in texts}
            time.sleep(0.1)
        raise AssertionError("no two mails came")

    yield read
    set_notify(nod, "")


def written(nod: System) -> list[str]:
    """The mails that Nod itself wrote; several may be in one file."""
    files = (nod.folder / "notices").glob("*.log")
    return [part for file in files for part in file.read_text().split("-" * 79) if "Subject:" in part]


def set_notify(nod: System, value: str) -> None:
    shell(nod, f"ToolPolicy.objects.filter(tool='delete_files').update(notify='{value}')")


def ripen(nod: System) -> None:
    """A minute goes by."""
    shell(nod, "ToolCall.objects.filter(announce_at__isnull=False).update(announce_at='2026-01-01T00:00Z')")


def shell(nod: System, statement: str) -> None:
    imports = "from approvals.models import ToolCall, ToolPolicy"
    nod.manage("shell", "--no-imports", "--command", f"{imports}\n{statement}")


def test_two_reviewers_get_one_mail_each_whose_link_opens_the_call(
    nod: System, sign_in: SignIn, chromium: Browser, mails: Callable[[], dict[str, str]]
) -> None:
    alice = sign_in("alice", "/chat/")
    say(alice, "Please delete tmp/old.log")
    expect(alice.locator(".call .state").last).to_contain_text("Waiting for")
    ripen(nod)
    found = mails()
    assert sorted(found) == ["remy@example.com", "rita@example.com"]
    text = found["rita@example.com"]
    assert "delete_files for alice, high risk" in text
    assert "old.log" not in text
    [link] = re.findall(rf"{re.escape(nod.url)}/approvals/[0-9a-f-]+/", text)
    with chromium.new_context() as fresh:
        page = fresh.new_page()
        page.goto(link)
        type_name_and_password(page, "rita")
        expect(page.locator("#card")).to_contain_text("delete_files")
        assert page.url == link
        page.wait_for_timeout(QUIET)
        deny(page, "Only a test.")
    assert len(written(nod)) == 2
    assert all("Auto-Submitted" not in str(letter) for letter in nod.mails())


def test_a_thumb_reaches_what_decides(sign_in: SignIn) -> None:
    to = ask(sign_in("alice", "/chat/"))
    page = sign_in(
        "rita", "/approvals/", viewport={"width": 390, "height": 600}, has_touch=True, is_mobile=True
    )
    open_call(page, to)
    expect(page.locator("#card")).to_be_visible()
    for place in (0, 10_000):
        page.evaluate(f"scrollTo(0, {place})")
        bar = page.locator("#bar").bounding_box()
        assert bar is not None
        assert round(bar["y"] + bar["height"]) == 600
        for button in page.locator("#bar-row").locator("button, a").all():
            box = button.bounding_box()
            if box is not None:
                assert box["height"] >= 44
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_role("button", name="Deny…").tap()
    page.get_by_label(re.compile("Why not")).fill("Only a test.")
    page.wait_for_timeout(QUIET)
    page.get_by_role("button", name="Deny", exact=True).tap()
    expect(page.locator("#outcome")).to_contain_text("Denied by rita")
