"""The Bedrock provider, unmodified boto3 and Strands, against a server that speaks Bedrock's wire format."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from strands import Agent, tool
from strands.types.content import Message

from agents import providers
from agents.providers.problems import ModelProblem, explain
from tests.fakes.bedrock import BedrockServer, Failure, Reply, ToolUse, demo_script

# botocore leaves the connection of a broken stream to the garbage collector, which then warns of it.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

AWS_NAMES = [name for name in os.environ if name.startswith("AWS_")]
WEATHER = {
    "name": "get_weather",
    "description": "The weather.",
    "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.fixture(autouse=True)
def clean_aws(monkeypatch, settings, tmp_path):
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
def collected():
    """Let no other test hear of what this one leaves behind."""
    yield
    gc.collect()


@pytest.fixture
def bedrock(monkeypatch):
    """serve(*turns) starts a server and points boto3 at it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
    started = []

    def serve(*turns, script=None, delay=0.0):
        server = BedrockServer(script or turns, delay=delay)
        started.append(server.__enter__())
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
        return server

    yield serve
    for server in started:
        server.__exit__()


def user(text: str) -> Message:
    return {"role": "user", "content": [{"text": text}]}


async def events_of(model, text="hello", tools=(WEATHER,), **kwargs):
    return [event async for event in model.stream([user(text)], list(tools), "Be brief.", **kwargs)]


def deltas(events):
    found = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    return [delta["text"] for delta in found if "text" in delta]


async def problem_of(model) -> ModelProblem:
    with pytest.raises(Exception) as caught:
        await events_of(model)
    return explain(caught.value)


async def test_it_streams_text_in_several_deltas(bedrock):
    server = bedrock("one two three four")
    events = await events_of(providers.build("bedrock"))
    assert deltas(events) == ["one", " two", " three", " four"]
    assert events[-1]["metadata"]["usage"]["totalTokens"] > 0
    request = server.requests[0]
    assert request.model == "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    assert request.operation == "converse-stream"
    assert "/us-east-1/bedrock/" in request.headers["authorization"]
    assert request.body["system"] == [{"text": "Be brief."}]


async def test_it_shows_text_while_the_model_still_writes(bedrock):
    bedrock("one two three four", delay=0.05)
    arrived = []
    async for event in providers.build("bedrock").stream([user("hi")]):
        if "contentBlockDelta" in event:
            arrived.append(time.monotonic())
    assert arrived[-1] - arrived[0] > 0.1


async def test_it_passes_parameters_on(bedrock, settings):
    settings.NOD_MODEL_ID = "anthropic.other"
    server = bedrock("yes")
    model = providers.build("bedrock", "", {"temperature": 0.2, "max_tokens": 9, "region": "eu-west-1"})
    await events_of(model)
    request = server.requests[0]
    assert request.model == "anthropic.other"
    assert request.body["inferenceConfig"] == {"temperature": 0.2, "maxTokens": 9}
    assert "/eu-west-1/bedrock/" in request.headers["authorization"]


async def test_it_can_do_without_streaming(bedrock):
    server = bedrock(Reply("all at once", [ToolUse("get_weather", {"city": "Brno"})]))
    events = await events_of(providers.build("bedrock", "", {"streaming": False}))
    assert deltas(events) == ["all at once"]
    assert server.requests[0].operation == "converse"


def agent_for(model):
    """An agent whose tool notes the cities it was asked about."""
    cities = []

    @tool
    def get_weather(city: str = "here") -> str:
        """The weather.

        Args:
            city: Where.
        """
        cities.append(city)
        return f"sunny in {city}"

    agent = Agent(model=model, tools=[get_weather], callback_handler=None, retry_strategy=None)
    return agent, cities


async def test_it_calls_several_tools_in_one_turn(bedrock):
    uses = [ToolUse("get_weather", {"city": city}) for city in ("Brno", "Köln")]
    server = bedrock(Reply("Looking.", uses), "Sunny in both.")
    agent, cities = agent_for(providers.build("bedrock"))
    result = await agent.invoke_async("weather?")
    assert sorted(cities) == ["Brno", "Köln"]
    assert str(result).strip() == "Sunny in both."
    results = server.requests[1].body["messages"][-1]["content"]
    assert [block["toolResult"]["toolUseId"] for block in results] == [use.id for use in uses]
    assert {block["toolResult"]["status"] for block in results} == {"success"}


async def test_malformed_input_becomes_no_arguments(bedrock):
    # Strands does this, not Nod: why a tool should have no defaults that do harm.
    bedrock(Reply(tools=[ToolUse("get_weather", '{"city": "Br')]), "Done.")
    agent, cities = agent_for(providers.build("bedrock"))
    await agent.invoke_async("weather?")
    assert cities == ["here"]


async def test_a_conversation_with_the_demo_script(bedrock):
    bedrock(script=demo_script)
    agent, cities = agent_for(providers.build("bedrock"))
    result = await agent.invoke_async("What is the weather in Brno?")
    assert cities == ["Brno"]
    assert "sunny in Brno" in str(result)
    assert "scripted demo" in str(agent.messages)


@pytest.mark.parametrize(
    ("failure", "code", "retryable"),
    [
        (Failure("AccessDeniedException", "You don't have access to the model"), "access_denied", False),
        (Failure("ValidationException", "The provided model identifier is invalid."), "unknown_model", False),
        (
            Failure("ValidationException", "Invocation with on-demand throughput isn’t supported."),
            "unknown_model",
            False,
        ),
        (Failure("ResourceNotFoundException", "Model not found"), "unknown_model", False),
        (Failure("ValidationException", "temperature is too high"), "bad_parameters", False),
        (Failure("ValidationException", "prompt is too long: 300000 tokens"), "context_overflow", False),
        (Failure("ThrottlingException", "Too many requests"), "throttled", True),
        (Failure("ServiceUnavailableException"), "stream_broken", True),
        (Failure("ModelTimeoutException"), "stream_broken", True),
        (Failure("ExpiredTokenException", "AKIATEST has expired"), "missing_credentials", False),
        (Failure("UnrecognizedClientException", "bad token AKIATEST"), "missing_credentials", False),
        (Failure("SomethingNewException"), "model_error", False),
    ],
)
async def test_it_explains_errors(bedrock, failure, code, retryable):
    server = bedrock(Reply(error=failure))
    problem = await problem_of(providers.build("bedrock"))
    assert (problem.code, problem.retryable) == (code, retryable)
    assert "AKIATEST" not in problem.message
    assert len(server.requests) == 1, "boto3 tried again by itself"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply("one two three four", broken="modelStreamErrorException"), "stream_broken"),
        (Reply("one two three four", broken="throttlingException"), "throttled"),
        (Reply("one two three four", cut="rough"), "stream_broken"),
        (Reply("one two three four", cut="clean"), "stream_broken"),
    ],
)
async def test_it_explains_an_answer_that_breaks_off(bedrock, collected, reply, code):
    bedrock(reply)
    problem = await problem_of(providers.build("bedrock"))
    assert (problem.code, problem.retryable) == (code, True)


async def test_it_explains_an_error_out_of_an_agent(bedrock, collected):
    bedrock(Reply("one two", broken="modelStreamErrorException"))
    agent, _ = agent_for(providers.build("bedrock"))
    with pytest.raises(Exception) as caught:
        await agent.invoke_async("hi")
    assert explain(caught.value).code == "stream_broken"


async def test_it_explains_an_answer_that_is_too_long(bedrock):
    bedrock(Reply("one two", stop_reason="max_tokens"))
    agent, _ = agent_for(providers.build("bedrock"))
    with pytest.raises(Exception) as caught:
        await agent.invoke_async("hi")
    assert explain(caught.value).code == "max_tokens"


async def test_it_explains_a_server_that_is_not_there(bedrock, monkeypatch):
    bedrock()
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://127.0.0.1:9")
    problem = await problem_of(providers.build("bedrock"))
    assert (problem.code, problem.retryable) == ("unreachable", True)


async def test_it_gives_up_on_a_silent_server(bedrock):
    def silent(body):
        time.sleep(1.5)
        return Reply("late")

    bedrock(script=silent)
    problem = await problem_of(providers.build("bedrock", "", {"read_timeout": 1}))
    assert problem.code == "unreachable"


async def test_a_cancelled_answer_is_no_problem(bedrock, collected):
    bedrock("one two three four five six", delay=0.05)
    signal = threading.Event()
    events = []
    async for event in providers.build("bedrock").stream([user("hi")], cancel_signal=signal):
        events.append(event)
        signal.set()
    assert "messageStop" not in events[-1]


def test_missing_credentials_are_a_problem_that_is_not_kept(bedrock, monkeypatch):
    bedrock("yes")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ModelProblem) as caught:
        providers.build("bedrock")
    assert caught.value.code == "missing_credentials"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
    assert providers.build("bedrock")


def test_half_credentials_are_a_problem(bedrock, monkeypatch):
    bedrock()
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ModelProblem) as caught:
        providers.build("bedrock")
    assert caught.value.code == "missing_credentials"


def test_a_missing_profile_is_a_problem(bedrock, monkeypatch):
    bedrock()
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ModelProblem) as caught:
        providers.build("bedrock")
    assert caught.value.code == "missing_credentials"


def test_a_missing_region_is_a_problem(monkeypatch):
    with pytest.raises(ModelProblem) as caught:
        providers.build("bedrock")
    assert caught.value.code == "no_region"
    assert "AWS_DEFAULT_REGION" in caught.value.message


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"temprature": 1}, "There is no parameter temprature."),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"region": "http://evil"}, "region"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_it_refuses_wrong_parameters(parameters, words):
    with pytest.raises(ModelProblem) as caught:
        providers.build("bedrock", "", parameters)
    assert caught.value.code == "bad_parameters"
    assert words in caught.value.message


def test_one_model_serves_many_threads_and_loops(bedrock):
    server = bedrock(script=lambda body: Reply(body["messages"][-1]["content"][0]["text"]))

    def ask(number):
        model = providers.build("bedrock")
        return "".join(deltas(asyncio.run(events_of(model, f"number {number}")))), id(model)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(24)))
    assert [text for text, _ in answers] == [f"number {number}" for number in range(24)]
    assert len({model for _, model in answers}) == 1
    assert len(server.requests) == 24


async def test_the_server_runs_in_a_process_of_its_own(bedrock, monkeypatch):
    bedrock()
    command = [sys.executable, "-m", "tests.fakes.bedrock", "--delay-ms", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            name, _, url = process.stdout.readline().strip().partition("=")
            monkeypatch.setenv(name, url)
            events = await events_of(providers.build("bedrock"), "What is the weather in Brno?")
        finally:
            process.terminate()
    assert any("toolUse" in event.get("contentBlockStart", {}).get("start", {}) for event in events)
