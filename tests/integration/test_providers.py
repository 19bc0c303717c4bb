"""Anthropic, OpenAI and Ollama: the client libraries as they are, against a server that speaks their wire formats."""

import asyncio
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from agents import providers
from agents.providers.problems import ModelProblem, explain
from agents.states import RunStatus
from approvals.states import Status
from tests.desk import MAIL, approve, chat, last_run, pending, statuses, work
from tests.fakes.bedrock import ToolUse
from tests.fakes.models import KEY, USAGE, Answer, ModelServer, Refusal, signature

PROVIDERS = ("anthropic", "openai", "ollama")
NAMES = [name for name in os.environ if name.startswith(("ANTHROPIC_", "OPENAI_", "OLLAMA_"))]
WEATHER = {
    "name": "get_weather",
    "description": "The weather.",
    "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.fixture(autouse=True)
def clean(monkeypatch, settings):
    """Nothing of this machine reaches the clients, and no model of another test is left."""
    for name in NAMES:
        monkeypatch.delenv(name)
    settings.NOD_MODEL_ID = ""
    providers.forget()
    yield
    providers.forget()


@pytest.fixture(params=PROVIDERS)
def provider(request):
    return request.param


@pytest.fixture
def serve(monkeypatch):
    """serve(*turns) starts a server and points all three clients at it."""
    started = []

    def start(*turns, script=None):
        server = ModelServer(script or turns).__enter__()
        started.append(server)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        return server

    yield start
    for server in started:
        server.__exit__()


def user(text):
    return {"role": "user", "content": [{"text": text}]}


def built(provider, **parameters):
    return providers.build(provider, "some-model", parameters)


async def events_of(model, text="hello", tools=(WEATHER,), **kwargs):
    return [event async for event in model.stream([user(text)], list(tools), "Be brief.", **kwargs)]


def text_of(events):
    found = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    return "".join(delta.get("text", "") for delta in found)


async def problem_of(model):
    with pytest.raises(Exception) as caught:
        await events_of(model)
    return explain(caught.value)


async def test_it_streams_and_tells_what_was_used(serve, provider):
    server = serve("one two three four")
    events = await events_of(built(provider))
    assert text_of(events) == "one two three four"
    assert sum("contentBlockDelta" in event for event in events) >= 4
    usage = next(event["metadata"]["usage"] for event in events if "metadata" in event)
    cached = USAGE["cached"] if provider != "ollama" else 0
    assert usage.get("cacheReadInputTokens", 0) == cached
    # OpenAI counts what came from the cache twice, Anthropic does not
    assert usage["inputTokens"] == USAGE["read"] - (cached if provider == "openai" else 0)
    assert usage["outputTokens"] == USAGE["written"]
    assert server.requests[0].body["model"] == "some-model"


def answer(session):
    """What the agent said last."""
    return session.messages.order_by("seq").values_list("content", flat=True).last()[0]["text"]


def use_provider(agent, provider):
    agent.provider, agent.model_id, agent.parameters = provider, "some-model", {}
    agent.save()


def test_a_run_pauses_and_resumes_the_same_call(serve, provider, agent, alice, rita, mailoutbox):
    use_provider(agent, provider)
    server = serve(Answer("I will write.", [ToolUse("send_email", MAIL)]), "It is sent.")
    session = chat(alice, "Write to dev.")
    assert statuses(session) == [Status.PENDING]
    assert not mailoutbox
    approve(pending(session), rita)
    work()
    assert [mail.to for mail in mailoutbox] == [[MAIL["to"]]]
    said = list(session.messages.order_by("seq"))
    assert [message.text for message in said if message.role == "assistant"] == [
        "I will write.",
        "It is sent.",
    ]
    kinds = [next(iter(block)) for block in said[1].content]
    assert kinds == ["text", "toolUse"]
    assert len(server.requests) == 2, "the resume asked for the call once more"
    run = last_run(session)
    assert run.status == RunStatus.DONE
    assert run.output_tokens == 2 * USAGE["written"]
    assert run.input_tokens == 2 * (USAGE["read"] - (USAGE["cached"] if provider == "openai" else 0))
    assert run.model_ms > 0


def test_ids_that_come_again_in_the_next_turn_do_no_harm(serve, agent, alice):
    use_provider(agent, "openai")
    weather = Answer(tools=[ToolUse("get_weather", {"city": "Brno"})])
    serve(weather, "Sunny.", weather, "Still sunny.")
    session = chat(alice)
    chat(alice, "And now?", session)
    assert statuses(session) == [Status.SUCCEEDED, Status.SUCCEEDED]


def test_signed_thinking_goes_back_unchanged_after_a_pause(serve, agent, alice, rita):
    use_provider(agent, "anthropic")
    agent.parameters = {"thinking": {"budget_tokens": 1024}, "max_tokens": 4000}
    agent.save()
    thought = "Ought I? \u2028 Yes \u0000 and \U0001f680, “quoted”."
    server = serve(Answer("Now.", [ToolUse("send_email", MAIL)], thinking=thought), "Done.")
    session = chat(alice)
    approve(pending(session), rita)
    work()
    assert last_run(session).status == RunStatus.DONE, last_run(session).error
    block = server.requests[1].body["messages"][1]["content"][0]
    assert block == {"type": "thinking", "thinking": thought, "signature": signature(thought)}


@pytest.mark.parametrize("later", ["openai", "ollama"])
def test_a_chat_with_thinking_in_it_goes_on_with_another_provider(serve, agent, alice, later):
    use_provider(agent, "anthropic")
    serve(Answer("Hello.", thinking="Who is this?"), "Hello again.")
    session = chat(alice)
    use_provider(agent, later)
    chat(alice, "Are you there?", session)
    assert answer(session) == "Hello again."


@pytest.mark.parametrize(
    ("refusal", "codes"),
    [
        (Refusal(429, "rate_limit_error", "Too many requests"), ("throttled",)),
        (Refusal(401, "authentication_error", f"{KEY} is wrong"), ("bad_key",)),
        (Refusal(403, "permission_error"), ("not_permitted",)),
        (Refusal(404, "not_found_error"), ("no_such_model",)),
        (Refusal(400, "invalid_request_error", "temperature"), ("bad_parameters",)),
        (Refusal(500, "api_error"), ("unreachable",)),
        (Refusal(503, "overloaded_error"), ("throttled",)),
    ],
)
async def test_it_explains_refusals(serve, provider, refusal, codes):
    server = serve(Answer(refusal=refusal))
    problem = await problem_of(built(provider))
    assert problem.code in codes
    assert KEY not in problem.message
    assert len(server.requests) == 1, "the client tried again by itself"


@pytest.mark.parametrize(
    ("provider", "refusal"),
    [
        ("openai", Refusal(429, "insufficient_quota", "You exceeded your current quota")),
        (
            "anthropic",
            Refusal(400, "invalid_request_error", "Your credit balance is too low to access the API."),
        ),
    ],
)
async def test_it_does_not_tell_to_wait_where_waiting_does_not_help(serve, provider, refusal):
    serve(Answer(refusal=refusal))
    assert (await problem_of(built(provider))).code == "no_credit"


@pytest.mark.parametrize(
    "answer",
    [
        Answer("one two three four", broken="api_error"),
        Answer("one two three four", cut="rough"),
        Answer("one two three four", cut="clean"),
    ],
    ids=["error", "rough", "clean"],
)
async def test_an_answer_that_breaks_off_is_a_problem(serve, provider, answer):
    serve(answer)
    problem = await problem_of(built(provider))
    assert (problem.code, problem.retryable) == ("stream_broken", True)


async def test_it_explains_a_server_that_is_not_there(serve, provider, monkeypatch):
    serve()
    for name, path in (("ANTHROPIC_BASE_URL", ""), ("OPENAI_BASE_URL", "/v1"), ("OLLAMA_HOST", "")):
        monkeypatch.setenv(name, f"http://127.0.0.1:9{path}")
    assert (await problem_of(built(provider))).code == "unreachable"


async def test_a_silent_server_is_left_after_the_read_timeout(serve, provider):
    late = threading.Event()
    serve(Answer("late", wait=late))
    problem = await problem_of(built(provider, read_timeout=1))
    late.set()
    assert problem.code == "unreachable"


async def test_a_stop_does_not_wait_for_a_silent_model(serve, provider):
    late, signal = threading.Event(), threading.Event()
    server = serve(Answer("late", wait=late))
    answering = asyncio.create_task(events_of(built(provider), cancel_signal=signal))
    while not server.requests:
        await asyncio.sleep(0.01)
    began = time.monotonic()
    signal.set()
    assert not any("messageStop" in event or "contentBlockDelta" in event for event in await answering)
    assert time.monotonic() - began < 5
    late.set()


def test_one_model_serves_many_threads_and_loops(serve, provider):
    server = serve(script=lambda body: Answer(str(body["messages"][-1]["content"])))

    def ask(number):
        model = built(provider)
        return text_of(asyncio.run(events_of(model, f"number {number}"))), id(model)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(6)))
    assert all(f"number {number}" in text for number, (text, _) in enumerate(answers))
    assert len({model for _, model in answers}) == 1
    assert len(server.requests) == 6


# --- Keys --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("provider", "name"), [("anthropic", "ANTHROPIC_API_KEY"), ("openai", "OPENAI_API_KEY")]
)
def test_a_missing_key_is_a_problem_that_is_not_kept(monkeypatch, provider, name):
    with pytest.raises(ModelProblem, match=name) as caught:
        built(provider)
    assert caught.value.code == "missing_key"
    monkeypatch.setenv(name, KEY)
    assert built(provider)


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
async def test_a_key_may_stand_in_a_file(serve, monkeypatch, tmp_path, provider):
    serve("yes")
    name = f"{provider.upper()}_API_KEY"
    monkeypatch.delenv(name)
    (tmp_path / "key").write_text(f"{KEY}\n")
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "key"))
    assert text_of(await events_of(built(provider))) == "yes"
    monkeypatch.setenv(name, KEY)
    providers.forget()
    with pytest.raises(ModelProblem, match="both set"):
        built(provider)


def test_what_is_no_key_is_not_sent(monkeypatch):
    for wrong in ("sk two", "sk\nX-Header: 1", "schlüssel"):
        monkeypatch.setenv("OPENAI_API_KEY", wrong)
        with pytest.raises(ModelProblem, match="characters that no key has") as caught:
            built("openai")
        assert wrong not in caught.value.message


async def test_a_key_goes_to_no_server_that_an_agent_names(serve, monkeypatch):
    """Whoever may set base_url or host must not be able to read the keys of the workers by it."""
    serve("never")
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Gateway-Key: {KEY}\nAuthorization: Bearer {KEY}")
    monkeypatch.setenv("OPENAI_ORG_ID", KEY)
    with ModelServer([]) as other:
        await problem_of(built("openai", base_url=f"{other.url}/v1"))
        assert other.requests[0].headers["authorization"] == "Bearer none"
        with pytest.raises(Exception, match=r"."):
            await events_of(built("ollama", host=other.url))
        assert KEY not in str(other.requests)


async def test_an_agent_without_tools_is_asked_as_well(serve, provider):
    """OpenAI refuses an empty list of tools."""
    serve("yes")
    assert text_of(await events_of(built(provider), tools=())) == "yes"


def test_malformed_arguments_are_given_back_to_the_model(serve, provider, agent, alice):
    use_provider(agent, provider)
    cut = '{"to": "dev@example.com", "subj' if provider != "ollama" else {"to": "dev@example.com"}
    serve(Answer("Writing.", [ToolUse("send_email", cut)]), "I got that wrong.")
    session = chat(alice)
    assert statuses(session) == []
    assert answer(session) == "I got that wrong."


async def test_arguments_that_its_client_cannot_read_are_a_problem(serve):
    serve(Answer(tools=[ToolUse("get_weather", '{"city": "\\ud83d"}')]))
    assert (await problem_of(built("anthropic"))).code == "stream_broken"


@pytest.mark.parametrize("provider", ["openai", "ollama"])
def test_half_a_character_in_an_argument_does_not_end_the_chat(serve, provider, agent, alice):
    use_provider(agent, provider)
    server = serve(Answer(tools=[ToolUse("get_weather", {"city": "Brno \ud83d"})]), "Sunny.")
    assert answer(chat(alice)) == "Sunny."
    assert "\ufffd" in str(server.requests[1].body)


async def test_it_passes_parameters_on(serve):
    server = serve("a", "b", "c")
    await events_of(built("anthropic", max_tokens=9, top_k=3, cache="1h"))
    await events_of(
        built("openai", max_tokens=9, stop_sequences=["x"], additional_request_fields={"seed": 1})
    )
    await events_of(built("ollama", max_tokens=9, temperature=0.5, options={"num_ctx": 4096}))
    first, second, third = (request.body for request in server.requests)
    assert (first["max_tokens"], first["top_k"]) == (9, 3)
    assert first["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert first["tools"][-1]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert (second["max_tokens"], second["stop"], second["seed"]) == (9, ["x"], 1)
    assert third["options"] == {"num_ctx": 4096, "num_predict": 9, "temperature": 0.5}


def test_no_model_is_a_problem(serve, provider, settings):
    serve()
    with pytest.raises(ModelProblem, match="No model is chosen"):
        providers.build(provider)
    settings.NOD_MODEL_PROVIDER, settings.NOD_MODEL_ID = provider, "its-model"
    assert providers.build(provider).get_config()["model_id"] == "its-model"


def test_a_missing_library_is_a_problem_that_says_what_to_run(provider, monkeypatch):
    monkeypatch.delitem(sys.modules, f"agents.providers.{provider}", raising=False)
    monkeypatch.delitem(sys.modules, f"strands.models.{provider}", raising=False)
    monkeypatch.setitem(sys.modules, provider, None)  # as Python has it where nothing is installed
    with pytest.raises(ModelProblem, match=f'pip install "{provider}') as caught:
        built(provider)
    assert caught.value.code == "missing_library"
