"""A server that speaks the wire format of `bedrock-agentcore-control`, as far as a deployment goes, and streams an
answer as `bedrock-agentcore` does. For what moto lacks: statuses that change, failures with a reason, endpoints.

`python -m tests.fakes.agentcore_control` serves it with a moto beside it, and prints what to export to try it.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from tests.fakes.moto_server import MotoServer

ACCOUNT = "123456789012"  # moto's
REGION = "us-east-1"
ROUTES = (
    ("CreateAgentRuntime", "PUT", r"/runtimes/"),
    ("ListAgentRuntimes", "POST", r"/runtimes/"),
    ("GetAgentRuntime", "GET", r"/runtimes/(?P<id>[^/]+)/"),
    ("UpdateAgentRuntime", "PUT", r"/runtimes/(?P<id>[^/]+)/"),
    ("DeleteAgentRuntime", "DELETE", r"/runtimes/(?P<id>[^/]+)/"),
    ("ListAgentRuntimeEndpoints", "POST", r"/runtimes/(?P<id>[^/]+)/runtime-endpoints/"),
    ("GetAgentRuntimeEndpoint", "GET", r"/runtimes/(?P<id>[^/]+)/runtime-endpoints/(?P<name>[^/]+)/"),
    ("DeleteAgentRuntimeEndpoint", "DELETE", r"/runtimes/(?P<id>[^/]+)/runtime-endpoints/(?P<name>[^/]+)/"),
    ("ListTagsForResource", "GET", r"/tags/(?P<arn>.+)"),
    ("InvokeAgentRuntime", "POST", r"/runtimes/(?P<arn>arn.+)/invocations"),
)


class Failure(Exception):
    """What AgentCore refuses; `after` it has done what it was asked for, as when its answer is lost."""

    def __init__(self, status: int, kind: str, message: str, *, after: bool = False) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.after = status, kind, message, after


class AgentCore:
    """What AgentCore knows. Tests set what happens next, and look at `requests`."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.runtimes: dict[str, dict[str, Any]] = {}
        self.failures: dict[str, list[Failure]] = {}  # by operation, the next first
        self.steps = 0  # looks at a runtime until what is under way is done
        self.ends_in = ""  # such as CREATE_FAILED
        self.reason = ""
        self.endpoint_after = 0  # looks until there is an endpoint, and then one until it serves
        self.stuck = False
        self.listed = True
        self.empty = False  # answers {} to everything
        self.answer: list[bytes] = []  # pieces of an invocation's answer
        self.content_type = "text/event-stream"
        self.hold = threading.Event()  # an answer waits for it after its first piece
        self.hold.set()
        self.cut = False
        self._tokens: dict[str, dict[str, Any]] = {}
        self._looks: Counter[str] = Counter()
        self._made = 0
        self.lock = threading.Lock()

    def count(self, operation: str) -> int:
        return sum(name == operation for name, _ in self.requests)

    def handle(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            self.requests.append((operation, given))
            if self.empty:
                return {}
            failure = self.failures[operation].pop(0) if self.failures.get(operation) else None
            if failure and not failure.after:
                raise failure
            found: dict[str, Any] = getattr(self, f"_{operation}")(given)
            if failure:
                raise failure
            return found

    def _CreateAgentRuntime(self, given: dict[str, Any]) -> dict[str, Any]:
        token = given.pop("clientToken")
        if token in self._tokens:
            before = self._tokens[token]
            if before["given"] != given:
                raise Failure(400, "ValidationException", "The token was used with other parameters.")
            return before["runtime"]  # type: ignore[no-any-return]
        name = given["agentRuntimeName"]
        if any(each["agentRuntimeName"] == name for each in self.runtimes.values()):
            raise Failure(409, "ConflictException", f"An agent with the name {name} exists.")
        self._made += 1
        identity = f"{name}-{self._made:010d}"
        runtime = {
            **given,
            "agentRuntimeId": identity,
            "agentRuntimeArn": f"arn:aws:bedrock-agentcore:{REGION}:{ACCOUNT}:runtime/{identity}",
            "agentRuntimeVersion": "1",
            "createdAt": _now(),
            "lastUpdatedAt": _now(),
            "status": "CREATING",
            "lifecycleConfiguration": given["lifecycleConfiguration"],
            "workloadIdentityDetails": {"workloadIdentityArn": "arn:aws:bedrock-agentcore:::x"},
            "endpoints": {},
        }
        self.runtimes[identity] = runtime
        self._tokens[token] = {"given": given, "runtime": runtime}
        return runtime

    def _UpdateAgentRuntime(self, given: dict[str, Any]) -> dict[str, Any]:
        runtime = self._get(given)
        if runtime["status"] not in ("READY", "UPDATE_FAILED"):
            raise Failure(409, "ConflictException", f"The agent is {runtime['status']}.")
        given.pop("clientToken")
        version = str(int(runtime["agentRuntimeVersion"]) + 1)
        runtime.pop("failureReason", None)
        runtime.update(
            {**given, "status": "UPDATING", "agentRuntimeVersion": version, "lastUpdatedAt": _now()}
        )
        return runtime

    def _GetAgentRuntime(self, given: dict[str, Any]) -> dict[str, Any]:
        runtime = self._get(given)
        answer = dict(runtime)
        if runtime["status"].endswith("ING") and not self.stuck:
            self._looks[given["id"]] += 1
            if self._looks[given["id"]] > self.steps:
                self._looks[given["id"]] = 0
                self._done(runtime)
                answer = dict(runtime)
        return answer

    def _done(self, runtime: dict[str, Any]) -> None:
        if runtime["status"] == "DELETING" and self.ends_in != "DELETE_FAILED":
            del self.runtimes[runtime["agentRuntimeId"]]
            raise Failure(404, "ResourceNotFoundException", "It is gone.")
        runtime["status"] = self.ends_in or "READY"
        if self.ends_in:
            runtime["failureReason"], self.ends_in = self.reason, ""
            return
        endpoint = {"name": "DEFAULT", "id": "DEFAULT-0000000001", "looks": 0, "status": "UPDATING"}
        arn = runtime["agentRuntimeArn"]
        arns = {"agentRuntimeArn": arn, "agentRuntimeEndpointArn": f"{arn}/runtime-endpoint/DEFAULT"}
        runtime["endpoints"]["DEFAULT"] = {**runtime["endpoints"].get("DEFAULT", {}), **arns, **endpoint}

    def _DeleteAgentRuntime(self, given: dict[str, Any]) -> dict[str, Any]:
        runtime = self._get(given)
        if set(runtime["endpoints"]) - {"DEFAULT"}:
            raise Failure(409, "ConflictException", "The agent has endpoints.")
        runtime["status"] = "DELETING"
        return runtime

    def _ListAgentRuntimes(self, given: dict[str, Any]) -> dict[str, Any]:
        """One a page, so that whoever reads but the first page is found out."""
        every = sorted(self.runtimes) if self.listed else []
        at = int(given.get("nextToken", "0"))
        page = [{"description": "", **self.runtimes[each]} for each in every[at : at + 1]]
        return {"agentRuntimes": page, **({"nextToken": str(at + 1)} if at + 1 < len(every) else {})}

    def _ListTagsForResource(self, given: dict[str, Any]) -> dict[str, Any]:
        for runtime in self.runtimes.values():
            if runtime["agentRuntimeArn"] == given["arn"]:
                return {"tags": runtime.get("tags", {})}
        raise Failure(404, "ResourceNotFoundException", "There is no such resource.")

    def _ListAgentRuntimeEndpoints(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"runtimeEndpoints": [{"name": name} for name in self._get(given)["endpoints"]]}

    def _GetAgentRuntimeEndpoint(self, given: dict[str, Any]) -> dict[str, Any]:
        runtime = self._get(given)
        endpoint = runtime["endpoints"].get(given["name"])
        if endpoint is None:
            raise Failure(404, "ResourceNotFoundException", "There is no such endpoint.")
        endpoint["looks"] += 1
        if endpoint["looks"] <= self.endpoint_after:
            raise Failure(404, "ResourceNotFoundException", "There is no such endpoint yet.")
        version = runtime["agentRuntimeVersion"]
        if endpoint["looks"] > self.endpoint_after + bool(self.endpoint_after):
            endpoint.update(status="READY", liveVersion=version)
        return {**endpoint, "targetVersion": version, "lastUpdatedAt": _now(), "createdAt": _now()}

    def _DeleteAgentRuntimeEndpoint(self, given: dict[str, Any]) -> dict[str, Any]:
        self._get(given)["endpoints"].pop(given["name"])
        return {"status": "DELETING"}

    def _InvokeAgentRuntime(self, given: dict[str, Any]) -> dict[str, Any]:
        if not any(each["agentRuntimeArn"] == given["arn"] for each in self.runtimes.values()):
            raise Failure(404, "ResourceNotFoundException", "No endpoint or agent found.")
        return {}

    def _get(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["id"] not in self.runtimes:
            raise Failure(404, "ResourceNotFoundException", "There is no such agent.")
        return self.runtimes[given["id"]]


def _now() -> str:
    return datetime.now(UTC).isoformat()


class AgentCoreServer:
    """Serves an AgentCore on 127.0.0.1."""

    def __init__(self) -> None:
        self.known = AgentCore()
        self._http = _Server(("127.0.0.1", 0), self.known)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> AgentCoreServer:
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.known.hold.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], known: AgentCore) -> None:
        super().__init__(address, _Handler)
        self.known = known

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        given = dict(part.split("=", 1) for part in query.split("&") if "=" in part)
        try:
            operation, names = _route(self.command, unquote(path))
            if operation == "InvokeAgentRuntime":
                given["payload"] = json.loads(body)
                given["session"] = self.headers["X-Amzn-Bedrock-AgentCore-Runtime-Session-Id"]
            elif body:
                given |= json.loads(body)
            answer = self.server.known.handle(operation, {**given, **names})
        except Failure as failure:
            self._send(failure.status, {"message": failure.message}, {"x-amzn-ErrorType": failure.kind})
            return
        if operation == "InvokeAgentRuntime":
            self._stream()
        else:
            self._send(200, answer)

    do_GET = do_PUT = do_POST = do_DELETE = _any

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet; `requests` has it all."""

    def _send(self, status: int, content: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self) -> None:
        known = self.server.known
        self.send_response(200)
        self.send_header("Content-Type", known.content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in known.answer:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            known.hold.wait(20)
        if known.cut:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")


def _route(method: str, path: str) -> tuple[str, dict[str, str]]:
    for operation, verb, pattern in ROUTES:
        if verb == method and (found := re.fullmatch(pattern, path)):
            return operation, found.groupdict()
    raise Failure(404, "UnknownOperationException", f"There is no {method} {path}.")


def environment(agentcore: str, moto: str) -> dict[str, str]:
    """What boto3 takes to talk to these two instead of AWS."""
    urls = dict.fromkeys(("S3", "IAM", "STS"), moto)
    urls |= dict.fromkeys(("BEDROCK_AGENTCORE", "BEDROCK_AGENTCORE_CONTROL"), agentcore)
    credentials = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "very-secret-key"}
    return {f"AWS_ENDPOINT_URL_{name}": url for name, url in urls.items()} | credentials


def main() -> None:
    """Serve until interrupted."""
    with AgentCoreServer() as server, MotoServer() as moto:
        server.known.steps = 3
        server.known.answer = [
            f'data: "{word} "\n\n'.encode() for word in ["The", "weather", "is", "sunny", "."]
        ]
        for name, value in environment(server.url, moto.url).items():
            print(f"export {name}={value}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("Stopped.", flush=True)


if __name__ == "__main__":
    main()
