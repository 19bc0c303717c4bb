"""A server that speaks Amazon Bedrock's wire format, for tests and for trying a whole application offline.

boto3 reaches it with AWS_ENDPOINT_URL_BEDROCK_RUNTIME; it answers `converse` and `converse-stream`.
`python -m tests.fakes.bedrock --port 9001` serves the answers of the demo model, in a process of its own.
"""

import argparse
import base64
import json
import re
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

from agents.providers._demo_answer import answer

PATH = re.compile(r"/model/(?P<model>[^/]+)/(?P<operation>converse|converse-stream)")
STATUS = {  # what Bedrock answers with
    "ValidationException": 400,
    "UnrecognizedClientException": 403,
    "ExpiredTokenException": 403,
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "ModelTimeoutException": 408,
    "ModelErrorException": 424,
    "ThrottlingException": 429,
    "ModelNotReadyException": 429,
    "InternalServerException": 500,
    "ServiceUnavailableException": 503,
}


@dataclass(frozen=True)
class ToolUse:
    """A tool call of the model; input as text is sent as it is, so that it may be malformed."""

    name: str
    input: dict[str, Any] | str
    id: str = field(default_factory=lambda: f"tooluse_{uuid4().hex}")

    @property
    def text(self) -> str:
        """The input as it goes over the wire."""
        return self.input if isinstance(self.input, str) else json.dumps(self.input)


@dataclass(frozen=True)
class Failure:
    """An error in place of an answer: the type as Bedrock names it, such as ThrottlingException."""

    type: str
    message: str = "No."

    @property
    def status(self) -> int:
        """The HTTP status that goes with the type."""
        return STATUS.get(self.type, 400)


@dataclass(frozen=True)
class Reply:
    """One answer.

    Attributes:
        text: sent in several deltas.
        tools: tool calls after the text.
        stop_reason: tool_use or end_turn when it is left out.
        error: an HTTP error instead of all that.
        broken: an exception event, such as modelStreamErrorException, in the middle of the text.
        cut: the connection ends in the middle of the text: "clean", as if all were sent, or "rough".
        thinking: comes before the text, signed.
        hidden: thinking that is shown to nobody.
        guardrail: what a guardrail did, BLOCKED or ANONYMIZED; told in the trace, and by the stop reason.
        untraced: the guardrail's trace is switched off.
        usage: token counts in place of the rule of thumb.
    """

    text: str = ""
    tools: Sequence[ToolUse] = ()
    stop_reason: str = ""
    error: Failure | None = None
    broken: str = ""
    cut: str = ""
    thinking: str = ""
    hidden: bytes = b""
    guardrail: str = ""
    untraced: bool = False
    usage: dict[str, int] | None = None

    @property
    def stop(self) -> str:
        """The stop reason that is sent."""
        if self.guardrail:
            return "guardrail_intervened"
        return self.stop_reason or ("tool_use" if self.tools else "end_turn")


@dataclass(frozen=True)
class Request:
    """A request that came in: model id, operation, headers in lower case, and body."""

    model: str
    operation: str
    headers: dict[str, str]
    body: dict[str, Any]


Script = Sequence[Reply | str] | Callable[[dict[str, Any]], Reply]


class BedrockServer:
    """The server, in threads of its own while the `with` block lasts.

    Attributes:
        url: where it listens.
        requests: all that came in so far, in order.
    """

    def __init__(self, script: Script = (), *, port: int = 0, delay: float = 0.0) -> None:
        """Answer with one turn of the script after the other, or with what it returns for a request's body.

        Args:
            script: the answers; text alone is a Reply with that text.
            port: 0 for any free port.
            delay: seconds between two deltas of text.
        """
        self.requests: list[Request] = []
        self.delay = delay
        self._lock = threading.Lock()
        self._turns = None if callable(script) else iter([_reply(turn) for turn in script])
        self._script = script if callable(script) else None
        self._http = _Server(("127.0.0.1", port), self)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> "BedrockServer":
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def serve(self) -> None:
        """Serve in this thread until it is interrupted."""
        with self._http:
            self._http.serve_forever()

    def answer(self, request: Request) -> Reply:
        """Record a request and say what to answer."""
        with self._lock:
            self.requests.append(request)
            if self._script is not None:
                return self._script(request.body)
            end = Reply(error=Failure("ValidationException", "The script of the fake server has ended."))
            return next(self._turns, end) if self._turns is not None else end


def _reply(turn: Reply | str) -> Reply:
    return Reply(turn) if isinstance(turn, str) else turn


def demo_script(body: dict[str, Any]) -> Reply:
    """What the demo model would answer to the body of a request."""
    specs = body.get("toolConfig", {}).get("tools", [])
    names = {spec["toolSpec"]["name"] for spec in specs if "toolSpec" in spec}
    said = answer(body["messages"], names)
    return Reply(said.text, [ToolUse(name, arguments) for name, arguments in said.calls])


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """One message of application/vnd.amazon.eventstream."""
    head = b"".join(_header(name, value) for name, value in headers.items())
    # 16 bytes: two lengths and a CRC before the headers, a CRC after the payload.
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack(">I", zlib.crc32(message))


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    string = 7  # the type of the value
    return struct.pack(">B", len(key)) + key + struct.pack(">BH", string, len(text)) + text


def event(kind: str, data: dict[str, Any]) -> bytes:
    """An event frame, such as messageStart."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    # Bedrock pads with a field `p`, so that lengths give nothing away; clients have to ignore it.
    return frame(headers, json.dumps({**data, "p": "abcdefgh"}).encode())


def exception(kind: str, message: str) -> bytes:
    """An exception frame, such as modelStreamErrorException; nothing comes after it."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, json.dumps({"message": message}).encode())


def frames(reply: Reply, body: dict[str, Any]) -> Iterator[bytes]:
    """The frames of a streamed answer."""
    yield event("messageStart", {"role": "assistant"})
    words = re.findall(r"\s*\S+\s*?|\s+", reply.text)
    if reply.broken or reply.cut:
        yield from (_text(word) for word in words[: len(words) // 2])
        if reply.broken:
            yield exception(reply.broken, "The model failed.")
        return
    index = 0
    for thought in _thoughts(reply):
        yield from (_delta(index, {"reasoningContent": part}) for part in thought)
        yield event("contentBlockStop", {"contentBlockIndex": index})
        index += 1
    yield from (_text(word, index) for word in words)
    if words:
        yield event("contentBlockStop", {"contentBlockIndex": index})
        index += 1
    for number, use in enumerate(reply.tools, start=index):
        yield from _tool_frames(number, use)
    yield event("messageStop", {"stopReason": reply.stop})
    yield event("metadata", {"usage": _usage(reply, body), "metrics": {"latencyMs": 1}, **_trace(reply)})


def signature(thinking: str) -> str:
    """What only the model can make of it."""
    return base64.b64encode(f"signed {thinking}".encode()).decode()


def _thoughts(reply: Reply) -> Iterator[list[dict[str, str]]]:
    if reply.thinking:
        yield [{"text": reply.thinking}, {"signature": signature(reply.thinking)}]
    if reply.hidden:
        yield [{"redactedContent": base64.b64encode(reply.hidden).decode()}]


def _trace(reply: Reply) -> dict[str, Any]:
    if not reply.guardrail or reply.untraced:
        return {}
    found = {
        "topicPolicy": {
            "topics": [{"name": "Weapons", "type": "DENY", "action": reply.guardrail, "detected": True}]
        }
    }
    return {"trace": {"guardrail": {"inputAssessment": {"gr-1": found}}}}


def _text(word: str, index: int = 0) -> bytes:
    return _delta(index, {"text": word})


def _delta(index: int, delta: dict[str, Any]) -> bytes:
    return event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})


def _tool_frames(index: int, use: ToolUse) -> Iterator[bytes]:
    start = {"toolUse": {"toolUseId": use.id, "name": use.name}}
    yield event("contentBlockStart", {"contentBlockIndex": index, "start": start})
    half = len(use.text) // 2
    for part in (use.text[:half], use.text[half:]):
        yield event("contentBlockDelta", {"contentBlockIndex": index, "delta": {"toolUse": {"input": part}}})
    yield event("contentBlockStop", {"contentBlockIndex": index})


def message(reply: Reply, body: dict[str, Any]) -> dict[str, Any]:
    """A whole answer, as `converse` gives it."""
    content: list[dict[str, Any]] = [_whole(thought) for thought in _thoughts(reply)]
    if reply.text:
        content.append({"text": reply.text})
    for use in reply.tools:
        content.append({"toolUse": {"toolUseId": use.id, "name": use.name, "input": use.input}})
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": reply.stop,
        "usage": _usage(reply, body),
        "metrics": {"latencyMs": 1},
        **_trace(reply),
    }


def _whole(thought: list[dict[str, str]]) -> dict[str, Any]:
    parts: dict[str, Any] = {name: value for part in thought for name, value in part.items()}
    return {"reasoningContent": parts if "redactedContent" in parts else {"reasoningText": parts}}


def _usage(reply: Reply, body: dict[str, Any]) -> dict[str, int]:
    if reply.usage is not None:
        return reply.usage
    read, written = len(str(body)) // 4, len(str(reply)) // 4
    return {"inputTokens": read, "outputTokens": written, "totalTokens": read + written}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A kept-alive connection waits for its next request; nobody need wait for it at the end.
    block_on_close = False

    def __init__(self, address: tuple[str, int], owner: BedrockServer) -> None:
        super().__init__(address, _Handler)
        self.owner = owner

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = PATH.fullmatch(self.path)
        if not found:
            self._fail(Failure("ResourceNotFoundException", f"There is no {self.path}."))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.loads(data)
        reply = self.server.owner.answer(Request(unquote(found["model"]), found["operation"], headers, body))
        if reply.error:
            self._fail(reply.error)
        elif found["operation"] == "converse":
            self._send(200, message(reply, body))
        else:
            self._stream(reply, body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet; `requests` has it all."""

    def _fail(self, failure: Failure) -> None:
        content = {"__type": failure.type, "message": failure.message}
        self._send(failure.status, content, {"x-amzn-ErrorType": failure.type})

    def _send(self, status: int, content: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, reply: Reply, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.amazon.eventstream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for data in frames(reply, body):
            self._chunk(data)
            time.sleep(self.server.owner.delay)
        if reply.cut == "rough":
            self.close_connection = True
        else:
            self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))


def main() -> None:
    """Serve the demo's answers until interrupted."""
    parser = argparse.ArgumentParser(description="A fake Amazon Bedrock that answers like the demo model.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay-ms", type=int, default=15)
    options = parser.parse_args()
    server = BedrockServer(demo_script, port=options.port, delay=options.delay_ms / 1000)
    print(f"AWS_ENDPOINT_URL_BEDROCK_RUNTIME={server.url}", flush=True)
    try:
        server.serve()
    except KeyboardInterrupt:
        print("Stopped.", flush=True)


if __name__ == "__main__":
    main()
