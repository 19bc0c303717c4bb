"""An agent that lives on AgentCore: boto3 unmodified, its wire format, the hosted agent in a process of its own."""

from __future__ import annotations

import json
import socketserver
import threading
from typing import cast

import boto3
import pytest

from agents import driver
from agents.models import Agent
from agents.runtimes import invoking, port
from agents.runtimes.agentcore import AgentCoreRuntime
from agents.states import RunStatus
from approvals.models import ToolCall
from approvals.states import Fault, Outcome, Status
from tests.desk import (
    approve,
    deny,
    die,
    last_run,
    only_call,
    pass_by,
    pending,
    say,
    settle,
    statuses,
    sweep,
    trust,
    work,
)
from tests.fakes.agentcore import ARN, AgentCoreServer, Hosted
from tests.fakes.bedrock import BedrockServer, Reply, ToolUse, demo_script

pytestmark = pytest.mark.xdist_group("agentcore")

MAIL = "Please send an email to dev@example.com asking about the launch"


def claude(body):
    """As the notebook's model does: what was approved is called again, with the arguments it had."""
    prompt = body["messages"][-1]["content"][-1].get("text", "")
    if prompt != "The email is approved":
        return demo_script(body)
    uses = [block["toolUse"] for said in body["messages"] for block in said["content"] if "toolUse" in block]
    return Reply(tools=[ToolUse(uses[-1]["name"], uses[-1]["input"])])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Nod names the demo model for its agent; the notebook's payload gets the process's own, Bedrock."""
    folder = tmp_path_factory.mktemp("hosted")
    with BedrockServer(claude) as bedrock:
        model = {
            "NOD_MODEL_PROVIDER": "bedrock",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": bedrock.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        with AgentCoreServer(Hosted(folder, **model)) as running:
            invoking.forget()
            yield running
            invoking.forget()
    assert "Traceback" not in running.hosted.log(), running.hosted.log()


@pytest.fixture
def hosted(server, monkeypatch, desk):
    """The demo's agent lives there. What the server saw and sent before is forgotten."""
    for name, value in server.env().items():
        monkeypatch.setenv(name, value)
    server.script = lambda invocation: None
    server.invocations.clear()
    for mail in server.hosted.outbox.glob("*"):
        mail.unlink()
    Agent.objects.filter(slug="assistant").update(
        runtime="agentcore", runtime_arn=ARN, parameters={"delay_ms": 0}
    )
    yield server
    server.script = lambda invocation: None


@pytest.fixture
def mails(server):
    return server.hosted.mails


def ask(alice, text=MAIL):
    session = say(alice, text)
    work()
    return session


def told(session):
    return session.messages.latest("seq").text


# --- The notebook -------------------------------------------------------------------------------------
def invoke(server, payload, session="notebook-" + "0" * 30):
    client = boto3.client("bedrock-agentcore", region_name="us-east-1", endpoint_url=server.url)
    answer = client.invoke_agent_runtime(
        agentRuntimeArn=ARN, runtimeSessionId=session, payload=json.dumps(payload).encode()
    )
    return json.loads(answer["response"].read())


def test_the_notebooks_three_invocations(hosted, mails):
    prompt = (
        "Can you send an email for me. I want to send it to dev@example.com asking about what features "
        "will be available at launch, draft it end to end before sending"
    )
    assert invoke(hosted, {"prompt": prompt}) == (
        "Execution of 'send_email' requires human approval. "
        "Re-invoke with approvals['send_email']=true to proceed."
    )
    assert mails() == []
    said = invoke(hosted, {"prompt": "The email is approved", "approvals": {"send_email": True}})
    assert "Email successfully sent to 'dev@example.com' with subject " in said
    assert len(mails()) == 1
    assert "sunny" in invoke(hosted, {"prompt": "What is the weather"})
    assert len(mails()) == 1


def test_a_flag_that_is_false_denies(hosted, mails):
    said = invoke(hosted, {"prompt": MAIL, "approvals": {"send_email": False}}, "denies-" + "0" * 30)
    assert said == "The request to execute 'send_email' was denied by the user. No action was taken."
    assert mails() == []


@pytest.mark.parametrize("flag", ["true", 1, "yes", [True], {"send_email": True}])
def test_only_true_approves(hosted, mails, flag):
    said = invoke(hosted, {"prompt": MAIL, "approvals": {"send_email": flag}}, "only-true-" + "0" * 30)
    assert "denied by the user" in said
    assert mails() == []


@pytest.mark.parametrize("payload", [{}, {"prompt": ""}, {"prompt": None}, [], "text", None])
def test_it_asks_for_a_prompt(hosted, payload):
    assert invoke(hosted, payload) == "Please provide a 'prompt'."


# --- Nod's queue -------------------------------------------------------------------------------------
def test_a_pause_there_is_a_pending_call_here(hosted, mails, alice):
    session = ask(alice)
    call, run = pending(session), last_run(session)
    assert (run.status, run.lease_until) == (RunStatus.WAITING, None)
    assert (call.tool, call.arguments["to"], call.requested_by) == ("send_email", "dev@example.com", alice)
    assert [each.approves for each in hosted.invocations] == [[]]
    assert mails() == []


def test_an_approval_resumes_it_and_sends_once(hosted, mails, alice, rita):
    session = ask(alice)
    approve(pending(session), rita)
    work()
    assert statuses(session) == ["succeeded"]
    assert len(mails()) == 1
    assert last_run(session).status == RunStatus.DONE
    assert "Email sent" in told(session)


def test_its_digest_is_that_of_the_ledger(hosted, alice, rita):
    """The card, the decision and the request that lets it run name the same thing."""
    session = ask(alice)
    call = pending(session)
    approve(call, rita)
    work()
    sent = hosted.invocations[-1].payload["decisions"][0]
    assert (sent["digest"], sent["arguments"]) == (call.digest, call.arguments)


def test_it_runs_the_edited_arguments(hosted, mails, alice, rita):
    session = ask(alice)
    call = pending(session)
    edited = {**call.arguments, "subject": "What the reviewer wrote"}
    approve(call, rita, arguments=edited)
    work()
    assert "Subject: What the reviewer wrote" in mails()[0]
    result = only_call(session).result
    assert "A reviewer changed the arguments before it ran" in result[0]["text"]


def test_a_denied_call_never_leaves_here(hosted, mails, alice, rita):
    session = ask(alice)
    deny(pending(session), rita, "Not this one.")
    work()
    assert mails() == []
    assert not any(each.approves for each in hosted.invocations)
    assert "Not this one." in json.dumps(hosted.invocations[-1].payload["decisions"])
    assert last_run(session).status == RunStatus.DONE


def test_a_turn_of_two_calls(hosted, mails, alice, rita):
    """The allowed one runs at once, the asked one waits, and the model hears of both."""
    session = ask(alice, f"What is the weather in Brno? {MAIL}")
    assert sorted(statuses(session)) == ["pending", "succeeded"]
    approve(pending(session), rita)
    work()
    assert statuses(session) == ["succeeded", "succeeded"]
    assert len(mails()) == 1
    assert last_run(session).status == RunStatus.DONE


def test_trust_lets_the_next_one_run(hosted, mails, alice, rita):
    session = ask(alice)
    trust(pending(session), rita)
    work()
    say(alice, "Please send an email to ops@example.com asking about the launch", session)
    work()
    assert statuses(session) == ["succeeded", "succeeded"]
    assert len(mails()) == 2


def test_killed_between_pause_and_decision_it_still_resumes(hosted, mails, alice, rita):
    session = ask(alice)
    before = hosted.hosted.starts
    hosted.hosted.kill()
    approve(pending(session), rita)
    work()
    assert hosted.hosted.starts == before + 1
    assert statuses(session) == ["succeeded"]
    assert len(mails()) == 1


def test_a_session_moves_from_there_to_here(hosted, mails, alice, rita):
    """All that a resume needs is in the database, whichever runtime paused."""
    session = ask(alice)
    Agent.objects.update(runtime="local", runtime_arn="")
    approve(pending(session), rita)
    work()
    assert statuses(session) == ["succeeded"]
    assert mails() == []  # it was sent from here
    assert last_run(session).status == RunStatus.DONE


def test_it_streams(hosted, alice, monkeypatch):
    """Text comes while it is written, not at the end."""
    Agent.objects.update(parameters={"delay_ms": 20})
    heard = []
    monkeypatch.setattr("agents.driver.DELTA_EVERY", 0)
    monkeypatch.setattr("approvals.events.send", lambda topic, event: heard.append(event))
    session = ask(alice, "What is the weather in Brno?")
    assert len([each for each in heard if each["kind"] == "text"]) > 3
    assert last_run(session).status == RunStatus.DONE


# --- What goes wrong -----------------------------------------------------------------------------------
def approvals_in(invocation):
    return bool(invocation.approves)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        ("AccessDeniedException", "runtime_denied", "may not invoke"),
        ("ResourceNotFoundException", "no_runtime", "does not exist"),
        ("ThrottlingException", "throttled", "busy"),
        ("ServiceQuotaExceededException", "throttled", "limit"),
        ("RuntimeClientError", "runtime_failed", "log says why"),
        ("InternalServerException", "unreachable", "could not be reached"),
    ],
)
def test_what_the_user_is_told(hosted, alice, error, code, words, monkeypatch):
    monkeypatch.setattr(invoking, "TRIES", 2)  # boto3 waits before each

    hosted.script = lambda invocation: error
    run = last_run(ask(alice))
    assert (run.status, run.error_code) == (RunStatus.FAILED, code)
    assert words in run.error


def test_busy_before_the_grant_it_is_tried_again_later(hosted, mails, alice, rita, monkeypatch):
    """The approval is not used up by a runtime that has no time."""
    session = ask(alice)
    monkeypatch.setattr(invoking, "TRIES", 2)  # boto3 waits before each

    hosted.script = lambda invocation: "ThrottlingException"
    approve(pending(session), rita)
    work()
    assert statuses(session) == ["approved"]
    run = last_run(session)
    assert (run.status, run.attempts) == (RunStatus.RUNNING, 0)  # no fault of the run's
    hosted.script = lambda invocation: None
    die(run)
    driver.advance(str(run.pk))
    assert statuses(session) == ["succeeded"]
    assert len(mails()) == 1


def test_busy_until_the_approval_lapses_it_says_so(hosted, mails, alice, rita, monkeypatch):
    session = ask(alice)
    monkeypatch.setattr(invoking, "TRIES", 2)  # boto3 waits before each
    hosted.script = lambda invocation: "ThrottlingException"
    approve(pending(session), rita)
    work()
    pass_by(ToolCall.objects.all(), "executable_until")
    sweep()
    die(last_run(session))
    driver.advance(str(last_run(session).pk))
    run = last_run(session)
    assert statuses(session) == ["lapsed"]
    assert (run.status, run.error_code) == (RunStatus.FAILED, "throttled")
    assert mails() == []


@pytest.mark.parametrize(
    "error", ["ThrottlingException", "AccessDeniedException", "ResourceNotFoundException"]
)
def test_refused_after_the_grant_nothing_was_done(hosted, mails, alice, rita, error):
    """AgentCore itself refused, so the agent never heard of it: that is certain, and said."""
    session = ask(alice)
    hosted.script = lambda invocation: error if invocation.approves else None
    approve(pending(session), rita)
    work()
    call = only_call(session)
    assert call.status == Status.FAILED
    assert "Nothing was done." in call.result[0]["text"]
    assert last_run(session).status == RunStatus.FAILED
    assert len([each for each in hosted.invocations if each.approves]) == 1
    assert mails() == []


@pytest.mark.parametrize("error", ["InternalServerException", "RuntimeClientError"])
def test_nobody_knows_after_an_error_of_unknown_depth(hosted, mails, alice, rita, error):
    session = ask(alice)
    hosted.script = lambda invocation: error if invocation.approves else None
    approve(pending(session), rita)
    work()
    call = only_call(session)
    assert (call.status, call.fault) == (Status.UNKNOWN, Fault.STOPPED)
    assert last_run(session).status == RunStatus.WAITING
    assert len([each for each in hosted.invocations if each.approves]) == 1  # boto3 did not send it again
    settle(call, rita, Outcome.HAPPENED)
    hosted.script = lambda invocation: None
    work()
    assert last_run(session).status == RunStatus.DONE
    assert mails() == []


def cut_before(kind):
    """The connection ends where this event would come."""
    needle = json.dumps(kind).encode()
    return lambda line: None if b'"type": ' + needle in line else line


def test_the_connection_breaks_while_the_tool_runs(hosted, mails, alice, rita):
    session = ask(alice)
    hosted.script = lambda invocation: cut_before("result") if invocation.approves else None
    approve(pending(session), rita)
    work()
    call = only_call(session)
    assert call.status == Status.UNKNOWN
    assert len(mails()) == 1  # it did happen, which only a person can say
    settle(call, rita, Outcome.HAPPENED)
    work()
    assert last_run(session).status == RunStatus.DONE
    assert len(mails()) == 1


def test_the_connection_breaks_after_the_result(hosted, mails, alice, rita):
    session = ask(alice)
    hosted.script = lambda invocation: cut_before("text") if invocation.approves else None
    approve(pending(session), rita)
    work()
    assert statuses(session) == ["succeeded"]
    run = last_run(session)
    assert (run.status, run.error_code) == (RunStatus.FAILED, "stream_broken")
    assert len(mails()) == 1


def test_killed_in_the_middle_of_an_answer(hosted, alice):
    Agent.objects.update(parameters={"delay_ms": 50})

    def kill(line):
        if b'"text"' in line:
            hosted.hosted.kill()
        return line

    hosted.script = lambda invocation: kill
    run = last_run(ask(alice))
    assert (run.status, run.error_code) == (RunStatus.FAILED, "stream_broken")


class Stalls(socketserver.StreamRequestHandler):
    """A mail server that has taken the mail, and is slow to say so."""

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        while line := self.rfile.readline():
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
                self.server.taken()  # type: ignore[attr-defined]
                return
            self.wfile.write(b"250 fine\r\n")


def test_killed_while_a_tool_runs_nobody_knows_and_it_is_not_repeated(hosted, alice, rita, tmp_path):
    """The process dies after the mail server has taken the mail, and before anybody was told."""
    taken = []
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Stalls) as smtp:
        threading.Thread(target=smtp.serve_forever, args=(0.02,), daemon=True).start()
        process = Hosted(tmp_path, EMAIL_URL=f"smtp://127.0.0.1:{smtp.server_address[1]}")

        def take():
            taken.append("mail")
            process.kill()

        smtp.taken = take  # type: ignore[attr-defined]
        usual, hosted.hosted = hosted.hosted, process
        try:
            session = ask(alice)
            approve(pending(session), rita)
            work()
            call = only_call(session)
            assert call.status == Status.UNKNOWN, call.result
            assert last_run(session).status == RunStatus.WAITING
            settle(call, rita, Outcome.HAPPENED)
            work()
            assert last_run(session).status == RunStatus.DONE
        finally:
            process.kill()
            hosted.hosted = usual
            smtp.shutdown()
    assert taken == ["mail"]
    assert len([each for each in hosted.invocations if each.approves]) == 1


def test_nobody_is_asked_about_another_version_of_a_tool(hosted, alice):
    """Nod was updated after the agent was deployed: its reviewers would read another text than the model."""
    hosted.script = lambda invocation: lambda line: line.replace(b'"definition": "', b'"definition": "0')
    run = last_run(ask(alice))
    assert (run.status, run.error_code) == (RunStatus.FAILED, "runtime_changed")
    assert "send_email" in run.error and "deploy it anew" in run.error
    assert not ToolCall.objects.exists()


def test_a_tool_changed_between_pause_and_decision_is_never_run(hosted, mails, alice, rita):
    session = ask(alice)
    hosted.script = lambda invocation: (
        (lambda line: line.replace(b'"send_email": "', b'"send_email": "0'))
        if "describe" in invocation.payload
        else None
    )
    approve(pending(session), rita)
    work()
    run = last_run(session)
    assert (run.status, run.error_code) == (RunStatus.FAILED, "runtime_changed")
    assert not any(each.approves for each in hosted.invocations)
    assert mails() == []


def test_too_late_it_does_not_begin(hosted, mails, alice, rita):
    """The request was on its way for longer than the grant holds."""
    session = ask(alice)
    seen = {}

    def hold(invocation):
        if invocation.approves:
            seen.update(invocation.payload["decisions"][0])
        return None

    hosted.script = hold
    approve(pending(session), rita)
    work()
    assert 0 < seen["start_within"] <= 5
    replayed = {**hosted.invocations[-1].payload}
    late = {**seen, "grant": "another", "start_within": -1.0}
    events = stream(hosted, {**replayed, "decisions": [late]})
    result = next(each for each in events if each["type"] == "result")
    assert result["status"] == "failed" and "Nothing was done." in result["content"][0]["text"]
    assert len(mails()) == 1


class NoGate:
    """Of a run that makes no calls."""

    lost = None


async def test_a_stop_closes_the_connection(server, monkeypatch):
    """Nobody listens any more: the agent stops writing, and the run ends without its answer."""
    for name, value in server.env().items():
        monkeypatch.setenv(name, value)
    heard = []

    def listen(line):
        heard.append(line)
        return line

    server.script = lambda invocation: listen
    said = [{"role": "user", "content": [{"text": "What can you do?"}]}]
    job = port.Job(
        session="stopped-" + "0" * 32,
        messages=said,
        state={},
        system_prompt="",
        provider="demo",
        model_id="",
        parameters={"delay_ms": 200},
        tools=(),
        max_steps=3,
        gate=cast(port.Gate, NoGate()),
        runtime_arn=ARN,
    )
    events = []
    async for event in AgentCoreRuntime().start(job):
        events.append(event)
        job.cancel.set()
    assert isinstance(events[0], port.Text) and isinstance(events[-1], port.Finished)
    assert not any(b'"finished"' in line for line in heard)


# --- Nod's payload, from anybody ----------------------------------------------------------------------
def stream(server, payload, session="anybody-" + "0" * 30):
    client = boto3.client("bedrock-agentcore", region_name="us-east-1", endpoint_url=server.url)
    answer = client.invoke_agent_runtime(
        agentRuntimeArn=ARN, runtimeSessionId=session, payload=json.dumps(payload).encode()
    )
    lines = answer["response"].read().decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line]


def paused(server):
    end = stream(server, {"prompt": MAIL, "state": {}})[-1]
    assert end["type"] == "paused"
    return end["state"], end["calls"][0]


def test_it_pauses_and_resumes_by_its_state_alone(hosted, mails):
    state, call = paused(hosted)
    decision = {"id": call["id"], "decision": "approve", "digest": call["digest"]}
    events = stream(hosted, {"state": state, "decisions": [decision]})
    assert [each["type"] for each in events if each["type"] not in ("text", "beat", "used")] == [
        "result",
        "message",
        "message",
        "finished",
    ]
    assert len(mails()) == 1


def test_a_denied_call_tells_the_model_why(hosted, mails):
    state, call = paused(hosted)
    decision = {"id": call["id"], "decision": "deny", "digest": call["digest"], "comment": "Not now."}
    events = stream(hosted, {"state": state, "decisions": [decision]})
    assert events[-1]["type"] == "finished"
    assert "Denied by a reviewer: Not now." in json.dumps(events)
    assert mails() == []


@pytest.mark.parametrize("decision", ["approve", "deny"])
def test_it_refuses_a_decision_on_another_call(hosted, mails, decision):
    state, call = paused(hosted)
    given = {"id": call["id"], "decision": decision, "digest": "0" * 64}
    (event,) = stream(hosted, {"state": state, "decisions": [given]})
    assert (event["type"], event["code"]) == ("failed", "digest_mismatch")
    assert mails() == []


def test_it_refuses_swapped_arguments(hosted, mails):
    state, call = paused(hosted)
    given = {
        "id": call["id"],
        "decision": "approve",
        "digest": call["digest"],
        "arguments": {**call["arguments"], "to": "evil@example.com"},
    }
    (event,) = stream(hosted, {"state": state, "decisions": [given]})
    assert event["code"] == "digest_mismatch"
    changed = json.loads(json.dumps(state).replace("dev@example.com", "evil@example.com"))
    given.pop("arguments")
    (event,) = stream(hosted, {"state": changed, "decisions": [given]})
    assert event["code"] == "digest_mismatch"
    assert mails() == []


def test_it_refuses_a_decision_of_another_session(hosted, mails):
    state, call = paused(hosted)
    given = {"id": call["id"], "decision": "approve", "digest": call["digest"]}
    (event,) = stream(hosted, {"state": state, "decisions": [given]}, session="somebody-else-" + "0" * 30)
    assert event["code"] == "digest_mismatch"
    assert mails() == []


def test_a_request_that_comes_twice_acts_once(hosted, mails):
    state, call = paused(hosted)
    given = {"id": call["id"], "decision": "approve", "digest": call["digest"], "grant": "one"}
    assert stream(hosted, {"state": state, "decisions": [given]})[-1]["type"] == "finished"
    (event,) = stream(hosted, {"state": state, "decisions": [given]})
    assert event["code"] == "already_begun"
    assert len(mails()) == 1


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"state": {}}, "no_prompt"),
        ({"state": [], "prompt": "Hello."}, "invalid_payload"),
        ({"state": {"messages": [1]}, "prompt": "Hello."}, "invalid_state"),
        ({"state": {"messages": [{"role": "assistant", "content": [{"toolUse": {}}]}]}}, "invalid_state"),
        ({"state": {"messages": [{"role": "assistant", "content": [{"toolUse": 1}]}]}}, "invalid_state"),
        ({"state": {}, "decisions": [{"id": "x", "decision": "approve"}]}, "no_open_calls"),
        ({"state": {}, "prompt": "Hello.", "surprise": 1}, "invalid_payload"),
        ({"nod": 99, "prompt": "Hello."}, "newer_protocol"),
        ({"state": {}, "prompt": "Hello.", "agent": {"tools": ["nothing"]}}, "unknown_tool"),
        ({"state": {"schema": 99}, "prompt": "Hello."}, "newer_session"),
    ],
)
def test_what_it_cannot_read(hosted, payload, code):
    (event,) = stream(hosted, payload)
    assert (event["type"], event["code"]) == ("failed", code)


def test_a_prompt_while_calls_are_open(hosted):
    state, _ = paused(hosted)
    (event,) = stream(hosted, {"state": state, "prompt": "And now?"})
    assert event["code"] == "open_calls"
