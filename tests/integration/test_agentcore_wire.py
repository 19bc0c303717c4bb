"""boto3's way to AgentCore when the network or the AWS settings are at fault: what goes out, and what is said."""

from __future__ import annotations

import asyncio
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable
from typing import cast

import pytest

from agents.runtimes import agentcore, invoking, port
from agents.runtimes.invoking import Place, Problem
from tests.fakes.agentcore import ARN

pytestmark = pytest.mark.xdist_group("agentcore")

PLACE = Place(ARN, "", "session-" + "0" * 30)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
BEAT = b'data: {"type": "beat"}\n\n'


def chunk(body):
    return b"%x\r\n%s\r\n" % (len(body), body)


class Wire(socketserver.ThreadingTCPServer):
    """Reads each request whole, counts it, and hands its socket to `behave`."""

    allow_reuse_address = daemon_threads = True
    block_on_close = False
    behave: Callable[[socket.socket], object]

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests, self.over = 0, threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(socketserver.StreamRequestHandler):
    server: Wire

    def handle(self):
        while line := self.rfile.readline():
            length = 0
            while line.strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
                line = self.rfile.readline()
            self.rfile.read(length)
            self.server.requests += 1
            try:
                self.server.behave(self.connection)
            except OSError:
                return  # the caller has hung up
            if self.server.behave is not describes:
                return


@pytest.fixture(scope="module")
def running():
    with Wire() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def configured(running):
    """Clients cost a third of a second each: they are shared."""
    settings = {
        "AWS_ENDPOINT_URL_BEDROCK_AGENTCORE": running.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_CONFIG_FILE": "/dev/null",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        patch.setattr(invoking, "READ_TIMEOUT", 0.3)
        patch.setattr(invoking, "COLD_START", 0.3)
        patch.setattr(invoking, "TRIES", 2)
        invoking.forget()
        yield running
        invoking.forget()


@pytest.fixture
def server(configured):
    configured.requests = 0
    return configured


@pytest.fixture
def anew(server):
    """With clients of its own."""
    invoking.forget()
    yield server
    invoking.forget()


def resets(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def closes(connection):
    connection.shutdown(socket.SHUT_RDWR)


def is_silent(connection):
    time.sleep(0.6)


def answers(status, body):
    def say(connection):
        connection.sendall(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    return say


def after(sent, then):
    def both(connection):
        connection.sendall(sent)
        then(connection)

    return both


def describes(connection):
    answers(b"200 OK", b'{"nod": 1}')(connection)


FAULTS = {
    "reset before the answer": resets,
    "closed before the answer": closes,
    "silent": is_silent,
    "half of the headers": after(b"HTTP/1.1 200 OK\r\nContent-", closes),
    "reset after the headers": after(HEAD, resets),
    "closed after the headers": after(HEAD, closes),
    "silent after the headers": after(HEAD, is_silent),
    "closed in an event": after(HEAD + chunk(BEAT + b'data: {"type"'), closes),
    "a gateway's page": answers(b"502 Bad Gateway", b"<html>502</html>"),
    "unavailable": answers(b"503 Service Unavailable", b""),
    "a page": answers(b"200 OK", b"<html>Welcome</html>"),
    "no HTTP": after(b"220 smtp.example.com\r\n", closes),
}


def send(*, once, stopped=lambda: False):
    async def hear():
        return [
            event async for event in invoking.events(PLACE, {"prompt": "Go."}, once=once, stopped=stopped)
        ]

    return asyncio.run(hear())


@pytest.mark.parametrize("fault", FAULTS)
def test_what_carries_approvals_is_sent_once(server, fault):
    server.behave = FAULTS[fault]
    with pytest.raises(Problem) as found:
        send(once=True)
    assert found.value.sent and found.value.message.endswith(".")
    assert server.requests == 1


@pytest.mark.parametrize("fault", ["half of the headers", "closed after the headers", "a page", "no HTTP"])
def test_a_description_that_does_not_come(server, fault):
    """Nothing is granted yet, and nothing breaks off: it is tried again later, or said what is wrong."""
    server.behave = FAULTS[fault]
    with pytest.raises(Problem) as found:
        asyncio.run(invoking.describe(PLACE, lambda: False))
    assert found.value.code in ("unreachable", "runtime_changed")


def test_a_stop_does_not_wait_for_a_description(anew, server, monkeypatch):
    monkeypatch.setattr(invoking, "COLD_START", 30)
    monkeypatch.setattr(invoking, "LOOK_EVERY", 0.02)
    server.behave = lambda connection: server.over.wait(30)
    began = time.monotonic()
    with pytest.raises(Problem):
        asyncio.run(invoking.describe(PLACE, lambda: server.requests > 0))
    assert time.monotonic() - began < 15


def test_nobody_there(anew, server, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", url)
        with pytest.raises(Problem) as found:
            send(once=True)
    assert (found.value.code, found.value.sent, found.value.passing) == ("unreachable", False, True)


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [
        ("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", "no url", "runtime_misconfigured"),
        ("AWS_PROFILE", "nobody", "missing_credentials"),
    ],
)
def test_settings_that_are_wrong(anew, server, monkeypatch, setting, value, code):
    monkeypatch.setenv(setting, value)
    with pytest.raises(Problem) as found:
        send(once=True)
    assert (found.value.code, found.value.sent, server.requests) == (code, False, 0)


def test_credentials_that_come_later_are_found(anew, server, monkeypatch):
    """A client keeps what it was built with, also that there were none; a worker is not restarted for that."""
    server.behave = describes
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Problem) as found:
        asyncio.run(invoking.describe(PLACE, lambda: False))
    assert (found.value.code, found.value.sent, server.requests) == ("missing_credentials", False, 0)
    assert "runtime" in found.value.message and "administrator" in found.value.message
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    assert asyncio.run(invoking.describe(PLACE, lambda: False)) == {"nod": 1}


def test_what_boto3_refuses_was_not_sent(server):
    with pytest.raises(Problem) as found:
        asyncio.run(invoking.describe(Place(ARN, "", "short"), lambda: False))
    assert (found.value.code, found.value.sent, server.requests) == ("runtime_refused", False, 0)


def test_an_event_that_is_too_long(server, monkeypatch):
    monkeypatch.setattr(invoking, "LONGEST_EVENT", 1000)
    server.behave = after(HEAD, lambda connection: [connection.sendall(chunk(b"x" * 600)) for _ in range(3)])
    with pytest.raises(Problem) as found:
        send(once=True)
    assert found.value.code == "stream_broken"


def test_an_event_in_pieces(server):
    end = b'data: {"type": "finished", "state": {}}\n\n'
    pieces = [chunk(bytes([each])) for each in end]
    server.behave = after(HEAD, lambda connection: connection.sendall(b"".join(pieces) + b"0\r\n\r\n"))
    assert send(once=True) == [port.Finished({})]


@pytest.mark.parametrize(
    ("arn", "region"),
    [
        (ARN, "us-east-1"),
        (ARN.replace("arn:aws:", "arn:aws-us-gov:").replace("us-east-1", "us-gov-west-1"), "us-gov-west-1"),
        (ARN.replace("arn:aws:", "arn:aws-cn:").replace("us-east-1", "cn-north-1"), "cn-north-1"),
    ],
)
def test_the_region_is_that_of_the_arn(arn, region):
    assert Place(arn, "", "").region == region


@pytest.mark.parametrize("arn", ["", "arn", ARN + "\n", ARN + "/x", "x" + ARN])
def test_an_arn_that_is_none(arn):
    with pytest.raises(Problem) as found:
        _ = Place(arn, "", "").region
    assert (found.value.code, found.value.sent) == ("no_runtime", False)


class Gate:
    """Grants the one call, and notes what becomes of it."""

    def __init__(self):
        self.lost, self.heard = None, []

    async def verdict(self, use):
        return port.Proceed() if not self.heard else port.Ask({})

    async def start(self, use):
        return port.Started(use.arguments, timeout=0, handle=use.id, session="s")

    async def record(self, started, *, succeeded, content):
        self.heard.append("recorded")

    async def lose(self, started, *, timed_out):
        self.heard.append("lost")
        return port.Ask({})


def test_a_result_that_never_comes_is_not_waited_for_for_ever(server, monkeypatch):
    """The agent says that it is still there, again and again: a worker has other things to do, and a stop too."""
    monkeypatch.setattr(agentcore, "MARGIN", 0.2)
    monkeypatch.setattr(invoking, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(agentcore._Turns, "_misfit", fits)
    server.behave = after(HEAD, lambda connection: [beat(connection) for _ in range(500)])
    gate = Gate()
    use = {"toolUse": {"toolUseId": "one", "name": "get_weather", "input": {"city": "Brno"}}}
    job = port.Job(
        "s" * 36,
        [{"role": "assistant", "content": [use]}],
        {},
        "",
        "",
        "",
        {},
        ("get_weather",),
        3,
        cast(port.Gate, gate),
    )
    job = port.Job(**{**vars(job), "runtime_arn": ARN})

    async def hear():
        return [type(event) async for event in agentcore.AgentCoreRuntime().start(job)]

    assert asyncio.run(hear()) == [port.Paused]
    assert (gate.heard, server.requests) == (["lost"], 1)


async def fits(turns):
    return None


def beat(connection):
    connection.sendall(chunk(BEAT))
    time.sleep(0.02)
