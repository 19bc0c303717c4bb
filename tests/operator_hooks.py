"""Functions as an operator might write them, for NOD_ASK, NOD_EVALUATE and NOD_EVALUATE_TRUST."""

from __future__ import annotations

import asyncio
import threading

from approvals.hooks import Answer, Asked

given: list[Asked] = []  # what `ask` was given
answers: list[object] = []  # what it gives, the first one first
late = threading.Event()  # `slow` comes back once this is set
number = 3


def ask(call: Asked) -> object:
    given.append(call)
    answer = answers.pop(0)
    if isinstance(answer, Exception):
        raise answer
    return answer


async def ask_async(call: Asked) -> Answer:
    await asyncio.sleep(0)
    return Answer("y", "rita")


def slow(call: Asked) -> Answer:
    late.wait(30)
    return Answer("y", "rita")


def only_confirm(response: object) -> bool:
    """As in the documentation of Strands' handler."""
    return isinstance(response, str) and response.lower() == "confirm"


def only_forever(response: object) -> bool:
    return response == "forever"


async def always(response: object) -> bool:
    """A mistake: what comes back is a coroutine, which is not False."""
    return True


def fails(response: object) -> bool:
    raise ValueError("no \x1b[31msuch\x1b[0m thing")
