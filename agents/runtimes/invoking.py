"""boto3's way to an agent on AgentCore Runtime: one request, and its answer as events while they come.

A request that carries approvals is sent once, whatever happens; what can safely be asked again is tried three times.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ParamValidationError,
)

from agents.providers.problems import explain
from agents.runtimes import wire
from agents.runtimes.arns import ARN
from agents.runtimes.threads import in_thread

CONNECT_TIMEOUT = 5  # seconds
READ_TIMEOUT = 4 * wire.BEAT  # seconds without a byte, where a hosted agent gives a sign of life every five
COLD_START = 60  # seconds that a new microVM may take for its first answer
TRIES = 3
LOOK_EVERY = 0.5  # seconds until a stop is noticed
READ_AT_ONCE = 65536  # bytes
LONGEST_EVENT = 32 * 2**20  # bytes; a worker has other runs too
LONGEST_DESCRIPTION = 2**20


class Problem(Exception):
    """The runtime did not answer, or not to the end.

    Attributes:
        code, message: for the person who asked.
        sent: whether the request may have reached the agent, so that nobody knows what it began.
        passing: the same may well work a little later.
    """

    def __init__(self, code: str, message: str, *, sent: bool, passing: bool = False) -> None:
        super().__init__(message)
        self.code, self.message, self.sent, self.passing = code, message, sent, passing


@dataclass(frozen=True)
class Place:
    """Where an agent lives. `session`: its conversation there, which AgentCore keeps apart from all others."""

    arn: str
    qualifier: str
    session: str

    @property
    def region(self) -> str:
        found = ARN.fullmatch(self.arn)
        if not found:
            raise Problem(
                "no_runtime",
                "This agent lives on AgentCore, and no runtime's ARN is set for it. "
                "Ask an administrator to set it on the agent's page.",
                sent=False,
            )
        return found["region"]


_clients: dict[tuple[str, int], Any] = {}
_lock = threading.Lock()


def _client(region: str, tries: int) -> Any:
    with _lock:
        if (region, tries) not in _clients:
            config = Config(
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=READ_TIMEOUT if tries == 1 else COLD_START,
                retries={"total_max_attempts": tries, "mode": "standard"},
                max_pool_connections=50,
                tcp_keepalive=True,
            )
            session = boto3.Session(region_name=region)
            _clients[region, tries] = session.client("bedrock-agentcore", config=config)
        return _clients[region, tries]


def forget() -> None:
    """Drop all clients: a child process must not talk over the connections of its parent."""
    global _lock
    _lock = threading.Lock()
    _clients.clear()


os.register_at_fork(after_in_child=forget)


def _request(place: Place, payload: dict[str, Any], tries: int) -> Any:
    """The body of the answer, to be read as it comes. Blocks.

    Raises Problem.
    """
    named = {"qualifier": place.qualifier} if place.qualifier else {}
    client = _ready(place.region, tries)
    try:
        answer = client.invoke_agent_runtime(
            agentRuntimeArn=place.arn,
            runtimeSessionId=place.session,
            payload=json.dumps(payload).encode(),
            contentType="application/json",
            accept="text/event-stream, application/json",
            **named,
        )
    except (ClientError, BotoCoreError) as error:
        found = problem(error)
        if found.code == "missing_credentials":
            _forget_one(place.region, tries, client)
        raise found from error
    return answer["response"]


def _ready(region: str, tries: int) -> Any:
    """The client. Building it sends nothing, so whatever fails here has done nothing."""
    try:
        return _client(region, tries)
    except BotoCoreError as error:
        found = problem(error)
        raise Problem(found.code, found.message, sent=False) from error
    except ValueError as error:  # such as an endpoint that is no URL
        raise Problem("runtime_misconfigured", MISCONFIGURED, sent=False) from error


def _forget_one(region: str, tries: int, client: Any) -> None:
    """It keeps the credentials that it was built with, or that there were none: the next one looks again."""
    with _lock:
        if _clients.get((region, tries)) is client:
            del _clients[region, tries]


NOT_SENT = (EndpointConnectionError, ConnectTimeoutError)
MISCONFIGURED = (
    "This server's AWS settings are not usable. "
    "Ask an administrator to check AWS_ENDPOINT_URL_BEDROCK_AGENTCORE and the AWS configuration file."
)
REFUSED_BEFORE = {  # by AgentCore itself, before the agent heard of it
    "AccessDeniedException": (
        "runtime_denied",
        "This server may not invoke the agent's AgentCore runtime. "
        "Ask an administrator to allow bedrock-agentcore:InvokeAgentRuntime on it.",
        False,
    ),
    "ResourceNotFoundException": (
        "no_runtime",
        "The agent's AgentCore runtime, or its endpoint, does not exist. "
        "Ask an administrator to check the ARN on the agent's page.",
        False,
    ),
    "ValidationException": (
        "runtime_refused",
        "AgentCore refused the request. Ask an administrator to check the ARN and the endpoint on the agent's page.",
        False,
    ),
    "ThrottlingException": (
        "throttled",
        "The agent's AgentCore runtime is busy with too many requests. Please try again in a minute.",
        True,
    ),
    "RetryableConflictException": (
        "throttled",
        "The agent's AgentCore runtime is just starting or ending. Please try again in a minute.",
        True,
    ),
    "ServiceQuotaExceededException": (
        "throttled",
        "This AWS account has reached its limit of AgentCore sessions. Please try again later.",
        True,
    ),
}
AWAY = "The agent's AgentCore runtime could not be reached. Please try again in a minute."
FAILED = (
    "The agent's AgentCore runtime failed before it answered. Please try again, and tell an administrator if it stays: "
    "the runtime's log says why."
)
BROKE_OFF = "The connection to the agent's AgentCore runtime broke off. Please try again."


def problem(error: ClientError | BotoCoreError) -> Problem:
    """What an error of boto3's means for the person who asked, and for what was approved."""
    if isinstance(error, NOT_SENT):
        return Problem("unreachable", AWAY, sent=False, passing=True)
    if isinstance(error, ParamValidationError):  # boto3 refused it before it was sent
        kind, message, passing = REFUSED_BEFORE["ValidationException"]
        return Problem(kind, message, sent=False, passing=passing)
    code = error.response["Error"].get("Code", "") if isinstance(error, ClientError) else ""
    if code in REFUSED_BEFORE:
        kind, message, passing = REFUSED_BEFORE[code]
        return Problem(kind, message, sent=False, passing=passing)
    if code == "RuntimeClientError":
        return Problem("runtime_failed", FAILED, sent=True)
    known = explain(error)
    if known.code in ("missing_credentials", "no_region"):
        return Problem(known.code, known.message.replace("The model", "The agent's runtime"), sent=False)
    return Problem("unreachable", AWAY, sent=True, passing=True)


async def describe(place: Place, stopped: Callable[[], bool]) -> dict[str, Any]:
    """What the hosted agent says of itself. It also wakes a session that has died; nothing is done by it.

    Raises Problem.
    """
    asking = asyncio.ensure_future(in_thread(_described, place))
    try:
        while not (await asyncio.wait([asking], timeout=LOOK_EVERY))[0]:
            if stopped():
                raise Problem("unreachable", AWAY, sent=False, passing=True)
        answer = await asking
    finally:
        asking.cancel()  # its thread goes on for a while, and nobody waits for it
    try:
        described = json.loads(answer)
    except (ValueError, RecursionError):
        described = None
    if not isinstance(described, dict):
        raise Problem("runtime_changed", NOT_NODS, sent=False)
    return described


def _described(place: Place) -> bytes:
    try:
        body: Any = _request(place, {"describe": True}, TRIES)
        with body:
            return bytes(body.read(LONGEST_DESCRIPTION))
    except Problem:
        raise
    except Exception as error:  # a connection can break in many ways, in two libraries
        raise Problem("unreachable", AWAY, sent=False, passing=True) from error


NOT_NODS = (
    "What lives on the agent's AgentCore runtime is not Nod's agent. "
    "Ask an administrator to deploy it: manage.py agentcore launch."
)


async def events(
    place: Place, payload: dict[str, Any], *, once: bool, stopped: Callable[[], bool]
) -> AsyncGenerator[wire.Event, None]:
    """The events of a request's answer, until it is `stopped`. `once`: it carries approvals, and is never sent twice.

    Raises Problem.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Any] = asyncio.Queue()
    reader = _Reader(place, payload, 1 if once else TRIES, lambda item: _tell(loop, queue, item))
    threading.Thread(target=reader.run, name="nod-agentcore", daemon=True).start()
    try:
        while not stopped():
            try:
                item = await asyncio.wait_for(queue.get(), LOOK_EVERY)
            except TimeoutError:
                continue
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        reader.close()


def _tell(loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[Any], item: Any) -> None:
    with suppress(RuntimeError):  # the loop has closed: nobody listens any more
        loop.call_soon_threadsafe(queue.put_nowait, item)


class _Reader:
    """Reads an answer in a thread of its own, until it ends or is closed."""

    def __init__(
        self, place: Place, payload: dict[str, Any], tries: int, tell: Callable[[Any], None]
    ) -> None:
        self._request, self._tell = (place, payload, tries), tell
        self._closed = threading.Event()
        self._raw: Any = None

    def close(self) -> None:
        """The agent finds its connection gone."""
        self._closed.set()
        if self._raw is not None:
            with suppress(OSError, ValueError, RuntimeError):  # it may be closed or read to its end already
                self._raw.shutdown()  # wakes the thread, which may be waiting for the next byte

    def run(self) -> None:
        try:
            with _request(*self._request) as self._raw:
                self._read()
        except Problem as found:
            self._tell(found)
        except Exception as error:  # a connection can break in many ways, in two libraries
            broken = Problem("stream_broken", BROKE_OFF, sent=True, passing=True)
            broken.__cause__ = error
            self._tell(broken)
        else:
            self._tell(None)

    def _read(self) -> None:
        last: wire.Event | None = None
        for value in values(self._raw):
            if self._closed.is_set():
                return
            last = wire.unpack(value)
            self._tell(last)
        if not self._closed.is_set() and not isinstance(last, wire.ENDS):
            raise Problem("stream_broken", BROKE_OFF, sent=True, passing=True)


def values(raw: Any) -> Iterator[Any]:
    """The data of server-sent events, each a line of JSON, as soon as it is there: `read` would wait for more."""
    pending: list[bytes] = []
    while piece := raw.read1(READ_AT_ONCE):
        *ended, rest = piece.split(b"\n")
        for part in ended:
            line = b"".join([*pending, part])
            pending = []
            if line.startswith(b"data: "):
                yield json.loads(line[6:], parse_constant=_no_number)
        pending.append(rest)
        if sum(map(len, pending)) > LONGEST_EVENT:
            raise ValueError("an event is too long")


def _no_number(name: str) -> None:
    """NaN and the infinities are no JSON, and no database takes them."""
    raise ValueError(name)
