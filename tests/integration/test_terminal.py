"""`manage.py chat` in a real pseudo-terminal: real processes, SQLite alone, no Redis and no worker beside it."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.system import System
from tests.terminal import CTRL_C, CTRL_D, beside, terminal

pytestmark = [pytest.mark.xdist_group("terminal"), pytest.mark.timeout(180)]

MINE = """
from django.contrib.auth.models import Group
from approvals.models import ToolPolicy
policy = ToolPolicy.objects.get(tool="send_email")
policy.requester_may_decide = policy.requester_may_trust = True
policy.save()
policy.groups.set([Group.objects.get(name="chat users")])
"""
DECIDE = """
from django.contrib.auth.models import User
from approvals.actions import decisions
from approvals.models import ToolCall
call = ToolCall.objects.get(status="pending")
ruling = decisions.Ruling("CHOICE", call.version, call.digest, "Not those.")
decisions.decide(call.pk, User.objects.get(username="rita"), ruling)
"""
CALLS = """
from approvals.models import ToolCall
calls = ToolCall.objects.filter(requested_by__username="WHO").order_by("pk")
made = lambda call: [f"{one.by.username} {one.choice}" for one in call.decisions.all()]
result = [[call.tool, call.status, made(call)] for call in calls]
"""
EVIL = "the launch \\x1b[2J\\x1b[31mApproved.\\x1b]0;owned\\x07 to \\u202eecilA"
POSTED = f"""
from django.contrib.auth.models import User
from agents.actions import conversations
session = conversations.open_with(User.objects.get(username="bob"), "assistant", "email dev@example.com about {EVIL}")
result = str(session.pk)
"""
PACE = """
from agents.models import Agent
Agent.objects.update(parameters={"delay_ms": MS})
"""


@pytest.fixture(scope="module")
def system():
    with TemporaryDirectory(prefix="nod-terminal-") as folder:
        yield System(Path(folder)).prepare()


@pytest.fixture(scope="module")
def desk(system):
    with beside(system) as found:
        found.do(MINE)
        yield found


@pytest.fixture
def slowly(desk):
    """slowly(): from here on the model takes its time, until the test ends."""
    yield lambda: desk.do(PACE.replace("MS", "400"))
    desk.do(PACE.replace("MS", "0"))


def calls(desk, who):
    return desk.do(CALLS.replace("WHO", who))


def test_it_asks_inline(system, desk):
    with terminal(system.env, "--as", "alice") as chat:
        chat.expect("nobody sees this live")
        chat.expect("alice> ")
        chat.type("email dev@example.com about the launch")
        chat.expect('Tool "send_email" requires human approval.')
        chat.expect("policy “Ask before mail goes out” · asked for by alice")
        chat.expect("│ to: dev@example.com")
        chat.expect(
            "t: approve, and do not ask again for send_email in this chat, whatever its arguments, for 8 hours"
        )
        chat.expect("(y/n/t, ? for help): ")
        for unclear in ("", "yeah", "?"):
            chat.type(unclear)
            chat.expect("(y/n/t, ? for help): ")
        chat.type("n")
        chat.expect("Why not?")
        chat.type("")
        chat.expect("Say why")
        chat.expect("? for help): ")
        chat.type("n")
        chat.expect("Why not?")
        chat.type("Too early.")
        chat.expect("Denied.")
        chat.expect("Too early.")  # the agent's words
        chat.expect("alice> ")
        assert system.mails() == []

        chat.type(
            "email dev@example.com about the party\ny\nt\ny"
        )  # typed ahead: no answer to what is asked later
        chat.expect("(y/n/t, ? for help): ")
        chat.press("\xff\x1b[A")  # no text, and the key for what was typed before
        chat.type("")
        chat.expect("Nothing was decided")
        chat.expect("(y/n/t, ? for help): ")
        chat.type("y")
        chat.expect("Approved.")
        chat.expect("✓ send_email: ")
        chat.expect("alice> ")
        assert [mail["Subject"] for mail in system.mails()] == ["The party"]

        chat.type("email ops@example.com about the party")
        chat.expect("(y/n/t, ? for help): ")
        chat.type("T")
        chat.expect("Approved and trusted.")
        chat.expect("alice> ")
        chat.type("email all@example.com about the party")
        assert "requires human approval" not in chat.expect("alice> ")
        assert [mail["To"] for mail in system.mails()] == [
            "dev@example.com",
            "ops@example.com",
            "all@example.com",
        ]

        chat.type("delete tmp/old.log")  # for reviewers alone to decide
        chat.expect("delete_files waits for rita or remy. Only reviewers may decide this call.")
        desk.do(DECIDE.replace("CHOICE", "deny"))
        chat.expect("delete_files: Denied by rita. Not those.")
        chat.expect("alice> ")
        chat.press(CTRL_D)
        assert chat.end() == 0
        assert "--resume" in chat.text
    assert calls(desk, "alice") == [
        ["send_email", "denied", ["alice deny"]],
        ["send_email", "succeeded", ["alice approve"]],
        ["send_email", "succeeded", ["alice trust"]],
        ["send_email", "succeeded", []],
        ["delete_files", "denied", ["rita deny"]],
    ]


def test_it_goes_on_where_it_was_left(system, desk, slowly):
    """What waits for a worker is taken up; what is hostile in it steers nothing; no answer approves nothing."""
    session = desk.do(POSTED)
    with terminal(system.env, "--as", "bob", "--resume", session, columns=60) as chat:
        chat.expect('Tool "send_email" requires human approval.')
        shown = chat.expect("(y/n/t, ? for help): ")
        assert "‹U+001B›[2J‹U+001B›[31mApproved." in re.sub(r"\n│ +", "", shown)
        assert "‹U+202E›" in shown
        chat.press(CTRL_D)
        chat.expect("send_email waits for a person. It was not approved.")
        assert chat.end() == 3
        assert b"\x1b[2J" not in chat.bytes
        assert b"\x1b]0;" not in chat.bytes
        assert "\u202e" not in chat.text
    assert [call[1] for call in calls(desk, "bob")] == ["pending"]

    with terminal(system.env, "--as", "bob", "--resume") as chat:
        chat.expect("bob> email dev@example.com")
        chat.expect("(y/n/t, ? for help): ")
        chat.type("y")
        chat.expect("Approved.")
        chat.expect("✗ send_email: The tool failed: The address and the subject have to be one line each.")
        chat.expect("bob> ")
        slowly()
        chat.type("what is the weather in Brno?")
        chat.expect("  I ")
        chat.press(CTRL_C)
        chat.expect("Stopped.")
        chat.expect("bob> ")
        chat.press(CTRL_C)
        assert chat.end() == 0
    assert [call[1] for call in calls(desk, "bob")] == ["failed"]
    stopped = "from agents.models import Run\nresult = Run.objects.filter(session__user__username='bob').last().status"
    assert desk.do(stopped) == "stopped"
