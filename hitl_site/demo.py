"""The demo: drives a real Nod (web, worker, Valkey) through its API and prints a time line."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import policy
from email.parser import BytesParser
from pathlib import Path
from typing import Any

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
PATIENCE = 30.0  # seconds until a step that takes milliseconds counts as failed


class DemoProblem(Exception):
    """The demo cannot go on; the message says why."""


class Demo:
    """One play, in a data folder of its own that is gone afterwards."""

    def __init__(self, write: Callable[[str], Any], port: int) -> None:
        self._write = write
        self._port = port or _free_port()
        self._started = time.monotonic()

    def play(self) -> None:
        """Raises DemoProblem when something does not happen."""
        with tempfile.TemporaryDirectory(prefix="nod-demo-") as folder:
            self._env = {**os.environ, "NOD_DATA": folder, "DEBUG": "1", "PORT": str(self._port)}
            self._outbox = Path(folder) / "outbox"
            self._manage("migrate", "--verbosity", "0")
            self._manage("seed")
            self._alice = self._manage("token", "alice", "--scope", "chat").strip()
            self._rita = self._manage("token", "rita", "--scope", "review").strip()
            self._acts()

    def _acts(self) -> None:
        with self._up():
            session = self._call("POST", "sessions", self._alice, {"agent": "assistant"})["id"]
            self._two_in_a_turn(session)
            self._trust(session)
            self._ask(session, "Please delete tmp/old.log")
            (call,) = self._pending(session)
            self._say("desk", f"{call['tool']} waits. Now everything is stopped.")
        self._say("nod", "All processes are gone. The call is in the database, and nowhere else.")
        with self._up():
            (call,) = self._pending(session)
            self._decide(call, "approve")
            self._answer(session)
        self._say("nod", f"Mails that went out: {', '.join(self._sent())}.")

    def _sent(self) -> list[str]:
        """The addresses of all mails in the outbox, one for each mail."""
        parse = BytesParser(policy=policy.default).parsebytes
        return sorted(str(parse(path.read_bytes())["To"]) for path in self._outbox.glob("*.log"))

    def _two_in_a_turn(self, session: str) -> None:
        self._ask(
            session, "Email a@example.com and b@example.com about the launch. What is the weather in Brno?"
        )
        first, second = self._pending(session, 2)
        self._decide(first, "deny", comment="Not him, he left.")
        self._decide(second, "approve")
        self._answer(session)

    def _trust(self, session: str) -> None:
        self._ask(session, "Email c@example.com about the launch")
        (call,) = self._pending(session)
        self._decide(call, "deny", comment="Say hello first.")
        self._answer(session)
        self._ask(session, "Email c@example.com about the party")
        (call,) = self._pending(session)
        self._decide(call, "trust")
        self._answer(session)
        self._ask(session, "Email d@example.com about the party")
        self._answer(session)

    def _ask(self, session: str, text: str) -> None:
        self._say("alice", text)
        self._call("POST", f"sessions/{session}/messages", self._alice, {"text": text})

    def _pending(self, session: str, count: int = 1) -> list[dict[str, Any]]:
        path = f"calls?status=pending&session={session}"
        calls: list[dict[str, Any]] = self._until(
            f"{count} pending calls",
            lambda: self._call("GET", path, self._rita)["items"],
            lambda got: len(got) == count,
        )
        for call in calls:
            self._say(
                "desk", f"{call['tool']} asks: {_brief(call['arguments'])}  (because of “{call['policy']}”)"
            )
        return calls

    def _decide(self, call: dict[str, Any], decision: str, **extra: Any) -> None:
        body = {"decision": decision, "version": call["version"], "digest": call["digest"], **extra}
        self._call("POST", f"calls/{call['id']}/decisions", self._rita, body)
        reason = f": {extra['comment']}" if extra else ""
        self._say("rita", f"{decision}s {call['tool']} {call['id'][-4:]}{reason}")

    def _answer(self, session: str) -> None:
        state = self._until(
            "an answer",
            lambda: self._call("GET", f"sessions/{session}", self._alice),
            lambda got: got["status"] == "idle",
        )
        for block in state["messages"][-1]["content"]:
            for line in block.get("text", "").splitlines():
                if line:
                    self._say("agent", line)

    def _until(self, what: str, look: Callable[[], Any], done: Callable[[Any], bool]) -> Any:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if done(found := look()):
                return found
            time.sleep(0.01)  # polls; each look is a question of its own
        raise DemoProblem(f"{what} did not come within {PATIENCE:g} seconds.")

    def _call(self, method: str, path: str, token: str, body: Any = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 (our own server on loopback)
            f"http://127.0.0.1:{self._port}/api/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise DemoProblem(f"{method} {path}: {error.code} {error.read().decode()}") from None
        except OSError as error:
            raise DemoProblem(f"{method} {path}: {error}") from None

    @contextmanager
    def _up(self) -> Iterator[None]:
        """Nod's processes, until the block ends."""
        log = Path(self._env["NOD_DATA"]) / "demo.log"
        with log.open("a") as output:
            command = [sys.executable, str(MANAGE), "up", "--port", str(self._port)]
            process = subprocess.Popen(command, env=self._env, stdout=output, stderr=subprocess.STDOUT)
        try:
            self._until("Nod", lambda: process.poll() is not None or "ready on http" in log.read_text(), bool)
            if process.poll() is not None:
                raise DemoProblem("Nod did not come up:\n" + log.read_text()[-2000:])
            self._say("nod", "web and worker are up")
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=PATIENCE)
            log.unlink()

    def _manage(self, *args: str) -> str:
        done = subprocess.run(
            [sys.executable, MANAGE, *args], env=self._env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise DemoProblem(f"manage.py {args[0]}: {done.stderr.strip()}")
        return done.stdout

    def _say(self, who: str, text: str) -> None:
        self._write(f"{(time.monotonic() - self._started) * 1000:8.0f} ms  {who:>5}  {text}")


def _brief(arguments: dict[str, Any]) -> str:
    return ", ".join(
        f"{name}={json.dumps(value)[:40]}" for name, value in arguments.items() if name != "body"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
