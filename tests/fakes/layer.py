"""A channel layer inside one process, for senders and receivers on different event loops.

Channels' own in-memory layer puts into another loop's queue without waking that loop.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import count
from typing import Any

from channels.layers import BaseChannelLayer


class LocalLayer(BaseChannelLayer):
    """Has the methods that Nod uses, no more."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: defaultdict[str, set[str]] = defaultdict(set)
        self._inboxes: dict[str, tuple[asyncio.AbstractEventLoop, asyncio.Queue[dict[str, Any]]]] = {}
        self._numbers = count(1)

    async def new_channel(self, prefix: str = "test") -> str:
        name = f"{prefix}!{next(self._numbers)}"
        self._inboxes[name] = asyncio.get_running_loop(), asyncio.Queue()
        return name

    async def group_add(self, group: str, channel: str) -> None:
        if channel not in self._inboxes:
            raise RuntimeError("Channels' layer on Redis refuses channels of another layer, too.")
        self.groups[group].add(channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self.groups[group].discard(channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        for channel in tuple(self.groups.get(group, ())):
            loop, inbox = self._inboxes[channel]
            if not loop.is_closed():
                loop.call_soon_threadsafe(inbox.put_nowait, dict(message))

    async def receive(self, channel: str) -> dict[str, Any]:
        return await self._inboxes[channel][1].get()
