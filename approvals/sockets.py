"""A push-only socket: doorbells out, nothing in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any

from autobahn.exception import Disconnected
from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import Error as DatabaseError
from django.utils.module_loading import import_string
from redis.exceptions import RedisError

from approvals.hub import GONE, hub

logger = logging.getLogger("nod.sockets")

LOOK_EVERY = 30.0  # seconds until a socket notices that its person signed out
# daphne sends 1000 and those from 3000 on, and fails at any other, such as 1013, “try again later”
NOT_ALLOWED = 4403
TRY_AGAIN = 4503


class DoorbellSocket(AsyncWebsocketConsumer):
    """Subclasses say which topic a connection hears, or None where the person may not."""

    # the hub has the one channel of this process, so this socket needs none of its own
    channel_layer_alias = "none"
    _pump: asyncio.Task[None] | None = None

    @property
    def user(self) -> Any:
        """The signed-in person, or AnonymousUser."""
        return self.scope["user"]

    def topic(self) -> str | None:
        """Runs in a thread, may query. `self.scope` has the URL's arguments."""
        raise NotImplementedError

    async def connect(self) -> None:
        topic = await database_sync_to_async(self.topic)() if self.user.is_authenticated else None
        await (
            self.accept()
        )  # a refused handshake looks like a network fault to a browser; a close code does not
        if topic is None:
            await self.close(NOT_ALLOWED)
            return
        self._pump = asyncio.create_task(self._push(topic))

    async def _push(self, topic: str) -> None:
        # the browser may be gone while something is on its way to it; `websocket_disconnect` follows
        with contextlib.suppress(Disconnected):
            try:
                async with hub().listen(topic) as queue:
                    await self.send(json.dumps({"kind": "hello"}))
                    await self._relay(queue)
            # an open socket that hears nothing would look alive
            except (RedisError, OSError, DatabaseError) as error:
                logger.debug("socket closed: %s", error)
                await self.close(TRY_AGAIN)

    async def _relay(self, queue: asyncio.Queue[dict[str, Any]]) -> None:
        """Every doorbell, for as long as the person is signed in and may hear them."""
        loop = asyncio.get_running_loop()
        look_at = loop.time() + LOOK_EVERY
        while True:
            try:
                payload = await asyncio.wait_for(queue.get(), max(look_at - loop.time(), 0))
            except TimeoutError:
                if not await self._still_allowed():
                    await self.close(NOT_ALLOWED)
                    return
                look_at = loop.time() + LOOK_EVERY
                continue
            if payload is GONE:
                await self.close(TRY_AGAIN)
                return
            await self.send(json.dumps(payload))

    async def _still_allowed(self) -> bool:
        """Asks anew: the login may have ended, or the person's rights."""
        store = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
        scope: Any = self.scope
        scope["session"] = store(scope["session"].session_key)
        scope["user"] = await get_user(scope)
        return self.user.is_authenticated and await database_sync_to_async(self.topic)() is not None

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Decisions come by POST alone."""

    async def websocket_disconnect(self, message: Any) -> None:
        if self._pump:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump
        raise StopConsumer
