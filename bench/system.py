"""A real Nod for a measurement, and clients for it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import websockets

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
PATIENCE = 30.0

SETUP = """
from agents.models import Agent
agent = Agent.objects.get(slug="assistant")
agent.parameters = {"delay_ms": 0}
agent.save()
"""


class System:
    """One Nod on loopback; `database_url` is empty for SQLite."""

    def __init__(self, folder: Path, database_url: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self._env = {**os.environ, "NOD_DATA": str(folder), "DEBUG": "1", "DATABASE_URL": database_url}
        if not database_url:
            del self._env["DATABASE_URL"]

    def prepare(self) -> None:
        self.manage("migrate", "--verbosity", "0")
        self.manage("seed")
        self.manage("shell", "--command", SETUP, "--no-imports")
        self.alice = self.manage("token", "alice", "--scope", "chat").strip()
        self.rita = self.manage("token", "rita", "--scope", "review").strip()

    def manage(self, *args: str) -> str:
        return subprocess.run(
            [sys.executable, MANAGE, *args], env=self._env, capture_output=True, text=True, check=True
        ).stdout

    @contextmanager
    def up(self) -> Iterator[psutil.Process]:
        """Nod's processes, until the block ends."""
        command = [sys.executable, str(MANAGE), "up", "--port", str(self.port)]
        log = self.folder / "bench.log"
        process = subprocess.Popen(command, env=self._env, stdout=log.open("w"), stderr=subprocess.STDOUT)
        try:
            self._wait(process, log)
            yield psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)

    def _wait(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + PATIENCE
        while "ready on http" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Nod did not come up:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)


class Client:
    """One person at the API."""

    def __init__(self, system: System, token: str) -> None:
        self.http = httpx.AsyncClient(
            base_url=f"{system.base}/api/v1/", headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE
        )

    async def get(self, path: str) -> Any:
        return (await self.http.get(path)).raise_for_status().json()

    async def post(self, path: str, body: Any) -> Any:
        return (await self.http.post(path, json=body)).raise_for_status().json()

    async def decide(self, call: dict[str, Any], decision: str = "approve") -> Any:
        body = {"decision": decision, "version": call["version"], "digest": call["digest"]}
        return await self.post(f"calls/{call['id']}/decisions", body)

    async def pending(self, session: str) -> dict[str, Any]:
        """The session's pending call, asked for until it is there."""
        while True:
            items = (await self.get(f"calls?status=pending&session={session}"))["items"]
            if items:
                return dict(items[0])
            await asyncio.sleep(0.002)


async def sign_in(system: System, user: str) -> str:
    """The Cookie header of a signed-in browser."""
    async with httpx.AsyncClient(base_url=system.base) as http:
        page = await http.get("/login/")
        form = {"username": user, "password": "nod", "csrfmiddlewaretoken": http.cookies["csrftoken"]}
        answer = await http.post("/login/", data=form, headers={"Referer": str(page.url)})
        assert answer.status_code == 302, answer.text
        return "; ".join(f"{name}={value}" for name, value in http.cookies.items())


@asynccontextmanager
async def doorbells(system: System, path: str, cookie: str) -> AsyncIterator[Doorbells]:
    """A browser's socket."""
    url = f"ws://127.0.0.1:{system.port}{path}"
    async with websockets.connect(url, additional_headers={"Cookie": cookie}, origin=system.base) as ws:  # type: ignore[arg-type]
        bells = Doorbells(ws)
        await bells.until(lambda bell: bell["kind"] == "hello")
        yield bells


class Doorbells:
    def __init__(self, ws: Any) -> None:
        self._ws = ws

    async def until(self, wanted: Any) -> dict[str, Any]:
        while True:
            bell = json.loads(await asyncio.wait_for(self._ws.recv(), PATIENCE))
            if wanted(bell):
                return dict(bell)


@contextmanager
def systems(kind: str) -> Iterator[System]:
    """A prepared system on "sqlite" or "postgresql"."""
    from tests.postgres import server

    with tempfile.TemporaryDirectory(prefix="nod-bench-") as folder:
        if kind == "sqlite":
            yield _prepared(Path(folder), "")
        else:
            with server() as url:
                yield _prepared(Path(folder), url)


def _prepared(folder: Path, url: str) -> System:
    system = System(folder, url)
    system.prepare()
    return system
