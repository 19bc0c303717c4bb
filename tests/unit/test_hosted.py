"""The hosted agent, in this process: what no request over the wire can bring about on purpose."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured

from agents import providers
from agents.email_url import email_settings
from agents.providers.problems import ModelProblem
from agents.runtimes import port, wire
from agents.tools import registry
from hosted import environment, notebook, turn
from hosted.flags import FlagGate
from hosted.gate import GRANTS, Grants
from hosted.notebook import Conversations
from hosted.notebook_tools import TOOLS
from hosted.payloads import Approved, Decision, Refused
from tests.fakes.model import ScriptedModel, Use

MAIL = {"to": "dev@example.com", "subject": "Launch", "body": "On Thursday."}
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def model(monkeypatch):
    scripted = ScriptedModel()
    monkeypatch.setattr(providers, "build", lambda *args: scripted)
    return scripted


@pytest.fixture
def add(monkeypatch):
    def added(function, **options):
        made = registry.tool(**options)(function)
        monkeypatch.setitem(registry.catalogue(), made.name, made)

    return added


async def events(payload, session="s"):
    return [event async for event in turn.answer(payload, session)]


async def paused(prompt="Go."):
    end = (await events({"prompt": prompt, "state": {}}))[-1]
    assert end["type"] == "paused"
    return end["state"], end["calls"]


def approval(call, **more):
    return {"id": call["id"], "decision": "approve", "digest": call["digest"], **more}


# --- Nod's payload -------------------------------------------------------------------------------------
async def test_what_takes_too_long_is_lost(model, add):
    """The thread goes on, so nobody can say; the loop does not go on without knowing."""
    go_on = threading.Event()

    def slow() -> str:
        """Take long."""
        go_on.wait(30)
        return "Done."

    add(slow)
    model.play(Use("slow", {}))
    state, (call,) = await paused()
    came = await events({"state": state, "decisions": [approval(call, timeout=0.05)]})
    go_on.set()
    assert [(each["type"], each.get("status"), each.get("timed_out")) for each in came] == [
        ("result", "lost", True),
        ("paused", None, None),
    ]
    assert came[-1]["calls"] == []


async def test_what_did_not_begin_is_said_to_be_untouched(model, monkeypatch):
    """The model could not even be built, so no tool was run."""
    model.play(Use("send_email", MAIL))
    state, (call,) = await paused()
    monkeypatch.setattr(providers, "build", _no_model)
    came = await events({"state": state, "decisions": [approval(call)]})
    assert [(each["type"], each.get("status")) for each in came] == [
        ("result", "untouched"),
        ("failed", None),
    ]
    assert mail.outbox == []


def _no_model(*args):
    raise ModelProblem("unknown_provider", "There is no such model.")


async def test_a_call_of_two_is_decided_and_the_other_waits(model):
    model.play([Use("get_weather", {"city": "Brno"}), Use("send_email", MAIL)])
    state, calls = await paused()
    came = await events({"state": state, "decisions": [approval(calls[0])]})
    assert [each["type"] for each in came] == ["result", "paused"]
    assert [each["tool"] for each in came[-1]["calls"]] == ["send_email"]
    assert mail.outbox == []


async def test_calls_that_share_an_id_are_never_asked_about(model):
    model.play([Use("send_email", MAIL, "same"), Use("send_email", MAIL, "same")], "I see.")
    came = await events({"prompt": "Go.", "state": {}})
    assert came[-1]["type"] == "finished"
    assert mail.outbox == []


async def test_a_decision_is_not_good_for_a_later_call_with_its_id(model):
    """Models may count their calls anew in each answer: what was approved once would run again."""
    other = {**MAIL, "to": "everyone@example.com"}
    model.play(Use("send_email", MAIL, "call_0"), Use("send_email", other, "call_0"))
    state, (call,) = await paused()
    came = await events({"state": state, "decisions": [approval(call)]})
    assert [each["type"] for each in came] == ["result", "message", "message", "paused"]
    assert came[-1]["calls"][0]["arguments"] == other
    assert len(mail.outbox) == 1


async def test_what_is_settled_is_not_told_of_a_later_call_with_its_id(model):
    model.play(Use("send_email", MAIL, "call_0"), Use("send_email", MAIL, "call_0"))
    state, _ = await paused()
    settled = {"id": "call_0", "decision": "settled", "status": "succeeded", "content": [{"text": "Sent."}]}
    came = await events({"state": state, "decisions": [settled]})
    assert came[-1]["type"] == "paused"
    assert mail.outbox == []


async def test_a_listener_that_hangs_up_stops_the_loop(model, add):
    reached, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow() -> str:
        """Take long."""
        loop.call_soon_threadsafe(reached.set)
        go_on.wait(30)
        return "Done."

    add(slow)
    model.play(Use("slow", {}), "I am through.")
    state, (call,) = await paused()
    stream = turn.answer({"state": state, "decisions": [approval(call)]}, "s")
    listening = asyncio.create_task(anext(stream))
    await reached.wait()
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    await stream.aclose()
    go_on.set()
    assert len(model.heard) == 1  # the model was not asked again


async def test_it_gives_a_sign_of_life(model, add, monkeypatch):
    """A tool may be silent for longer than a connection is trusted."""
    monkeypatch.setattr(wire, "BEAT", 0.01)
    go_on = threading.Event()

    def slow() -> str:
        """Take long."""
        go_on.wait(30)
        return "Done."

    add(slow)
    model.play(Use("slow", {}), "I am through.")
    state, (call,) = await paused()
    kinds = []
    async for event in turn.answer({"state": state, "decisions": [approval(call)]}, "s"):
        kinds.append(event["type"])
        if kinds.count("beat") == 2:
            go_on.set()
    assert kinds[-1] == "finished"


def test_grants_are_taken_all_or_none():
    grants = Grants()
    one, two = _approved("one"), _approved("two")
    grants.take({"a": one})
    with pytest.raises(Refused):
        grants.take({"a": one, "b": two})
    grants.take({"b": two})


def test_grants_do_not_pile_up():
    grants = Grants()
    for number in range(GRANTS + 10):
        grants.take({"a": _approved(str(number))})
    assert len(grants._taken) == GRANTS


def _approved(grant):
    return Approved(Decision(id="a", decision="approve", grant=grant), {}, edited=False)


@pytest.mark.parametrize(
    "event",
    [
        port.Text("Hello."),
        port.Said({"role": "assistant", "content": [{"text": "Hi."}]}),
        port.Used(1, 2, 3, 4, 5),
        port.Failed("code", "A sentence."),
        port.Finished({"schema": 1}),
        wire.Result("id", "lost", [], True),
        wire.Halted([wire.Asked("id", "tool", {"a": 1}, "definition", "digest")], {"schema": 1}),
        wire.Beat(),
    ],
)
def test_events_come_back_as_they_went(event):
    assert wire.unpack(wire.pack(event)) == event


@pytest.mark.parametrize("value", [None, 1, [], {}, {"type": "surprise"}, {"type": "text"}, {"type": []}])
def test_what_is_no_event_is_misread(value):
    with pytest.raises(wire.Misread):
        wire.unpack(value)


def test_halves_of_characters_do_not_break_the_stream():
    assert wire.pack(port.Text("a\ud800b"))["text"] == "a?b"


# --- The notebook's payload ----------------------------------------------------------------------------
async def test_flags_do_not_leak_between_sessions(monkeypatch):
    """The notebook's global did: whoever came last decided for both."""
    both = asyncio.Barrier(2)

    class Waits(ScriptedModel):
        async def stream(self, *args, **kwargs):
            if len(self.heard) == 0:
                await both.wait()  # both requests are on their way before either may act
            async for event in super().stream(*args, **kwargs):
                yield event

    models = iter([Waits(), Waits()])

    def build(*args):
        made = next(models)
        made.play(Use("send_email", MAIL), "Done.")
        return made

    monkeypatch.setattr(providers, "build", build)
    yes, no = await asyncio.gather(
        notebook.answer({"prompt": "Go.", "approvals": {"send_email": True}}, "yes"),
        notebook.answer({"prompt": "Go.", "approvals": {"send_email": False}}, "no"),
    )
    assert (yes, "denied by the user" in no) == ("Done.", True)
    assert len(mail.outbox) == 1


async def test_the_next_request_starts_without_flags(model):
    model.play(Use("send_email", MAIL), "Done.", Use("send_email", MAIL))
    assert await notebook.answer({"prompt": "Go.", "approvals": {"send_email": True}}, "one") == "Done."
    said = await notebook.answer({"prompt": "Again."}, "one")
    assert said.startswith("Execution of 'send_email' requires human approval.")
    assert len(mail.outbox) == 1


async def test_the_model_hears_why_the_loop_stopped(model):
    model.play([Use("get_weather", {}), Use("send_email", MAIL)], "I see.")
    await notebook.answer({"prompt": "Go."}, "hears")
    await notebook.answer({"prompt": "And?"}, "hears")
    results = [block["toolResult"]["content"][0]["text"] for block in model.heard[-1][2]["content"]]
    assert results[0] == "sunny"
    assert results[1].startswith("Execution of 'send_email' requires")


async def test_handoff_to_user_stops_with_the_models_words(model):
    model.play(Use("handoff_to_user", {"message": "Which one?"}))
    assert await notebook.answer({"prompt": "Go."}, "handoff") == "Which one?"


async def test_without_a_session_nothing_is_kept(model):
    model.play("One.", "Two.")
    await notebook.answer({"prompt": "First."}, "")
    await notebook.answer({"prompt": "Second."}, "")
    assert len(model.heard[-1]) == 1


async def test_a_failure_leaves_the_conversation_as_it_was(model):
    model.play(RuntimeError("no"), "Fine.")
    with pytest.raises(Exception, match="model"):
        await notebook.answer({"prompt": "First."}, "fails")
    await notebook.answer({"prompt": "Second."}, "fails")
    assert [message["content"][0]["text"] for message in model.heard[-1]] == ["Second."]


async def test_what_was_done_before_a_failure_is_not_forgotten(model):
    """Or whoever sends the prompt again, as one does after an error, sends the email again."""
    model.play(Use("send_email", MAIL), RuntimeError("no"), "It was sent already.")
    with pytest.raises(Exception, match="model"):
        await notebook.answer({"prompt": "Go.", "approvals": {"send_email": True}}, "acted")
    await notebook.answer({"prompt": "Go."}, "acted")
    asked, called, result, broke_off, again = model.heard[-1]
    assert "Email successfully sent" in result["content"][0]["toolResult"]["content"][0]["text"]
    assert [each["role"] for each in (asked, called, result, broke_off, again)] == [
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]


async def test_halves_of_characters_are_said(model):
    model.play("a\ud800b")
    assert await notebook.answer({"prompt": "Go."}, "") == "a?b"


async def test_a_conversation_in_use_is_kept():
    kept = Conversations()
    first = kept.of("first")
    async with first.lock:
        for number in range(notebook.SESSIONS + 1):
            kept.of(str(number))
        assert kept.of("first") is first
    assert len(kept._kept) <= notebook.SESSIONS + 1


def test_conversations_do_not_pile_up():
    kept = Conversations()
    first = kept.of("first")
    for number in range(notebook.SESSIONS):
        kept.of(str(number))
    assert kept.of("first") is not first


def test_a_long_conversation_begins_with_a_prompt():
    conversation = notebook.Conversation()
    round_ = [
        {"role": "user", "content": [{"text": "Go."}]},
        {"role": "assistant", "content": [{"toolUse": {}}]},
        {"role": "user", "content": [{"toolResult": {}}]},
        {"role": "assistant", "content": [{"text": "Done."}]},
    ]
    conversation.keep(round_ * 60)
    assert len(conversation.messages) <= notebook.LONGEST
    assert conversation.messages[0]["content"] == [{"text": "Go."}]


async def test_flags_must_be_an_object(model):
    assert "as an object" in await notebook.answer({"prompt": "Go.", "approvals": ["send_email"]}, "s")


async def test_a_tool_that_is_not_there_is_refused():
    answer = await FlagGate(TOOLS, {"delete": True}).verdict(port.ToolUse("a", "delete", {}))
    assert isinstance(answer, port.Refuse)


# --- The process ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "value"), [("NOD_MODEL_PROVIDER", "nobody"), ("EMAIL_URL", "nonsense"), ("PORT", "many")]
)
def test_a_wrong_variable_stops_the_start_with_one_line(name, value):
    given = {each: text for each, text in os.environ.items() if each != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-m", "hosted"],
        cwd=ROOT,
        env=given | {name: value},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and (name in done.stderr or value in done.stderr)
    assert "invalid literal" not in done.stderr


def test_mail_that_has_nowhere_to_go_is_not_sent(settings):
    settings.EMAIL_BACKEND = environment.NO_MAIL_SERVER
    with pytest.raises(registry.ToolError, match="Nothing was sent"):
        registry.catalogue()["send_email"].run(MAIL)


def test_a_folder_for_mail_is_the_one_that_is_named():
    assert email_settings("file:///srv/out%20box", "")["EMAIL_FILE_PATH"] == "/srv/out box"


def test_a_wrong_mail_url_is_not_repeated():
    with pytest.raises(ImproperlyConfigured) as error:
        email_settings("smpt://user:secret@host", "leave it out.")
    assert "secret" not in str(error.value)
