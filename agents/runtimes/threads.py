"""Runs a blocking tool in a thread that nobody has to wait for.

asyncio's own executor is joined when the loop closes, so one hung tool would hang its worker.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

from django.db import connections


async def in_thread(function: Callable[[Any], Any], argument: Any) -> Any:
    """The function's result or exception. When this is cancelled the thread goes on, and is forgotten."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            value, error = context.run(function, argument), None
        except BaseException as raised:  # handed on to the waiting coroutine
            value, error = None, raised
        finally:
            connections.close_all()
        _tell(loop, lambda: _resolve(future, value, error))

    threading.Thread(target=work, name="nod-tool", daemon=True).start()
    return await future


def _resolve(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        """The loop has closed: the tool outlived its run, and the ledger says so already."""
