"""The corpus of tests/hostile.py in Chromium: whatever a model writes, the page around it stays as it is.

Each value is compared with harmless words in the same place: the same elements and attributes outside the value
holders (`data-value`), the same requests, no script, and each character that deceives marked.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog

from tests.hostile import Hostile
from tests.hostile_calls import families, harmless, subject
from tests.system import System

pytestmark = pytest.mark.timeout(600)  # making the calls of the corpus is part of the first test

ROOT = Path(__file__).resolve().parents[2]
SKELETON = (Path(__file__).parent / "skeleton.js").read_text()
ARMED = "window.__pwned = 0; window.pwned = () => { window.__pwned += 1; };"
# What a page fetches anew when a doorbell rings, so that what htmx puts into it is looked at as well.
IDLE = """const BUSY = ".htmx-request, .htmx-swapping, .htmx-settling";
  const idle = () => document.querySelector(BUSY) ? setTimeout(idle, 5) : done();"""
SWAPPED = f"""([path, target, swap]) => new Promise((done) => {{
  {IDLE}
  htmx.ajax("GET", path, {{ target, swap }}).then(() => setTimeout(idle, 5));
}})"""
REFRESHED = """() => new Promise((done) => {
  IDLE
  const live = () => {
    if (document.getElementById("live").dataset.state !== "live") return setTimeout(live, 5);
    nodRefresh();
    setTimeout(idle, 60);
  };
  live();
})""".replace("IDLE", IDLE)
# Each row of a list that holds something untrusted: the call it is about, and its skeleton.
ROWS = f"""(known) => {{
  const skeleton = {SKELETON};
  const holders = [...document.querySelectorAll("li [data-value], tr [data-value]")];
  const rows = new Set(holders.filter((one) => !one.closest("#card")).map((one) => one.closest("li, tr")));
  const single = [...rows].filter((row) => !row.matches(".bunch"));
  return single.map((row) => [known.find((call) => row.innerHTML.includes(call)), skeleton(row)]);
}}"""
# The list beside the card says by itself that the card is looked at, and fetches the rows of which that is news.
OWN = re.compile(
    r"/approvals/(?:[0-9a-f-]{36}/look|favicon\.svg\?n=\d+|\?(?:changed|selected)=[0-9a-f%C,&=shown-]*)$"
)
DONE_TO = 3  # each third is looked at on the card of a call that is done, too; the chat shows all of them
GONE_TO = 9  # each eighth page is gone to by its address, the others come by htmx
# Markdown reads these as line ends or as nothing, and NUL cannot be stored in a conversation.
LOST_IN_MARKDOWN = {"U+0000", "U+000D"}


@dataclass
class Seen:
    """One page: its skeleton, and where its requests went."""

    skeleton: dict[str, Any]
    requests: set[str]

    @property
    def lines(self) -> list[str]:
        return list(self.skeleton["lines"])


@dataclass
class Looker:
    """A person's browser that notes each request, dialog, error and script."""

    context: BrowserContext
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.add_init_script(ARMED)
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", self._refuse)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda message: self._hear(message.type, message.text))
        self.page.on("popup", lambda page: self.faults.append(f"a window: {page.url}"))

    def _refuse(self, dialog: Dialog) -> None:
        self.faults.append("a dialog")
        dialog.dismiss()

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.faults.append(text)

    def go(self, path: str) -> Seen:
        """A page by its address; then what it fetches anew at a doorbell."""
        self.requests.clear()
        self.page.goto(path)
        self.page.evaluate(REFRESHED)
        return self._seen(path)

    def swap(self, path: str) -> Seen:
        """The same by htmx, in the page that is open: it puts a fragment where the one before stood."""
        self.requests.clear()
        target, how = (
            ("#chat", "morph:innerHTML") if path.startswith("/chat/") else ("#desk-detail", "innerHTML")
        )
        self.page.evaluate(SWAPPED, [path, target, how])
        return self._seen(path)

    def _seen(self, path: str) -> Seen:
        skeleton = self.page.evaluate(f"({SKELETON})(document.documentElement)")
        assert skeleton["pwned"] == 0, f"a script ran on {path}"
        assert not self.faults, f"{path}: {self.faults}"
        assert not skeleton["bad"], f"{path}: {skeleton['bad']}"
        return Seen(skeleton, {_steady(url) for url in self.requests if not OWN.search(url)})


def _steady(url: str) -> str:
    return re.sub(r"seen=[^&]*", "seen=", re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "U", url))


class Desk:
    """A system of its own with all calls of the corpus, since its lists would hide those of other tests."""

    def __init__(self, system: System, chromium: Browser) -> None:
        self.system, self._chromium = system, chromium
        command = [sys.executable, "-m", "tests.hostile_calls"]
        done = subprocess.run(command, env=system.env, cwd=ROOT, capture_output=True, text=True, check=True)
        made = json.loads(done.stdout)
        self.families: dict[str, Any] = made["families"]
        self.admin: str = made["admin"]

    def looker(self, cookie: str) -> Looker:
        context = self._chromium.new_context(base_url=self.system.url)
        context.add_cookies([{"name": "sessionid", "value": cookie, "url": self.system.url}])
        return Looker(context)


@pytest.fixture(scope="module")
def hostile_desk(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Desk]:
    system = System(tmp_path_factory.mktemp("hostile")).prepare()
    with system.up():
        yield Desk(system, chromium)
    assert "Traceback" not in system.log(), system.log()


def _path(made: dict[str, str], place: str) -> str:
    at = {"chat": f"/chat/{made['session']}/", "done": f"/approvals/{made['done']}/"}
    return at.get(place, f"/approvals/{made['pending']}/")


def _same(seen: Seen, reference: Seen, where: str) -> None:
    for mine, other in zip(seen.lines, reference.lines, strict=False):
        assert mine == other, where
    assert len(seen.lines) == len(reference.lines), where
    assert seen.requests <= reference.requests, where


def _shown(seen: Seen, hostile: Hostile) -> None:
    """On the card of the call that waits: the marks, no more and no less, and a sentence about them."""
    assert set(seen.skeleton["args"]) == hostile.marks, hostile.name
    told = [
        text
        for text in seen.skeleton["about"]
        if re.search("look-alike char|invisible or odd|direction", text)
    ]
    assert bool(told) == bool(hostile.marks), hostile.name


@pytest.mark.parametrize("family", families())
def test_the_page_outside_the_value_stays_as_it_is(hostile_desk: Desk, family: str) -> None:
    known = hostile_desk.families[family]
    for place, person in (("chat", 0), ("done", 1), ("waiting", 1)):
        looker = hostile_desk.looker(known["cookies"][person])
        references: dict[str, Seen] = {}
        for number, hostile in enumerate(families()[family]):
            if place == "done" and number % DONE_TO:
                continue
            kind = subject(hostile).kind
            mine, other = known["made"][hostile.name], known["made"][harmless(kind).name]
            if kind not in references:
                references[kind] = looker.go(_path(other, place))
            path = _path(mine, place)
            seen = looker.swap(path) if number % GONE_TO and "long" not in kind else looker.go(path)
            _same(seen, references[kind], f"{place} {hostile.name} {path}")
            if place == "waiting":
                _shown(seen, hostile)
            if place == "chat" and kind == "text":
                assert set(seen.skeleton["words"]) >= hostile.marks - LOST_IN_MARKDOWN, hostile.name
        looker.context.close()


def _lists(known: dict[str, Any]) -> dict[str, list[str]]:
    """The pages that list calls, and who reads them."""
    trail = [
        f"/audit/?kind={kind}&before={seq}"
        for seq in known["audit"]
        for kind in ("call.requested", "decision.made")
    ]
    return {"judge": ["/approvals/", "/approvals/history/"], "admin": trail}


@pytest.mark.parametrize("family", families())
def test_a_row_of_a_list_stays_as_it_is(hostile_desk: Desk, family: str) -> None:
    known = hostile_desk.families[family]
    kinds = {hostile.name: harmless(subject(hostile).kind).name for hostile in families()[family]}
    marked = {hostile.name: bool(hostile.marks) or hostile.misleads for hostile in families()[family]}
    named = {
        call: (name.partition("|")[0], place)
        for name, made in known["made"].items()
        for place, call in made.items()
        if place in ("pending", "denied", "done")
    }
    cookies = {"judge": known["cookies"][1], "admin": hostile_desk.admin}
    looked_at: dict[str, set[str]] = {}
    references: dict[str, dict[tuple[str, str], list[str]]] = {}
    for person, paths in _lists(known).items():
        looker = hostile_desk.looker(cookies[person])
        for path in paths:  # grows: the history has older pages
            looker.go(path)
            older = looker.page.get_by_role("link", name="Older")
            if "/history/" in path and older.count():
                paths.append(f"/approvals/history/{older.get_attribute('href')}")
            where = re.sub("[?&]before=[^&]*", "", path)
            rows = [(named[call], seen) for call, seen in looker.page.evaluate(ROWS, list(named)) if call]
            plain = references.setdefault(where, {})
            plain |= {key: row["lines"] for key, row in rows if key[0] not in kinds}
            for (name, place), row in rows:
                if name not in kinds or (kinds[name], place) not in plain:
                    continue  # few of the calls that were decided lately are listed beside those that wait
                looked_at.setdefault(where, set()).add(name)
                assert row["lines"] == plain[kinds[name], place], f"{path} {name}"
                if path == "/approvals/" and place == "pending":
                    assert bool(row["about"]) == marked[name], f"{path} {name}"
        looker.context.close()
    for path, names in looked_at.items():
        assert len(names) >= min(len(kinds), 40), path
    assert len(looked_at) == 4
