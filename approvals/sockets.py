"""A push-only socket: doorbells out, nothing in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any

from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from redis.exceptions import RedisError

from approvals.hub import hub

logger = logging.getLogger("nod.sockets")

NOT_ALLOWED = 4403
TRY_AGAIN = 1013


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
        try:
            async with hub().listen(topic) as queue:
                await self.send(json.dumps({"kind": "hello"}))
                while True:
                    await self.send(json.dumps(await queue.get()))
        except (RedisError, OSError) as error:  # an open socket that hears nothing would look alive
            logger.debug("socket closed: %s", error)
            await self.close(TRY_AGAIN)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Decisions come by POST alone."""

    async def websocket_disconnect(self, message: Any) -> None:
        if self._pump:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump
        raise StopConsumer
