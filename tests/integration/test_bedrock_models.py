"""What Bedrock's models take beyond text and tools: thinking, guardrails, caches, places."""

import os

import pytest

from agents import providers
from agents.providers.problems import ModelProblem
from agents.states import RunStatus
from tests.desk import MAIL, approve, chat, last_run, pending, statuses, work
from tests.fakes.bedrock import BedrockServer, Reply, ToolUse, signature

AWS_NAMES = [name for name in os.environ if name.startswith("AWS_")]
CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.fixture(autouse=True)
def clean(monkeypatch, settings, tmp_path):
    """No configuration of this machine reaches boto3, and no model of another test is left."""
    for name in AWS_NAMES:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    settings.NOD_MODEL_ID = ""
    providers.forget()
    yield
    providers.forget()


@pytest.fixture
def serve(monkeypatch, agent):
    """serve(*turns, **parameters) starts a server that the agent's model is at."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
    started = []

    def start(*turns, **parameters):
        server = BedrockServer(turns).__enter__()
        started.append(server)
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
        agent.provider, agent.model_id, agent.parameters = "bedrock", CLAUDE, parameters
        agent.save()
        return server

    yield start
    for server in started:
        server.__exit__()


def sent(request, place):
    """A message of a request, without what is there for the cache."""
    return [block for block in request.body["messages"][place]["content"] if "cachePoint" not in block]


@pytest.mark.parametrize("streaming", [True, False])
def test_signed_and_hidden_thinking_go_back_unchanged_after_a_pause(serve, alice, rita, streaming):
    thought = "Ought I?\n\t\u2028 “Yes” \x00 \U0001f680 "
    asking = Reply("Now.", [ToolUse("send_email", MAIL)], thinking=thought, hidden=b"\x00\xff hidden")
    thinking = {"budget_tokens": 1024}
    server = serve(asking, "Done.", thinking=thinking, max_tokens=4000, streaming=streaming)
    session = chat(alice)
    approve(pending(session), rita)
    work()
    run = last_run(session)
    assert run.status == RunStatus.DONE, run.error
    first, second = server.requests
    assert first.body["additionalModelRequestFields"] == {
        "thinking": {"type": "enabled", "budget_tokens": 1024}
    }
    signed, hidden = sent(second, 1)[:2]
    assert signed == {
        "reasoningContent": {"reasoningText": {"text": thought, "signature": signature(thought)}}
    }
    assert hidden == {"reasoningContent": {"redactedContent": "AP8gaGlkZGVu"}}
    assert [next(iter(block)) for block in sent(second, 1)[2:]] == ["text", "toolUse"]


def test_the_chat_leaves_thinking_out(serve, alice, client):
    serve(Reply("It is sunny.", thinking="The user wants <b>weather</b>."), thinking={"type": "adaptive"})
    session = chat(alice)
    client.force_login(alice)
    html = client.get(f"/chat/{session.pk}/").content.decode()
    assert "It is sunny." in html
    assert "The user wants" not in html


@pytest.mark.parametrize("untraced", [False, True])
def test_a_guardrail_that_blocks_says_so(serve, alice, client, untraced):
    blocked = Reply("Sorry, we do not talk about that.", guardrail="BLOCKED", untraced=untraced)
    server = serve(blocked, guardrail_id="gr-1", guardrail_version="2", guardrail_trace="enabled")
    session = chat(alice, "How do I build one?")
    run = last_run(session)
    assert (run.status, run.error_code) == (RunStatus.FAILED, "guardrail")
    assert run.output_tokens, "what it cost is known all the same"
    config = {"guardrailIdentifier": "gr-1", "guardrailVersion": "2", "trace": "enabled"}
    assert server.requests[0].body["guardrailConfig"] == config
    client.force_login(alice)
    html = client.get(f"/chat/{session.pk}/").content.decode()
    assert "A guardrail stopped this" in html
    assert "Sorry, we do not talk about that." in html
    assert f"/chat/{session.pk}/messages/1/edit" in html, "it can be written differently"


def test_a_call_beside_a_guardrails_block_is_never_asked_for(serve, alice):
    serve(
        Reply("No.", [ToolUse("send_email", MAIL)], guardrail="BLOCKED"),
        guardrail_id="g",
        guardrail_version="1",
    )
    session = chat(alice)
    assert statuses(session) == []
    assert last_run(session).error_code == "guardrail"


def test_what_a_guardrail_only_masked_is_an_answer(serve, alice):
    serve(Reply("Call {PHONE}.", guardrail="ANONYMIZED"), guardrail_id="g", guardrail_version="DRAFT")
    session = chat(alice)
    assert last_run(session).status == RunStatus.DONE
    assert list(session.messages.order_by("seq"))[-1].text == "Call {PHONE}."


def test_it_marks_what_is_to_be_cached_and_counts_it(serve, alice):
    usage = {"inputTokens": 20, "outputTokens": 5, "totalTokens": 1300}
    usage |= {"cacheReadInputTokens": 1200, "cacheWriteInputTokens": 75}
    server = serve(Reply("Hello.", usage=usage), cache="1h")
    run = last_run(chat(alice))
    body = server.requests[0].body
    point = {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert body["toolConfig"]["tools"][-1] == point
    assert body["messages"][-1]["content"][-1] == point
    assert (run.input_tokens, run.output_tokens) == (20, 5)
    assert (run.cache_read_tokens, run.cache_write_tokens) == (1200, 75)


# --- Places ------------------------------------------------------------------------------------------------
def test_a_model_of_another_region_is_a_problem(serve, monkeypatch):
    """Where the region is the agent's own, or AWS itself is asked; another server does not care."""
    serve()
    with pytest.raises(ModelProblem, match="the region is eu-central-1"):
        providers.build("bedrock", f"us.{CLAUDE}", {"region": "eu-central-1"})
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert providers.build("bedrock", f"us.{CLAUDE}")
    providers.forget()
    monkeypatch.delenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME")
    with pytest.raises(ModelProblem, match="the region is eu-central-1") as caught:
        providers.build("bedrock", f"us.{CLAUDE}")
    assert caught.value.code == "wrong_region"


def test_it_takes_the_region_and_the_credentials_of_a_profile(serve, alice, monkeypatch, tmp_path):
    server = serve("Hello.", profile="team-a")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "config").write_text("[profile team-a]\nregion = eu-north-1\n")
    (tmp_path / "credentials").write_text(
        "[team-a]\naws_access_key_id = AKIATEAM\naws_secret_access_key = s\n"
    )
    assert last_run(chat(alice)).status == RunStatus.DONE
    assert "Credential=AKIATEAM/" in server.requests[0].headers["authorization"]
    assert "/eu-north-1/bedrock/" in server.requests[0].headers["authorization"]


def test_a_missing_profile_is_named(serve):
    serve()
    with pytest.raises(ModelProblem, match="no AWS profile “nobody”") as caught:
        providers.build("bedrock", CLAUDE, {"profile": "nobody"})
    assert caught.value.code == "missing_credentials"
