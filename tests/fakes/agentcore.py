"""A server that speaks the wire format of `bedrock-agentcore`, and the hosted agent behind it in a process of its own.

boto3 reaches it with AWS_ENDPOINT_URL_BEDROCK_AGENTCORE; it checks what AgentCore checks, and forwards.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

ARN = "arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/nod_assistant-a1B2c3D4e5"
SESSION = "X-Amzn-Bedrock-AgentCore-Runtime-Session-Id"
PATH = re.compile(r"/runtimes/(?P<arn>[^/]+)/invocations")
STATUS = {
    "AccessDeniedException": 403,
    "InternalServerException": 500,
    "ResourceNotFoundException": 404,
    "RetryableConflictException": 409,
    "RuntimeClientError": 424,
    "ServiceQuotaExceededException": 402,
    "ThrottlingException": 429,
    "ValidationException": 400,
}
START = 60.0  # seconds, on a machine that is busy with other tests
REPOSITORY = Path(__file__).resolve().parent.parent.parent


class Hosted:
    """`python -m hosted`, started for the first request and after each end of the process."""

    def __init__(self, folder: Path, **env: str) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in ("DEBUG", "NOD_DATA")}
        self.env = {**kept, "NOD_MODEL_PROVIDER": "demo", "EMAIL_URL": f"file://{folder}/outbox"} | env
        self.env["NOD_DATA"] = str(folder)
        self.outbox = folder / "outbox"
        self.port = 0
        self.starts = 0
        self._log = folder / "hosted.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def awake(self) -> int:
        """The port of a process that answers."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            return self.port

    def _start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.outbox.parent.mkdir(parents=True, exist_ok=True)
        self.starts += 1
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hosted"],
                cwd=REPOSITORY,
                env=self.env | {"PORT": str(self.port)},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the hosted agent did not start: {self.log()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/ping")
            return b'"Healthy"' in connection.getresponse().read()
        except OSError:
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        """As AgentCore ends a session: at once."""
        with self._lock:
            if self._process is not None:
                self._process.send_signal(signal.SIGKILL)
                self._process.wait()

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def mails(self) -> list[str]:
        return [path.read_text() for path in sorted(self.outbox.glob("*"))]


@dataclass
class Invocation:
    """One request that came in."""

    session: str
    qualifier: str
    payload: dict[str, Any]

    @property
    def approves(self) -> list[str]:
        return [each["id"] for each in self.payload.get("decisions", []) if each["decision"] == "approve"]


Script = Callable[[Invocation], "str | bytes | Callable[[bytes], bytes | None] | None"]


@dataclass
class AgentCoreServer:
    """The server, in threads of its own while the `with` block lasts.

    Attributes:
        script: may answer an invocation instead of the agent: the name of an error, or what to make of each line of
            the agent's answer (None: the connection ends there), or in bytes all that an agent of somebody else's says.
        invocations: all that came in so far, in order.
    """

    hosted: Hosted
    script: Script = lambda invocation: None
    invocations: list[Invocation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> AgentCoreServer:
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self.hosted.kill()

    def env(self) -> dict[str, str]:
        """What points boto3 at it."""
        return {
            "AWS_ENDPOINT_URL_BEDROCK_AGENTCORE": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: AgentCoreServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up is no fault."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        found = PATH.fullmatch(parts.path)
        if not found or unquote(found["arn"]) != ARN:
            return self._refuse("ResourceNotFoundException", "There is no such runtime.")
        if not self.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 "):
            return self._refuse("AccessDeniedException", "Not signed.")
        session = self.headers.get(SESSION, "")
        if not 33 <= len(session) <= 256:
            return self._refuse("ValidationException", "The session's id has to have 33 to 256 characters.")
        qualifier = parse_qs(parts.query).get("qualifier", [""])[0]
        invocation = Invocation(session, qualifier, json.loads(body))
        owner = self.server.owner
        owner.invocations.append(invocation)
        answer = owner.script(invocation)
        if isinstance(answer, str):
            return self._refuse(answer, "No.")
        if isinstance(answer, bytes):
            return self._say(answer)
        self._forward(body, session, answer)

    def _forward(self, body: bytes, session: str, change: Callable[[bytes], bytes | None] | None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.owner.hosted.awake(), timeout=60)
        try:
            headers = {"Content-Type": "application/json", SESSION: session}
            connection.request("POST", "/invocations", body, headers)
            answer = connection.getresponse()
            if answer.status != 200:
                return self._refuse("RuntimeClientError", f"Received error ({answer.status}) from runtime.")
            self.send_response(200)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header(SESSION, session)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self._copy(answer, change)
        except (http.client.HTTPException, ConnectionError):
            self.close_connection = True  # the agent died: the caller's connection ends too
            self.connection.shutdown(socket.SHUT_RDWR)
        finally:
            connection.close()

    def _copy(self, answer: Any, change: Callable[[bytes], bytes | None] | None) -> None:
        while line := answer.readline():
            changed = change(line) if change else line
            if changed is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.wfile.write(b"%x\r\n%s\r\n" % (len(changed), changed))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, error: str, message: str) -> None:
        body = json.dumps({"message": message}).encode()
        self.send_response(STATUS[error])
        self.send_header("x-amzn-ErrorType", error)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
