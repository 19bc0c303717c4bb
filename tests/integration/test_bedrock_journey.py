"""The whole journey with Bedrock's wire format behind it: real processes, unmodified boto3."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.bedrock import BedrockServer, Failure, Reply, ToolUse, demo_script
from tests.system import PATIENCE, System

pytestmark = pytest.mark.xdist_group("bedrock-journey")

MAIL = "Please send an email to dev@example.com asking which features will be in the launch"


class Person:
    """Somebody at the API."""

    def __init__(self, nod: System, user: str, scope: str) -> None:
        headers = {"Authorization": f"Bearer {nod.token(user, scope)}"}
        self.http = httpx.Client(base_url=f"{nod.url}/api/v1/", headers=headers, timeout=PATIENCE)

    def get(self, path: str) -> Any:
        return self.http.get(path).raise_for_status().json()

    def post(self, path: str, **body: Any) -> Any:
        return self.http.post(path, json=body).raise_for_status().json()

    def until(self, path: str, done: Callable[[Any], Any]) -> Any:
        """What `done` makes of the answer, asked for until that is something."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if found := done(self.get(path)):
                return found
            time.sleep(0.01)
        raise AssertionError(f"{path} did not come to that: {self.get(path)}")

    def say(self, text: str) -> str:
        session: str = self.post("sessions", agent="assistant")["id"]
        self.post(f"sessions/{session}/messages", text=text)
        return session


class Wire:
    """The fake Bedrock; a test may put another script into it."""

    def __init__(self) -> None:
        self.script: Callable[[dict[str, Any]], Reply] = demo_script
        self.server = BedrockServer(lambda body: self.script(body))


@contextmanager
def _system(folder: Path, wire: Wire) -> Iterator[System]:
    with wire.server as server:
        nod = System(
            folder,
            NOD_MODEL_PROVIDER="bedrock",
            AWS_ENDPOINT_URL_BEDROCK_RUNTIME=server.url,
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test",
            AWS_DEFAULT_REGION="us-east-1",
        ).prepare(fast=False)
        with nod.up():
            yield nod


@pytest.fixture(scope="module")
def wire() -> Wire:
    return Wire()


@pytest.fixture(scope="module")
def nod(tmp_path_factory: pytest.TempPathFactory, wire: Wire) -> Iterator[System]:
    with _system(tmp_path_factory.mktemp("bedrock"), wire) as system:
        yield system
    assert "Traceback" not in system.log(), system.log()


@pytest.fixture(scope="module")
def alice(nod: System) -> Iterator[Person]:
    person = Person(nod, "alice", "chat")
    yield person
    person.http.close()


@pytest.fixture(scope="module")
def rita(nod: System) -> Iterator[Person]:
    person = Person(nod, "rita", "review")
    yield person
    person.http.close()


@pytest.fixture(autouse=True)
def demo(wire: Wire) -> None:
    wire.script = demo_script


def pending(rita: Person, session: str) -> dict[str, Any]:
    path = f"calls?status=pending&session={session}"
    return dict(rita.until(path, lambda got: got["items"])[0])


def decide(rita: Person, call: dict[str, Any], decision: str, **more: Any) -> Any:
    return rita.post(
        f"calls/{call['id']}/decisions",
        decision=decision,
        version=call["version"],
        digest=call["digest"],
        **more,
    )


def answer(alice: Person, session: str) -> str:
    state = alice.until(f"sessions/{session}", lambda got: got["status"] == "idle" and got)
    return "".join(block.get("text", "") for block in state["messages"][-1]["content"])


def failure(alice: Person, session: str) -> str:
    state = alice.until(f"sessions/{session}", lambda got: got["status"] == "failed" and got)
    return str(state["error"])


def test_it_pauses_and_resumes_the_same_call(nod: System, wire: Wire, alice: Person, rita: Person) -> None:
    session = alice.say(MAIL)
    asked = len(wire.server.requests)
    call = pending(rita, session)
    assert call["arguments"]["to"] == "dev@example.com"
    before = len(nod.mails())
    decide(rita, call, "approve")
    assert "dev@example.com" in answer(alice, session)
    assert len(nod.mails()) == before + 1
    assert len(wire.server.requests) <= asked + 2  # the resume did not ask the model for the call again


def test_it_tells_the_model_of_a_denial(wire: Wire, alice: Person, rita: Person) -> None:
    session = alice.say(MAIL)
    decide(rita, pending(rita, session), "deny", comment="Ask legal first.")
    assert "Ask legal first." in answer(alice, session)
    results = wire.server.requests[-1].body["messages"][-1]["content"]
    assert results[0]["toolResult"]["status"] == "error"
    assert "Ask legal first." in results[0]["toolResult"]["content"][0]["text"]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(error=Failure("ThrottlingException")), "busy|throttl|again"),
        (Reply(error=Failure("AccessDeniedException")), "may not use"),
        (Reply(error=Failure("ResourceNotFoundException")), "model"),
        (Reply(text="This will break off soon", broken="modelStreamErrorException"), "again|broke"),
    ],
)
def test_it_says_what_is_wrong_and_lets_the_user_try_again(wire, alice, reply, words) -> None:

    wire.script = lambda body: reply
    session = alice.say("What is the weather in Brno?")
    assert re.search(words, failure(alice, session), re.IGNORECASE)
    wire.script = demo_script
    alice.post(f"sessions/{session}/messages", text="What is the weather in Brno?")
    assert "Brno" in answer(alice, session)


def test_it_gives_malformed_arguments_back_to_the_model(wire: Wire, alice: Person) -> None:
    seen: list[Any] = []

    def script(body: dict[str, Any]) -> Reply:
        last = body["messages"][-1]["content"]
        if any("toolResult" in block for block in last):
            seen.append(last[0]["toolResult"])
            return Reply(text="I got the arguments wrong.")
        return Reply(tools=[ToolUse("send_email", '{"to": "dev@example.com", "subj')])

    wire.script = script
    session = alice.say(MAIL)
    assert answer(alice, session) == "I got the arguments wrong."
    assert seen[0]["status"] == "error"
    assert alice.get(f"sessions/{session}")["calls"] == []


def test_it_runs_what_is_free_and_asks_for_the_rest_of_one_turn(nod, wire, alice, rita) -> None:
    def script(body: dict[str, Any]) -> Reply:
        if any("toolResult" in block for block in body["messages"][-1]["content"]):
            return Reply(text="All told.")
        mail = {"to": "x@example.com", "subject": "s", "body": "b"}
        return Reply(
            text="Working on it.",
            tools=[
                ToolUse("get_weather", {"city": "Brno"}),
                ToolUse("send_email", mail),
                ToolUse("send_email", mail),
            ],
        )

    wire.script = script
    session = alice.say("Do three things")
    rita.until(f"calls?status=pending&session={session}", lambda got: len(got["items"]) == 2)
    calls = {call["tool"]: call["status"] for call in alice.get(f"sessions/{session}")["calls"]}
    assert calls["get_weather"] == "succeeded"
    first, second = rita.get(f"calls?status=pending&session={session}")["items"]
    decide(rita, second, "deny", comment="Once is enough.")
    before = len(nod.mails())
    decide(rita, first, "approve")
    assert answer(alice, session) == "All told."
    assert len(nod.mails()) == before + 1
    results = wire.server.requests[-1].body["messages"][-1]["content"]
    assert sorted(result["toolResult"]["status"] for result in results) == ["error", "success", "success"]


def test_a_worker_tries_out_what_stands_in_an_administrators_form(nod, wire) -> None:
    wire.script = lambda body: Reply(text="I am the model that was asked.")
    with httpx.Client(base_url=nod.url, follow_redirects=True, timeout=PATIENCE) as office:
        office.get("/login/")
        key = {"csrfmiddlewaretoken": office.cookies["csrftoken"]}
        office.post("/login/", data={"username": "admin", "password": "nod", **key})
        key = {"csrfmiddlewaretoken": office.cookies["csrftoken"]}
        form = {
            "provider": "bedrock",
            "model_id": "a-model",
            "parameters": '{"max_tokens": 50}',
            "runtime": "local",
        }
        page = office.post("/admin/agents/agent/test-model/", data={**form, **key})
        deadline = time.monotonic() + PATIENCE
        while "Asking bedrock: a-model" in page.text and time.monotonic() < deadline:
            time.sleep(0.02)
            page = office.get(page.url)
    assert "I am the model that was asked." in page.text, page.text
    assert "tokens in" in page.text
    asked = wire.server.requests[-1]
    assert (asked.model, asked.body["inferenceConfig"]) == ("a-model", {"maxTokens": 50})
