"""A real Nod and a real Chromium, one of each for all browser tests of a worker."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.fakes.agentcore import AgentCoreServer, Hosted
from tests.system import System

FLAGS = [
    "--no-sandbox",
    "--process-per-site",  # pages of a Nod share a renderer: starting one costs as much as a page
    "--in-process-gpu",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The shell is the same browser without windows of its own, and opens a page in a third of the time.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
SignIn = Callable[..., Page]
Profiles = Callable[[System, str], BrowserContext]

# What Chromium and htmx log by themselves when a decision is refused on purpose, or the network or the server is
# away; htmx logs afterRequest as an error for requests that got no answer, and only for these.
EXPECTED = (
    "the server responded with a status of 4",
    "Response Status Error Code 4",  # htmx, of the same
    "ERR_INTERNET_DISCONNECTED",
    "ERR_CONNECTION",
    "WebSocket",
    "htmx:afterRequest",
    "htmx:sendError",
)

# Those of a group share a system and a browser, and groups take about as long. There is one more worker than cores:
# much of the time is waiting, for leases, polls and the half second in which nothing is decided.
GROUPS = {
    "faults": ("test_healing", "test_unknown", "test_hostile", "test_keyboard"),
    "chat": ("test_chat", "test_card", "test_notifications"),
    "desk": ("test_desk", "test_journey", "test_slow_network"),
    "pages": ("test_accessibility", "test_policies", "test_insights", "test_restart", "test_agentcore"),
}

expect.set_options(timeout=15_000)


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These come first, since they take longest; then other groups."""
    groups = {name: group for group, names in GROUPS.items() for name in names}
    for item in items:
        if "/e2e/" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group(groups[item.path.stem]))
    items.sort(
        key=lambda item: (
            item.get_closest_marker("browser") is None,
            item.get_closest_marker("xdist_group") is None,
        )
    )


@pytest.fixture(scope="module")  # its event loop must be gone before an async test of another module runs
def chromium() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a test arms a failpoint (approvals/failpoints.py)."""
    return tmp_path_factory.mktemp("failpoints")


@pytest.fixture(scope="session")
def agentcore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentCoreServer]:
    """What stands in for AWS. The agent behind it starts with the first request."""
    with AgentCoreServer(Hosted(tmp_path_factory.mktemp("hosted"))) as server:
        yield server
    assert "Traceback" not in server.hosted.log(), server.hosted.log()


@pytest.fixture(scope="session")
def nod(
    tmp_path_factory: pytest.TempPathFactory, points: Path, agentcore: AgentCoreServer
) -> Iterator[System]:
    env = agentcore.env() | {"NOD_FAILPOINTS": str(points)}
    system = System(tmp_path_factory.mktemp("nod"), **env).prepare()
    with system.up():
        yield system
    assert "Traceback" not in system.log(), system.log()
    faults = [line for line in system.log().splitlines() if "ERROR" in line]
    assert not faults, system.log()
    assert "@example.com" not in system.log(), "arguments do not belong into logs"


def type_name_and_password(page: Page, user: str) -> None:
    if "/login/" not in page.url:
        page.goto("/login/")
    page.get_by_label("Name").fill(user)
    page.get_by_label("Password").fill("nod")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/login/" not in url)


@pytest.fixture(scope="module")
def profile(chromium: Browser) -> Iterator[Profiles]:
    """Each person's browser. It is kept, as a real one is: people sign in once, files and scripts are read once."""
    made: dict[tuple[str, str], BrowserContext] = {}

    def find(nod: System, user: str) -> BrowserContext:
        if (nod.url, user) not in made:
            made[nod.url, user] = chromium.new_context(base_url=nod.url)
        return made[nod.url, user]

    yield find
    for context in made.values():
        context.close()


@pytest.fixture
def sign_in_to(chromium: Browser, profile: Profiles) -> Iterator[Callable[[System], SignIn]]:
    """Opens a page as somebody. At the end no console may hold an error."""
    pages: list[Page] = []
    own: list[BrowserContext] = []
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(word in message.text for word in EXPECTED):
            complaints.append(f"{message.text} ({message.location})")

    def open_page(nod: System, user: str, path: str = "/", **options: Any) -> Page:
        """`options`: of a browser of its own, such as the size of a phone."""
        context = profile(nod, user)
        if options:
            signed_in = context.storage_state()
            context = chromium.new_context(base_url=nod.url, storage_state=signed_in, **options)
            own.append(context)
        page = context.new_page()
        pages.append(page)
        page.on("console", listen)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path)
        if "/login/" in page.url:
            type_name_and_password(page, user)
            page.goto(path)
        return page

    yield lambda nod: partial(open_page, nod)
    for page in pages:
        page.context.set_offline(False)
        page.close()
    for context in own:
        context.close()
    assert not complaints


@pytest.fixture
def sign_in(nod: System, sign_in_to: Callable[[System], SignIn]) -> SignIn:
    """The same, for the system that all tests share."""
    return sign_in_to(nod)
