"""What the user and the reviewer see of what Bedrock answers: both pages, as HTML, for each way it can go."""

import html
import os
import re
from dataclasses import dataclass, field

import pytest
from django.test import Client

from agents import providers
from tests.desk import MAIL, chat
from tests.fakes.bedrock import BedrockServer, Failure, Reply, ToolUse

# botocore leaves the connection of a broken stream to the garbage collector, which then warns of it.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

AWS_NAMES = [name for name in os.environ if name.startswith("AWS_")]
OTHER = {**MAIL, "to": "ops@example.com"}
MALFORMED = '{"to": "dev@example.com", "subj'


@dataclass(frozen=True)
class Case:
    """`turns` of the model; words that the two pages show, and words that they do not."""

    turns: list[Reply | str]
    user: list[str]
    reviewer: list[str] = field(default_factory=list)
    not_user: list[str] = field(default_factory=list)
    again: bool = False  # the user is offered to try again


CASES = {
    "streaming": Case(["Sunny in Brno, nineteen degrees."], ["Sunny in Brno, nineteen degrees."]),
    "tool use": Case(
        [Reply("I will write to them.", [ToolUse("send_email", MAIL)])],
        [
            "I will write to them.",
            "send_email",
            "dev@example.com",
            "The agent goes on as soon as somebody decides.",
        ],
        ["send_email", "dev@example.com"],
    ),
    "several in one turn": Case(
        [
            Reply(
                "Three things.",
                [
                    ToolUse("get_weather", {"city": "Brno"}),
                    ToolUse("send_email", MAIL),
                    ToolUse("send_email", OTHER),
                ],
            )
        ],
        [
            "Three things.",
            "get_weather",
            "dev@example.com",
            "ops@example.com",
            "as soon as all 2 are decided",
        ],
        ["dev@example.com", "ops@example.com"],
    ),
    "throttling": Case(
        [Reply(error=Failure("ThrottlingException", "Too many tokens, account 111122223333"))],
        ["The model is busy with too many requests. Please try again in a minute."],
        not_user=["111122223333"],
        again=True,
    ),
    "access denied": Case(
        [
            Reply(
                error=Failure(
                    "AccessDeniedException", "arn:aws:iam::111122223333:role/worker is not authorized"
                )
            )
        ],
        ["This server may not use the model. Ask an administrator to enable it in Amazon Bedrock."],
        not_user=["111122223333"],
        again=True,
    ),
    "stream error in the middle": Case(
        [Reply("It is sunny and warm today", broken="modelStreamErrorException")],
        ["The model’s answer broke off. Please try again."],
        not_user=["The model failed."],
        again=True,
    ),
    "stream error after it had begun to call": Case(
        [Reply("Writing now, as you said", [ToolUse("send_email", MAIL)], cut="rough")],
        ["The model’s answer broke off. Please try again."],
        not_user=["dev@example.com"],
        again=True,
    ),
    "malformed tool input": Case(
        [Reply("Writing.", [ToolUse("send_email", MALFORMED)]), "I got the arguments wrong."],
        ["Writing.", "Not run", "Invalid arguments", "I got the arguments wrong."],
    ),
    "a tool that is not there": Case(
        [Reply(tools=[ToolUse("launch", {"what": "<script>"})]), "I cannot do that."],
        ["launch", "Not run", "there is no tool named launch", "I cannot do that."],
        not_user=["<script>"],
    ),
}


@pytest.fixture
def serve(monkeypatch, agent, tmp_path):
    """serve(turns) starts a server that the agent's model is at."""
    for name in AWS_NAMES:
        monkeypatch.delenv(name)
    for name, value in (
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", str(tmp_path / "config")),
        ("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials")),
        ("AWS_ACCESS_KEY_ID", "AKIATEST"),
        ("AWS_SECRET_ACCESS_KEY", "very-secret-key"),
    ):
        monkeypatch.setenv(name, value)
    providers.forget()
    started = []

    def start(turns):
        server = BedrockServer(turns).__enter__()
        started.append(server)
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
        agent.provider, agent.parameters = "bedrock", {}
        agent.save()
        return server

    yield start
    for server in started:
        server.__exit__()
    providers.forget()


def seen(user, address):
    """The page's own HTML between its landmarks, entities as people read them."""
    client = Client()
    client.force_login(user)
    page = client.get(address).content.decode()
    main = re.search(r"<main.*</main>", page, re.DOTALL)
    assert main
    # marked values are broken into elements
    return main[0], html.unescape(re.sub(r"</?(?:mark|wbr|span)[^>]*>", "", main[0])).replace("'", "’")


@pytest.mark.parametrize("name", CASES)
def test_both_see_what_became_of_it(serve, alice, rita, name):
    case = CASES[name]
    serve(case.turns)
    session = chat(alice, "Please do it.")
    raw, shown = seen(alice, f"/chat/{session.pk}/")
    for words in case.user:
        assert words in shown
    for words in case.not_user:
        assert words not in raw
    assert ("Try again" in shown) is case.again
    _, queue = seen(rita, "/approvals/")
    for words in case.reviewer:
        assert words in queue
    assert ("Nothing is waiting." in queue) is (not case.reviewer)
