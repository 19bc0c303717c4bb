"""A server that speaks three wire formats: Anthropic's messages, OpenAI's chat completions, Ollama's chat.

Each client is pointed at it by the address that it reads from the environment. It streams, checks the key, and is as
strict as the real ones where that has cost somebody a working agent.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.fakes.bedrock import ToolUse

KEY = "sk-test-key"
PATHS = {"/v1/messages": "anthropic", "/v1/chat/completions": "openai", "/api/chat": "ollama"}
USAGE = {"read": 120, "written": 7, "cached": 100}  # of each answer that tells


@dataclass(frozen=True)
class Refusal:
    """An HTTP error: its status, and how the API calls it."""

    status: int
    type: str = ""
    message: str = "No."


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        thinking: comes before the text, with a signature where the API has one.
        refusal: an HTTP error instead.
        broken: an error event of this type in the middle of the text.
        cut: the connection ends in the middle of the text: "clean", as if all were sent, or "rough".
        wait: holds the answer back until it is set.
    """

    text: str = ""
    tools: Sequence[ToolUse] = ()
    thinking: str = ""
    refusal: Refusal | None = None
    broken: str = ""
    cut: str = ""
    wait: threading.Event | None = None

    @property
    def words(self) -> list[str]:
        """As they are sent; half of them where it breaks off."""
        words = re.findall(r"\s*\S+\s*?", self.text)
        return words[: len(words) // 2] if self.broken or self.cut else words

    @property
    def stops(self) -> bool:
        return bool(self.broken or self.cut)


@dataclass(frozen=True)
class Request:
    """A request that came in: which API, headers in lower case, body."""

    api: str
    headers: dict[str, str]
    body: dict[str, Any]


Script = Sequence[Answer | str] | Callable[[dict[str, Any]], Answer]


@dataclass
class ModelServer:
    """The server, in threads of its own while the `with` block lasts."""

    script: Script = ()
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> ModelServer:
        self._lock = threading.Lock()
        self._turns = iter(()) if callable(self.script) else iter(self.script)
        self._http = _Server(("127.0.0.1", 0), self)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            if refusal := _wrong(request):
                return Answer(refusal=refusal)
            turn = self.script(request.body) if callable(self.script) else next(self._turns)
            return Answer(turn) if isinstance(turn, str) else turn


def _wrong(request: Request) -> Refusal | None:
    """What the real servers would not take."""
    given = request.headers.get("x-api-key") or _bearer(request)
    if request.api != "ollama" and given != KEY:
        return Refusal(401, "authentication_error", "invalid x-api-key")
    if request.api == "openai" and request.body.get("tools") == []:
        return Refusal(400, "invalid_request_error", "Invalid 'tools': empty array.")
    if request.api == "anthropic" and not request.body.get("max_tokens"):
        return Refusal(400, "invalid_request_error", "max_tokens: Field required")
    return None


def _bearer(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


# --- Anthropic ---------------------------------------------------------------------------------------------
def _anthropic(answer: Answer) -> Iterator[bytes]:
    usage = {"input_tokens": USAGE["read"], "cache_read_input_tokens": USAGE["cached"], "output_tokens": 1}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": []}
    yield _sse("message_start", message={**head, "stop_reason": None, "stop_sequence": None, "usage": usage})
    index = 0
    if answer.thinking:
        block: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = [
            {"type": "thinking_delta", "thinking": answer.thinking},
            {"type": "signature_delta", "signature": signature(answer.thinking)},
        ]
        yield from _block(index, block, deltas)
        index += 1
    if answer.text:
        yield from _block(
            index,
            {"type": "text", "text": ""},
            [{"type": "text_delta", "text": word} for word in answer.words],
        )
        index += 1
    if answer.broken:
        yield _sse("error", error={"type": answer.broken, "message": "Broken."})
    if answer.stops:
        return
    for use in answer.tools:
        block = {"type": "tool_use", "id": use.id, "name": use.name, "input": {}}
        yield from _block(
            index, block, [{"type": "input_json_delta", "partial_json": part} for part in _halves(use)]
        )
        index += 1
    reason = "tool_use" if answer.tools else "end_turn"
    delta = {"stop_reason": reason, "stop_sequence": None}
    yield _sse("message_delta", delta=delta, usage={"output_tokens": USAGE["written"]})
    yield _sse("message_stop")


def signature(thinking: str) -> str:
    """What only the model can make of it."""
    return f"signed:{len(thinking)}:{thinking[::-1]}"


def _block(index: int, block: dict[str, Any], deltas: list[dict[str, Any]]) -> Iterator[bytes]:
    yield _sse("content_block_start", index=index, content_block=block)
    for delta in deltas:
        yield _sse("content_block_delta", index=index, delta=delta)
    yield _sse("content_block_stop", index=index)


def _sse(kind: str, **data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()


def _halves(use: ToolUse) -> tuple[str, str]:
    half = len(use.text) // 2
    return use.text[:half], use.text[half:]


# --- OpenAI ------------------------------------------------------------------------------------------------
def _openai(answer: Answer) -> Iterator[bytes]:
    if answer.thinking:
        yield _chunk({"role": "assistant", "reasoning_content": answer.thinking})
    for word in answer.words:
        yield _chunk({"role": "assistant", "content": word})
    if answer.broken:
        yield f"data: {json.dumps({'error': {'type': answer.broken, 'message': 'Broken.'}})}\n\n".encode()
    if answer.stops:
        return
    for index, use in enumerate(answer.tools):
        first, second = _halves(use)
        function: dict[str, Any] = {"name": use.name, "arguments": first}
        # Some servers number the calls of each turn anew; an id that comes again has to do no harm.
        yield _chunk(
            {
                "tool_calls": [
                    {"index": index, "id": f"call_{index}", "type": "function", "function": function}
                ]
            }
        )
        yield _chunk({"tool_calls": [{"index": index, "function": {"arguments": second}}]})
    yield _chunk({}, "tool_calls" if answer.tools else "stop")
    total = USAGE["read"] + USAGE["written"]
    usage = {"prompt_tokens": USAGE["read"], "completion_tokens": USAGE["written"], "total_tokens": total}
    yield _line(choices=[], usage={**usage, "prompt_tokens_details": {"cached_tokens": USAGE["cached"]}})
    yield b"data: [DONE]\n\n"


def _chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return _line(choices=[{"index": 0, "delta": delta, "finish_reason": finish}])


def _line(**data: Any) -> bytes:
    whole = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt", **data}
    return f"data: {json.dumps(whole)}\n\n".encode()


# --- Ollama ------------------------------------------------------------------------------------------------
def _ollama(answer: Answer) -> Iterator[bytes]:
    for word in answer.words:
        yield _part({"content": word})
    if answer.broken:
        yield json.dumps({"error": answer.broken}).encode() + b"\n"
    if answer.stops:
        return
    for use in answer.tools:
        yield _part({"tool_calls": [{"function": {"name": use.name, "arguments": use.input}}]})
    counts = {"prompt_eval_count": USAGE["read"], "eval_count": USAGE["written"], "total_duration": 5_000_000}
    yield _part({"content": ""}, done=True, done_reason="stop", **counts)


def _part(message: dict[str, Any], done: bool = False, **more: Any) -> bytes:
    head = {"model": "llama", "created_at": "2026-01-01T00:00:00Z", "done": done}
    return json.dumps({**head, "message": {"role": "assistant", **message}, **more}).encode() + b"\n"


SPEAKS = {"anthropic": _anthropic, "openai": _openai, "ollama": _ollama}


# --- HTTP --------------------------------------------------------------------------------------------------
class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # nobody need wait for a connection that is kept alive

    def __init__(self, address: tuple[str, int], owner: ModelServer) -> None:
        super().__init__(address, _Handler)
        self.owner = owner

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        api = PATHS.get(self.path.partition("?")[0])
        if api is None:
            self._refuse("openai", Refusal(404, "not_found", f"There is no {self.path}."))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.owner.answer(Request(api, headers, body))
        if answer.refusal:
            self._refuse(api, answer.refusal)
        else:
            self._stream(api, answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet; `requests` has it all."""

    def _refuse(self, api: str, refusal: Refusal) -> None:
        error: Any = {"type": refusal.type, "code": refusal.type, "message": refusal.message}
        data = {"error": refusal.message} if api == "ollama" else {"type": "error", "error": error}
        text = json.dumps(data).encode()
        self.send_response(refusal.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _stream(self, api: str, answer: Answer) -> None:
        if answer.wait:
            answer.wait.wait(30)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson" if api == "ollama" else "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for data in SPEAKS[api](answer):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        if answer.cut == "rough":
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")
