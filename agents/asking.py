"""Gives pending calls to the operator's hook (NOD_ASK), each in a thread of its own: no run waits for an answer.

Losing a wake-up or a worker loses nothing: a call that was not given out is found by the sweeper, one that was and got
no answer waits on the desk.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connections

from approvals import hooks
from approvals.actions import answering
from approvals.errors import Refusal
from approvals.hooks import Answer, Asked
from approvals.visible import one_line

logger = logging.getLogger("nod.hook")

MOST = 16  # hooks that wait for their answer at the same time, in one worker
_places = threading.BoundedSemaphore(MOST)


def begin(call_id: str) -> threading.Thread | None:
    """Give one call to the hook, and return. Where all places are taken, the sweeper comes back to it."""
    if not settings.NOD_ASK or not _places.acquire(blocking=False):
        return None
    thread = threading.Thread(target=_ask, args=(call_id,), name="nod-hook", daemon=True)
    thread.start()
    return thread


def sweep() -> int:
    """Calls that no hook was given. Returns how many it is given now."""
    if not settings.NOD_ASK:
        return 0
    return sum(begin(call_id) is not None for call_id in answering.not_given_out())


def _ask(call_id: str) -> None:
    waits = _Waiting()
    try:
        asked = answering.give_out(call_id)
        connections.close_all()  # whoever waits for a person holds none
        if asked is not None:
            _decide(asked, waits.answer(asked))
    except DatabaseError as error:
        logger.error("call %s: %s; it waits on the desk", call_id, _line(error))
    finally:
        connections.close_all()
        waits.leave()


def _decide(asked: Asked, answer: object) -> None:
    if answer is None or (isinstance(answer, Answer) and answer.response in (None, "")):
        return  # nobody answered
    if not isinstance(answer, Answer):
        logger.error("call %s: NOD_ASK gave %s, not an Answer; it waits on", asked.id, type(answer).__name__)
        return
    try:
        answering.decide(asked, answer)
    except Refusal as refused:
        logger.warning(
            "call %s: the hook's answer was refused (%s)", asked.id, one_line(refused.message)[:300]
        )
    except DatabaseError:
        raise
    except Exception as error:  # NOD_EVALUATE and NOD_EVALUATE_TRUST are the operator's code, too
        _told(asked, error)


class _Waiting:
    """One place. It is free once the hook has come back, however late that is."""

    def __init__(self) -> None:
        self._begun = False
        self._found: Any = None

    def answer(self, asked: Asked) -> object:
        """What the hook gives in time, else None."""
        self._begun = True
        thread = threading.Thread(target=self._call, args=(asked,), name="nod-hook-call", daemon=True)
        thread.start()
        thread.join(settings.NOD_ASK_TIMEOUT.total_seconds())
        if thread.is_alive():
            seconds = settings.NOD_ASK_TIMEOUT.total_seconds()
            logger.warning("call %s: no answer from NOD_ASK in %g s; it waits on the desk", asked.id, seconds)
            return None
        return self._found

    def leave(self) -> None:
        """Where no hook was called."""
        if not self._begun:
            _places.release()

    def _call(self, asked: Asked) -> None:
        try:
            self._found = _call(asked)
        except Exception as error:  # whatever the operator's code raises
            _told(asked, error)
        finally:
            connections.close_all()
            _places.release()


def _call(asked: Asked) -> object:
    hook = hooks.ask()
    answer = hook(asked) if hook else None
    return asyncio.run(_awaited(answer)) if inspect.isawaitable(answer) else answer


async def _awaited(answer: Any) -> object:
    return await answer


def _told(asked: Asked, error: Exception) -> None:
    """One line; where it came from only on a laptop, since a trace may hold arguments."""
    trace = error if settings.DEBUG else None
    logger.error("call %s: a hook failed (%s); it waits on the desk", asked.id, _line(error), exc_info=trace)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(str(error))[:200]}"
