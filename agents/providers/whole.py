"""The events of one answer: whole, or a problem; and left at once when the run is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from agents.providers.problems import explain, problem

LOOK_EVERY = 0.05  # seconds between two looks at the signal, while the model is silent

Event = Any  # of strands.types.streaming.StreamEvent


async def whole(events: AsyncIterator[Event], cancel: threading.Event | None) -> AsyncGenerator[Event, None]:
    """The events, as they come.

    Strands takes an answer that just stops for a complete one: here it is a problem.

    Raises:
        ModelProblem: the stream ended before the answer did.
    """
    begun = complete = False
    try:
        async with contextlib.aclosing(_until(cancel, events)) as read:
            async for event in read:
                begun = begun or "contentBlockDelta" in event
                complete = complete or "messageStop" in event
                yield event
    except Exception as error:
        if begun and explain(error).code == "unreachable":
            raise problem("stream_broken") from error
        raise
    if not complete and not (cancel and cancel.is_set()):
        raise problem("stream_broken")


async def _until(cancel: threading.Event | None, events: AsyncIterator[Event]) -> AsyncGenerator[Event, None]:
    """The events, until the signal is set; also while none comes."""
    queue: asyncio.Queue[Event] = asyncio.Queue()
    # One task reads them all: a client opens and closes its connection in one and the same.
    reader = asyncio.create_task(_read(events, queue))
    try:
        while (event := await _next(queue, cancel)) is not END:
            yield event
        if reader.done():
            await reader  # raises what the model raised
    finally:
        reader.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await reader


END = object()


async def _read(events: AsyncIterator[Event], queue: asyncio.Queue[Event]) -> None:
    try:
        async for event in events:
            queue.put_nowait(event)
    finally:
        queue.put_nowait(END)


async def _next(queue: asyncio.Queue[Event], cancel: threading.Event | None) -> Event:
    while not (cancel and cancel.is_set()):
        if not queue.empty():
            return queue.get_nowait()
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(queue.get(), LOOK_EVERY)
    return END


def sendable(value: Any) -> Any:
    """JSON that the clients can write as UTF-8: half a character, which a model may ask a tool for, becomes U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [sendable(each) for each in value]
    if isinstance(value, dict):
        return {sendable(name): sendable(each) for name, each in value.items()}
    return value
