"""A real Nod for a measurement, and clients for it."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import websockets

from tests.postgres import server
from tests.system import PATIENCE, System


class Client:
    """One person at the API."""

    def __init__(self, system: System, user: str, scope: str) -> None:
        token = system.token(user, scope)
        self.http = httpx.AsyncClient(
            base_url=f"{system.url}/api/v1/", headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE
        )

    async def get(self, path: str) -> Any:
        return (await self.http.get(path)).raise_for_status().json()

    async def post(self, path: str, body: Any) -> Any:
        return (await self.http.post(path, json=body)).raise_for_status().json()

    async def decide(self, call: dict[str, Any], decision: str = "approve") -> Any:
        body = {"decision": decision, "version": call["version"], "digest": call["digest"]}
        return await self.post(f"calls/{call['id']}/decisions", body)


async def sign_in(system: System, user: str) -> str:
    """The Cookie header of a signed-in browser."""
    async with httpx.AsyncClient(base_url=system.url) as http:
        page = await http.get("/login/")
        form = {"username": user, "password": "nod", "csrfmiddlewaretoken": http.cookies["csrftoken"]}
        answer = await http.post("/login/", data=form, headers={"Referer": str(page.url)})
        assert answer.status_code == 302, answer.text
        return "; ".join(f"{name}={value}" for name, value in http.cookies.items())


@asynccontextmanager
async def doorbells(system: System, path: str, cookie: str) -> AsyncIterator[Doorbells]:
    """A browser's socket."""
    url = f"ws://127.0.0.1:{system.port}{path}"
    async with websockets.connect(url, additional_headers={"Cookie": cookie}, origin=system.url) as ws:  # type: ignore[arg-type]
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
    with tempfile.TemporaryDirectory(prefix="nod-bench-") as folder:
        if kind == "sqlite":
            yield System(Path(folder)).prepare()
        else:
            with server() as url:
                yield System(Path(folder), DATABASE_URL=url).prepare()
