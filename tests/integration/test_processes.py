"""The whole of Nod, as `manage.py up` runs it: real Valkey, daphne, Celery. Driven through the API alone."""

import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.system import System

# One worker of pytest runs all of these, so that they share the started system.
pytestmark = [pytest.mark.xdist_group("processes"), pytest.mark.timeout(180)]

PATIENCE = 20.0


class Desk:
    """alice and rita, as two programs."""

    def __init__(self, system):
        self.system = system
        self.alice = self._client("alice", "chat")
        self.rita = self._client("rita", "review")

    def _client(self, user, scope):
        headers = {"Authorization": f"Bearer {self.system.token(user, scope)}"}
        return httpx.Client(base_url=f"{self.system.url}/api/v1", headers=headers, timeout=40)

    def close(self):
        self.alice.close()
        self.rita.close()

    def ask(self, text, session=""):
        """Says something; returns the session."""
        session = session or self.alice.post("/sessions", json={"agent": "assistant"}).json()["id"]
        answer = self.alice.post(f"/sessions/{session}/messages", json={"text": text})
        assert answer.status_code == 202, answer.text
        return session

    def once(self, session, status):
        """The session, as soon as it has this status."""
        deadline = time.monotonic() + PATIENCE
        while (shown := self.alice.get(f"/sessions/{session}").json())["status"] != status:
            assert time.monotonic() < deadline, shown
            assert shown["status"] != "failed", shown
            time.sleep(0.05)
        return shown

    def pending(self, session):
        """The calls that wait, as rita finds them."""
        self.once(session, "waiting")
        return self.rita.get("/calls", params={"status": "pending", "session": session}).json()["items"]

    def decide(self, call, word, **more):
        body = {"decision": word, "version": call["version"], "digest": call["digest"], **more}
        return self.rita.post(f"/calls/{call['id']}/decisions", json=body)

    def statuses(self, session):
        return [call["status"] for call in self.alice.get(f"/sessions/{session}").json()["calls"]]

    def mails(self, address):
        return [mail for mail in self.system.mails() if mail["to"] == address]


def faults(system):
    return [line for line in system.log().splitlines() if re.search(r"Traceback|ERROR", line)]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    system = System(tmp_path_factory.mktemp("processes")).prepare()
    with system.up():
        yield system
    assert not faults(system), system.log()


@pytest.fixture
def nod(running):
    desk = Desk(running)
    yield desk
    desk.close()


def test_it_sends_what_was_approved_exactly_once(nod):
    session = nod.ask("Send an email to one@example.com saying that it is done")
    [call] = nod.pending(session)
    assert (call["tool"], call["arguments"]["to"]) == ("send_email", "one@example.com")
    assert nod.mails("one@example.com") == []
    assert nod.decide(call, "approve").status_code == 200
    shown = nod.once(session, "idle")
    assert [each["status"] for each in shown["calls"]] == ["succeeded"]
    assert len(nod.mails("one@example.com")) == 1
    assert nod.decide(call, "approve").json()["code"] == "already_decided"


# A web server that decides, and dies before it wakes a worker. Prints seconds, by the database's clock.
DECIDE_AND_DIE = """
from django.contrib.auth.models import User
from agents import wakeups
from approvals.actions import decisions
from approvals.models import ToolCall
from approvals.states import Choice
wakeups.wake = lambda run_id: None
call = ToolCall.objects.get(pk=PK)
ruling = decisions.Ruling(Choice.APPROVE, version=call.version, digest=call.digest)
decisions.decide(call.pk, User.objects.get(username="rita"), ruling)
"""
LATE = """
from approvals.models import ToolCall
call = ToolCall.objects.get(pk=PK)
print("late", (call.started_at - call.decided_at).total_seconds())
"""


def test_a_wake_up_that_never_came_costs_eight_seconds_at_most(nod):
    session = nod.ask("Send an email to late@example.com saying hello")
    [call] = nod.pending(session)
    pk = f"PK = {call['id']!r}\n"
    nod.system.manage("shell", "--no-imports", "--command", pk + DECIDE_AND_DIE)
    nod.once(session, "idle")
    said = nod.system.manage("shell", "--no-imports", "--command", pk + LATE)
    [late] = re.findall(r"^late (.*)$", said, re.MULTILINE)
    # not before the grace, which leaves it to the message; one second more for a machine that is busy
    assert 3 <= float(late) < 8 + 1
    assert len(nod.mails("late@example.com")) == 1


def test_it_sends_nothing_that_was_denied(nod):
    session = nod.ask("Send an email to two@example.com saying hello")
    [call] = nod.pending(session)
    assert nod.decide(call, "deny").json()["code"] == "comment_required"
    assert nod.decide(call, "deny", comment="Not today.").status_code == 200
    shown = nod.once(session, "idle")
    assert [each["status"] for each in shown["calls"]] == ["denied"]
    assert "Not today." in str(shown["messages"])
    assert nod.mails("two@example.com") == []


def test_it_trusts_for_the_rest_of_the_session(nod):
    session = nod.ask("Send an email to three@example.com saying hello")
    [call] = nod.pending(session)
    assert nod.decide(call, "trust", trust={"expires_in": "10m", "max_uses": 1}).status_code == 200
    nod.once(session, "idle")
    nod.ask("Send an email to three@example.com saying goodbye", session)
    nod.once(session, "idle")
    assert len(nod.mails("three@example.com")) == 2
    nod.ask("Send an email to three@example.com saying hello again", session)
    assert len(nod.pending(session)) == 1
    assert len(nod.mails("three@example.com")) == 2


def test_it_decides_two_in_one_message_apart(nod):
    session = nod.ask("Send an email to four@example.com saying hello and delete the temp files")
    mail, deletion = sorted(nod.pending(session), key=lambda call: call["tool"], reverse=True)
    assert nod.decide(deletion, "trust").json()["code"] == "not_trustable"
    assert nod.decide(deletion, "deny", comment="Keep them.").status_code == 200
    assert nod.alice.get(f"/sessions/{session}").json()["status"] == "waiting"
    assert nod.decide(mail, "approve").status_code == 200
    nod.once(session, "idle")
    assert sorted(nod.statuses(session)) == ["denied", "succeeded"]
    assert len(nod.mails("four@example.com")) == 1
    assert (nod.system.folder / "workspace" / "tmp" / "old.log").is_file()


def test_it_tells_a_waiting_program_at_once(nod):
    """Doorbell, Redis, another process: no polling in between."""
    session = nod.ask("Send an email to five@example.com saying hello")
    [call] = nod.pending(session)
    request = nod.alice.build_request("GET", f"/calls/{call['id']}", params={"wait": 30})
    done: dict[str, Any] = {}
    waiter = threading.Thread(
        target=lambda: done.update(call=nod.alice.send(request).json(), at=time.monotonic())
    )
    waiter.start()
    waiter.join(0.5)
    assert waiter.is_alive(), "it waits"
    decided_at = time.monotonic()
    nod.decide(call, "deny", comment="No.")
    waiter.join(PATIENCE)
    assert done["call"]["status"] == "denied"
    assert done["at"] - decided_at < 9, "by the doorbell, not by the look every 10 s"


def test_it_is_ready(nod):
    """Pages answer first; the worker takes a moment longer to start, and until then it says so."""
    deadline = time.monotonic() + PATIENCE
    while (answer := httpx.get(f"{nod.system.url}/readyz", timeout=10)).status_code != 200:
        assert answer.json() == {"database": "ok", "redis": "ok", "worker": "no worker answers"}
        assert time.monotonic() < deadline
    assert answer.json() == {"database": "ok", "redis": "ok", "worker": "ok"}


def test_it_goes_on_after_a_restart(nod):
    """Everything stops while a call waits: database, broker, web and worker start from what is stored."""
    session = nod.ask("Send an email to six@example.com saying hello")
    [before] = nod.pending(session)
    nod.system.restart()
    [after] = nod.pending(session)
    assert after == before
    assert nod.decide(after, "approve").status_code == 200
    assert nod.once(session, "idle")["calls"][0]["status"] == "succeeded"
    assert len(nod.mails("six@example.com")) == 1


# --- A web process without Redis -----------------------------------------------------------------------------
@contextmanager
def web_process(system):
    """daphne alone."""
    command = [sys.executable, "-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(system.port)]
    with (system.folder / "web.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "hitl_site.asgi:application"], env=system.env, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def sign_in(system, name):
    """The cookies of a browser, as a header; waits until the server is there."""
    deadline = time.monotonic() + PATIENCE
    with httpx.Client(base_url=system.url) as http:
        while True:
            try:
                page = http.get("/login/")
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        form = {"username": name, "password": "nod", "csrfmiddlewaretoken": http.cookies["csrftoken"]}
        assert http.post("/login/", data=form, headers={"Referer": str(page.url)}).status_code == 302
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in http.cookies.items())}


def test_a_socket_that_cannot_hear_is_closed_with_a_code_that_the_server_can_send(tmp_path):
    system = System(tmp_path, REDIS_URL=f"unix://{tmp_path}/nobody-listens").prepare()
    with web_process(system):
        cookies = sign_in(system, "rita")
        address = f"ws://127.0.0.1:{system.port}/ws/approvals/"
        with (
            connect(address, additional_headers=cookies, origin=Origin(system.url)) as socket,
            pytest.raises(ConnectionClosed) as closed,
        ):
            socket.recv(timeout=PATIENCE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4503
    assert "Traceback" not in (tmp_path / "web.log").read_text()
