"""Agents that run elsewhere, with the client that they are given: a real web server, a real Strands agent."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from strands import Agent, tool

from nod_client import AlreadyRan, Nod, NodError, NotApproved, Unreachable
from nod_client.gate import NodGate
from tests.fakes.bedrock import BedrockServer, Reply, ToolUse
from tests.fakes.model import ScriptedModel, Use
from tests.system import PATIENCE, System

pytestmark = pytest.mark.xdist_group("nod-client")

ROOT = Path(__file__).resolve().parents[2]
INVOICE = {"number": "R-17", "amount": 120.5}


@pytest.fixture(scope="module")
def nod(tmp_path_factory):
    system = System(tmp_path_factory.mktemp("nod")).prepare()
    with system.web():
        yield system


class Rita:
    """The reviewer, over the API."""

    def __init__(self, system):
        headers = {"Authorization": f"Bearer {system.token('rita', 'review')}"}
        self.http = httpx.Client(base_url=f"{system.url}/api/v1/", headers=headers, timeout=PATIENCE)

    def waiting(self, **wanted):
        """The call that waits and is like this, as soon as there is one."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            for call in self.http.get("calls?status=pending").json()["items"]:
                if all(call[name] == value for name, value in wanted.items()):
                    return call
            time.sleep(0.02)
        raise AssertionError(f"nothing waits that is like {wanted}")

    def decide(self, call, decision="approve", **more):
        body = {"decision": decision, "version": call["version"], "digest": call["digest"], **more}
        answer = self.http.post(f"calls/{call['id']}/decisions", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, call):
        return self.http.get(f"calls/{call['id']}").json()


@pytest.fixture(scope="module")
def rita(nod):
    reviewer = Rita(nod)
    yield reviewer
    reviewer.http.close()


@pytest.fixture
def play():
    """play(function): runs it meanwhile, and gives its future."""
    with ThreadPoolExecutor(4) as pool:
        yield pool.submit


class Desk:
    """One agent with the gate; what its tool has done is in `paid`."""

    def __init__(self, url, token, request, **options):
        self.paid: list[tuple[str, float]] = []
        self.model = ScriptedModel()
        self.name = re.sub(r"[^A-Za-z0-9]", "-", request.node.name)[:60]
        self.gate = NodGate(url, token, agent=self.name, **options)
        paid = self.paid

        @tool
        def pay_invoice(number: str, amount: float) -> str:
            """Pay an invoice from the company's account."""
            paid.append((number, amount))
            if amount < 0:
                raise ValueError("A negative amount.")
            return f"Paid {amount:.2f} € for {number}"

        @tool
        def get_weather(city: str = "") -> str:
            """Say what the weather is."""
            return "Rain."

        self.tools = [pay_invoice, get_weather]
        self.agent = self.new_agent()

    def new_agent(self, messages=None):
        return Agent(
            model=self.model, tools=self.tools, plugins=[self.gate], messages=messages, callback_handler=None
        )


@pytest.fixture
def desk(nod, request):
    return lambda url=None, **options: Desk(url or nod.url, nod.token("alice", "agent"), request, **options)


@pytest.fixture
def client(nod, request):
    return lambda url=None, **more: Nod(url or nod.url, nod.token("alice", "agent"), **more)


# --- The documentation -------------------------------------------------------------------------------------
def examples():
    return re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "strands.md").read_text(), re.M | re.S)


def run_example(code, nod, **env):
    """In a process of its own, which knows nothing of Nod but the address and the token."""
    told = {"NOD_URL": nod.url, "NOD_TOKEN": nod.token("alice", "agent"), "PYTHONPATH": str(ROOT)}
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**kept, **told, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return process


def test_the_ten_lines_of_the_documentation_run(nod, rita):
    code = examples()[0]
    assert len([line for line in code.splitlines() if line.strip()]) == 10
    with BedrockServer([Reply("I pay it.", [ToolUse("pay_invoice", INVOICE)]), "It is paid."]) as bedrock:
        aws = {
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": bedrock.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        process = run_example(code, nod, **aws)
        try:
            call = rita.waiting(agent="bookkeeper", tool="pay_invoice")
            assert (call["arguments"], call["risk"]) == (INVOICE, "high")
            rita.decide(call)
            printed, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, printed
        assert "It is paid." in printed
        told = bedrock.requests[1].body["messages"][-1]["content"][0]["toolResult"]
    assert told["content"] == [{"text": "Paid 120.50 € for R-17"}]
    assert rita.get(call)["result"] == [{"text": "Paid 120.50 € for R-17"}]


def test_the_example_without_a_framework_runs(nod, rita):
    [code] = [code for code in examples() if "nod.call(" in code]
    process = run_example(
        code.replace("print(refused)", 'print(refused); import sys; assert "strands" not in sys.modules'), nod
    )
    try:
        call = rita.waiting(agent="bookkeeper", tool="pay_invoice")
        rita.decide(call, "deny", comment="Not yet.")
        printed, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, printed) == (
        0, "Denied by rita: Not yet. Nothing was done. Do not try it again unchanged.\n",
    )  # fmt: skip


# --- The gate ----------------------------------------------------------------------------------------------
def test_what_a_reviewer_changes_is_what_runs(desk, rita, play):
    mine = desk()
    mine.model.play(["I pay.", Use("pay_invoice", INVOICE)], "Done.")
    going = play(mine.agent, "Pay R-17.")
    call = rita.waiting(agent=mine.name)
    assert mine.paid == []
    rita.decide(call, arguments={**INVOICE, "amount": 12.05})
    going.result(PATIENCE)
    assert mine.paid == [("R-17", 12.05)]
    [told] = mine.model.told()
    assert told.startswith("A reviewer changed the arguments before it ran: ")
    assert told.endswith("Paid 12.05 € for R-17")
    shown = rita.get(call)
    assert (shown["status"], shown["proposed"]) == ("succeeded", INVOICE)


def test_a_denial_is_told_with_its_reason(desk, rita, play):
    mine = desk()
    mine.model.play(Use("pay_invoice", INVOICE), "Then not.")
    going = play(mine.agent, "Pay R-17.")
    rita.decide(rita.waiting(agent=mine.name), "deny", comment="It was paid in May.")
    going.result(PATIENCE)
    assert mine.paid == []
    assert mine.model.told() == [
        "Denied by rita: It was paid in May. Nothing was done. Do not try it again unchanged."
    ]
    assert mine.model.results[0]["status"] == "error"


def test_trust_lets_the_next_one_through(desk, rita, play):
    mine = desk()
    mine.model.play(Use("pay_invoice", INVOICE), Use("pay_invoice", INVOICE), "Both.")
    going = play(mine.agent, "Pay R-17, twice.")
    rita.decide(rita.waiting(agent=mine.name), "trust")
    going.result(PATIENCE)
    assert mine.paid == [("R-17", 120.5)] * 2


def test_two_of_a_turn_are_decided_by_themselves(desk, rita, play):
    mine = desk()
    mine.model.play(
        [Use("pay_invoice", INVOICE, id="a"), Use("pay_invoice", {**INVOICE, "number": "R-18"}, id="b")],
        "One of them.",
    )
    going = play(mine.agent, "Pay both.")
    first = rita.waiting(agent=mine.name, arguments=INVOICE)
    second = rita.waiting(agent=mine.name, arguments={**INVOICE, "number": "R-18"})
    rita.decide(second)
    rita.decide(first, "deny", comment="No.")
    going.result(PATIENCE)
    assert mine.paid == [("R-18", 120.5)]


def test_a_name_of_nod_s_stands_for_nod_s_tool(desk):
    mine = desk(definitions=False)
    mine.model.play(Use("get_weather", {}), "It rains.")
    mine.agent("What is the weather?")
    assert mine.model.told() == ["Rain."]
    other = desk()
    other.model.play(Use("get_weather", {}), "I do not know.")
    other.agent("What is the weather?")
    assert other.model.told()[0].startswith("Nod has another tool named get_weather.")


def test_a_tool_that_fails_is_reported_so(desk, rita, play):
    mine = desk()
    mine.model.play(Use("pay_invoice", {**INVOICE, "amount": -1}), "It failed.")
    going = play(mine.agent, "Pay.")
    call = rita.waiting(agent=mine.name)
    rita.decide(call)
    going.result(PATIENCE)
    shown = rita.get(call)
    assert shown["status"] == "failed"
    assert "A negative amount." in shown["result"][0]["text"]


def test_what_nobody_decides_is_withdrawn(desk, rita):
    mine = desk(wait=0.2)
    mine.model.play(Use("pay_invoice", INVOICE), "Later, then.")
    mine.agent("Pay.")
    assert mine.paid == []
    assert mine.model.told() == ["Nobody decided in time, so the call was withdrawn. Nothing was done."]
    waiting = rita.http.get("calls?status=pending").json()["items"]
    assert mine.name not in [call["agent"] for call in waiting]


def test_it_pauses_and_another_agent_goes_on(desk, rita):
    mine = desk(pause=True)
    mine.model.play(Use("pay_invoice", INVOICE), "Done.")
    result = mine.agent("Pay.")

    def look_again(result, agent):
        answers = [
            {"interruptResponse": {"interruptId": one.id, "response": "yes"}} for one in result.interrupts
        ]
        return agent(answers)

    assert (result.stop_reason, result.interrupts[0].reason["arguments"]) == ("interrupt", INVOICE)
    result = look_again(result, mine.agent)
    assert result.stop_reason == "interrupt", "a response approves nothing"
    assert mine.paid == []
    rita.decide(rita.waiting(agent=mine.name))
    state = mine.agent.take_snapshot(preset="session")
    another = mine.new_agent()
    another.load_snapshot(state)
    assert look_again(result, another).stop_reason == "end_turn"
    assert mine.paid == [("R-17", 120.5)]


def test_what_ran_before_does_not_run_again(desk, rita, play):
    """A process that died after the effect, and whose conversation is taken up where it was stored last."""
    mine = desk(session="s-again")
    uses = [Use("pay_invoice", INVOICE, id="u1")]
    mine.model.play(uses, "Done.", uses, "Done.")
    going = play(mine.agent, "Pay.")
    rita.decide(rita.waiting(agent=mine.name))
    going.result(PATIENCE)
    mine.new_agent()("Pay.")
    assert mine.paid == [("R-17", 120.5)]
    assert mine.model.told() == ["Paid 120.50 € for R-17"]


# --- A wire that is not to be relied on --------------------------------------------------------------------
class Proxy:
    """Stands before Nod. meddle(path, status, body) says which answer goes on, or None where it is lost."""

    def __init__(self, target: str, meddle: Callable[[str, int, bytes], tuple[int, bytes] | None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.pass_on()

            def do_POST(self) -> None:
                self.pass_on()

            def pass_on(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                names = ("Authorization", "Content-Type")
                headers = {name: self.headers[name] for name in names if name in self.headers}
                answer = httpx.request(
                    self.command, target + self.path, content=sent, headers=headers, timeout=PATIENCE
                )
                meddled = meddle(self.path, answer.status_code, answer.content)
                if meddled is None:
                    self.close_connection = True
                    return
                self.send_response(meddled[0])
                self.send_header("Content-Length", str(len(meddled[1])))
                self.end_headers()
                self.wfile.write(meddled[1])

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.http.shutdown()
        self.http.server_close()


def loses_the_first(*endings):
    """Every first answer to a path with one of these endings is lost on its way."""
    left = set(endings)

    def meddle(path, status, body):
        for ending in list(left):
            if path.endswith(ending):
                left.discard(ending)
                return None
        return status, body

    return meddle


def test_answers_that_are_lost_do_nothing_twice(nod, desk, rita, play):
    with Proxy(nod.url, loses_the_first("/calls", "/claim", "/outcome")) as proxy:
        mine = desk(proxy.url)
        mine.model.play(Use("pay_invoice", INVOICE), "Done.")
        going = play(mine.agent, "Pay.")
        call = rita.waiting(agent=mine.name)
        rita.decide(call)
        going.result(PATIENCE)
    assert mine.paid == [("R-17", 120.5)]
    assert rita.get(call)["status"] == "succeeded"


def test_what_is_not_what_was_approved_does_not_run(nod, desk, rita, play):
    def meddle(path, status, body):
        if path.endswith("/claim"):
            given = json.loads(body)
            body = json.dumps({**given, "arguments": {**given["arguments"], "amount": 9999}}).encode()
        return status, body

    with Proxy(nod.url, meddle) as proxy:
        mine = desk(proxy.url)
        mine.model.play(Use("pay_invoice", INVOICE), "No.")
        going = play(mine.agent, "Pay.")
        call = rita.waiting(agent=mine.name)
        rita.decide(call)
        going.result(PATIENCE)
    assert mine.paid == []
    assert mine.model.told()[0].startswith("What Nod gave back is not what was approved.")
    assert rita.get(call)["status"] == "failed"


def test_without_nod_nothing_runs(desk, caplog):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        mine = desk(f"http://127.0.0.1:{nobody.getsockname()[1]}")
        mine.gate.nod.patience = 0.3
        mine.model.play(Use("pay_invoice", INVOICE), "No.")
        mine.agent("Pay.")
    assert mine.paid == []
    assert mine.model.told()[0].startswith("Nod can't be reached")
    assert "pay_invoice did not run: Nod can't be reached" in caplog.text


# --- Without a framework -----------------------------------------------------------------------------------
def test_the_block_runs_once(client, rita, play):
    mine, ran = client(session="once", agent="plain"), []

    def pay():
        with mine.call("pay_invoice", INVOICE, key="R-17") as call:
            ran.append(call.arguments)
            call.result = {"paid": call.arguments["amount"]}

    going = play(pay)
    call = rita.waiting(agent="plain")
    rita.decide(call, arguments={**INVOICE, "amount": 1})
    going.result(PATIENCE)
    assert ran == [{**INVOICE, "amount": 1}]
    assert rita.get(call)["result"] == [{"json": {"paid": 1}}]
    with pytest.raises(AlreadyRan, match="It was not done again"):
        pay()
    assert len(ran) == 1


def test_an_exception_is_a_failure_and_goes_on(client):
    mine = client()
    with pytest.raises(ZeroDivisionError), mine.call("get_weather", {}, key="k"):
        1 / 0  # noqa: B018
    shown = mine.ask("get_weather", {}, key="k")
    assert (shown["status"], shown["result"]) == ("failed", [{"text": "ZeroDivisionError: division by zero"}])


@pytest.mark.parametrize(
    "result", [{"at": date(2026, 11, 23)}, "é" * 260_000, float("inf")], ids=["date", "long", "inf"]
)
def test_a_result_of_any_form_is_an_outcome(client, result):
    """It has happened: nobody has to look into it because of a date."""
    mine = client()
    with mine.call("get_weather", {"city": "Brno"}) as call:
        call.result = result
    left = mine.get(call._claimed.id)
    assert left["status"] == "succeeded"
    assert left["result"] == [{"text": str(result)[:20_000]}]


def test_what_is_interrupted_is_not_reported(client):
    mine = client()
    with pytest.raises(KeyboardInterrupt), mine.call("get_weather", {}, key="k"):
        raise KeyboardInterrupt
    assert mine.ask("get_weather", {}, key="k")["status"] == "started"


def test_it_says_what_is_wrong(client, nod):
    with pytest.raises(ValueError, match="no address of Nod"):
        Nod("nod.example.org", "x")
    with pytest.raises(NodError, match="does not take this token") as refused:
        Nod(nod.url, "wrong").ask("get_weather", {}, key="k")
    assert (refused.value.code, refused.value.status) == ("unauthenticated", 401)
    with pytest.raises(NodError, match="no JSON"):
        client().ask("get_weather", {"x": float("nan")}, key="k")
    with pytest.raises(NotApproved, match="withdrawn") as late, client().call("pay_invoice", INVOICE, wait=0):
        raise AssertionError("nobody approved this")
    assert late.value.call["status"] == "cancelled"


def test_the_token_goes_nowhere_else(nod, client):
    with (
        Proxy(nod.url, lambda path, status, body: (302, b"")) as proxy,
        pytest.raises(NodError, match="redirects"),
    ):
        client(proxy.url).ask("get_weather", {}, key="k")
    with Proxy(nod.url, lambda path, status, body: (503, b"")) as proxy:
        wire = client(proxy.url)._wire
        with pytest.raises(Unreachable, match="away"):
            wire.send("GET", "calls", patience=0.1)
