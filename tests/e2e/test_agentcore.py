"""An agent that lives on AgentCore, from the administrator's page to the mail. Nothing is pretended but AWS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, expect

from tests.e2e.conftest import SignIn
from tests.e2e.test_journey import address, arrives, open_call
from tests.fakes.agentcore import ARN, AgentCoreServer

NAME = "Remote helper"


@contextmanager
def lives_there(admin: Page) -> Iterator[None]:
    """An administrator makes an agent of it, and takes it out of use at the end."""
    admin.get_by_label("Name:").fill(NAME)
    admin.get_by_label("Runtime:").select_option("agentcore")
    admin.get_by_label("Runtime's ARN:").fill(ARN)
    admin.get_by_label("Provider:").select_option("demo")
    admin.get_by_label("Parameters:").fill('{"delay_ms": 0}')
    admin.locator("#id_tools_from").select_option(label="send_email")
    admin.get_by_role("button", name="Choose selected tool").click()
    admin.get_by_role("button", name="Save", exact=True).click()
    expect(admin.locator(".messagelist")).to_contain_text("was added successfully")
    try:
        yield
    finally:
        admin.get_by_role("link", name=NAME).first.click()
        admin.get_by_label("Active").uncheck()
        admin.get_by_role("button", name="Save", exact=True).click()
        expect(admin.locator(".messagelist")).to_contain_text("was changed successfully")


def test_its_pause_is_decided_on_the_desk_and_it_sends_once(
    agentcore: AgentCoreServer, sign_in: SignIn
) -> None:
    to = address()
    hosted = agentcore.hosted
    with lives_there(sign_in("admin", "/admin/agents/agent/add/")):
        alice, rita = sign_in("alice", "/chat/"), sign_in("rita", "/approvals/")
        alice.get_by_label("Agent").select_option(label=NAME)
        alice.get_by_label("Message").fill(f"Email {to} about the launch")
        alice.get_by_role("button", name="Send").click()
        arrives(rita, to)
        assert hosted.mails() == []
        hosted.kill()  # as AgentCore does with a session that is idle
        open_call(rita, to)
        rita.get_by_role("button", name="Approve").click()
        expect(rita.locator("#outcome")).to_contain_text("Approved by rita")
        expect(alice.locator(".words").last).to_contain_text(f"Email sent to {to}", timeout=60_000)
    assert (hosted.starts, len(hosted.mails())) == (2, 1)
    assert to in hosted.mails()[0]
