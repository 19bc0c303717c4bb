"""Drives one run: claims it, plays it through its runtime, stores what comes out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connection
from django.db import Error as DatabaseError

from agents import runtimes
from agents.actions import conversations, runs
from agents.ledger import LedgerGate
from agents.models import Run
from agents.runtimes import port
from approvals import events
from approvals.errors import LostClaim
from approvals.failpoints import reach
from approvals.models import Tool
from approvals.prepared import Select, Slot

logger = logging.getLogger("nod.driver")

DRAFT_EVERY = 0.5  # seconds between two saves of the answer that is being streamed
DELTA_EVERY = 0.04  # seconds between two pushes of text
LOOK_EVERY = 1.0  # seconds until a worker notices that its run was stopped


Listener: TypeAlias = Callable[[port.Event], None]
"""Hears each event of a run as it comes, in the thread of the loop: no database there."""


def advance(run_id: str, listen: Listener | None = None) -> bool:
    """Take the run, if it is to be had, to its end or its next pause. Returns whether it was."""
    run = _claim(run_id)
    if run is None:
        return False
    reach("claimed", str(run.session_id))
    try:
        async_to_sync(_drive)(run, listen)
    except LostClaim:
        logger.debug("run %s was stopped or taken over", run.pk)
        _keep_cost(run)
    except DatabaseError as error:
        logger.error("run %s: %s: %s; it is tried again", run.pk, type(error).__name__, _line(error))
        _release(run, error)
    return True


def _claim(run_id: str) -> Run | None:
    try:
        return runs.claim(run_id)
    except LostClaim:
        return None
    except DatabaseError as error:
        logger.error("run %s: %s; the sweeper tries again", run_id, _line(error))
        connection.close()
        return None


def _release(run: Run, error: DatabaseError) -> None:
    """Let it be tried again. Only what does not fit, and will not next time either, is an attempt of the run's."""
    misfit = isinstance(error, (IntegrityError, DataError))
    outage = isinstance(error, (OperationalError, InterfaceError))
    with contextlib.suppress(DatabaseError):
        connection.close()
        runs.release(run, counted=misfit, at_once=misfit or outage)


def _keep_cost(run: Run) -> None:
    with contextlib.suppress(DatabaseError):  # figures: nothing depends on them
        runs.keep_cost(run)


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


async def _drive(run: Run, listen: Listener | None) -> None:
    gate, job, resuming = await sync_to_async(_prepare)(run)
    runtime = runtimes.build(run.session.agent.runtime)
    stream = runtime.resume(job) if resuming else runtime.start(job)
    watch = asyncio.create_task(_keep(run, job))
    try:
        await _play(run, gate, job, _heard(stream, listen) if listen else stream)
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


def _prepare(run: Run) -> tuple[LedgerGate, port.Job, bool]:
    agent = run.session.agent
    names = tuple(_TOOLS(agent=agent.pk))
    rows = conversations.newest(run.session)
    gate = LedgerGate(run, names, rows[-1] if rows else None)
    messages = conversations.for_model(rows)
    resuming = bool(messages) and messages[-1]["role"] == "assistant"
    job = port.Job(
        session=run.session.key,
        messages=messages,
        state=run.session.state,
        system_prompt=agent.system_prompt,
        provider=agent.provider or settings.NOD_MODEL_PROVIDER,
        model_id=agent.model_id,
        parameters=agent.parameters,
        tools=names,
        max_steps=agent.max_steps - run.steps + resuming,  # the calls of the last answer are no step
        gate=gate,
        runtime_arn=agent.runtime_arn,
        runtime_qualifier=agent.runtime_qualifier,
    )
    return gate, job, resuming


_TOOLS = Select(lambda: Tool.objects.filter(agents=Slot("agent")).order_by("name").values_list("name"))


async def _heard(stream: port.Events, listen: Listener) -> port.Events:
    async with contextlib.aclosing(stream):
        async for event in stream:
            listen(event)
            yield event


async def _play(run: Run, gate: LedgerGate, job: port.Job, stream: port.Events) -> None:
    draft, handed_over = Draft(run, job), False
    async with contextlib.aclosing(stream):
        async for event in stream:
            if gate.lost:
                raise gate.lost
            match event:
                case port.Text(text):
                    await draft.add(text)
                case port.Used():
                    _count(run, event)
                case port.Said(message):
                    await draft.clear()
                    gate.hear(message)
                    if gate.handed_over and message["role"] == "user":
                        handed_over = True  # the tools of the turn are done; the user goes on when they like
                        break
                case _:
                    await sync_to_async(_end)(gate, job, event)
    if gate.lost:
        raise gate.lost
    if handed_over:
        await sync_to_async(_end)(gate, job, port.Finished(job.state))


def _count(run: Run, used: port.Used) -> None:
    """What one question to the model cost; it is stored with the run's next durable step."""
    run.input_tokens += used.input_tokens
    run.output_tokens += used.output_tokens
    run.cache_read_tokens += used.cache_read_tokens
    run.cache_write_tokens += used.cache_write_tokens
    run.model_ms += used.milliseconds


def _end(gate: LedgerGate, job: port.Job, event: port.Event) -> None:
    if job.cancel.is_set():
        raise LostClaim("The run was stopped or taken over.")
    match event:
        case port.Paused(state) if gate.asks:
            reach("pausing", job.session)
            gate.pause(state)
            reach("paused", job.session)
        case port.Paused():
            gate.fail("no_question", "The agent stopped to ask something that Nod does not know how to ask.")
        case port.Finished(state):
            reach("finishing", job.session)
            gate.finish(state)
        case port.Failed(code, message):
            gate.fail(code, message)
        case port.Later(code) if gate.holds_approvals:  # until they lapse
            logger.warning("run %s: its runtime cannot go on now (%s); it is tried again", gate.run.pk, code)
            runs.release(gate.run, counted=False, at_once=False)
        case port.Later(code, message):
            gate.fail(code, message)


async def _keep(run: Run, job: port.Job) -> None:
    """Renews the lease; cancels the agent when the run was stopped or taken over."""
    beat_at = time.monotonic() + settings.RUN_HEARTBEAT.total_seconds()
    away = False  # the log says once an outage and run that the database does not answer
    while True:
        await asyncio.sleep(LOOK_EVERY)
        due = time.monotonic() >= beat_at
        if due:
            beat_at += settings.RUN_HEARTBEAT.total_seconds()
        try:
            mine = await sync_to_async(runs.beat if due else runs.still_mine)(run)
        except DatabaseError as error:  # the lease may run out meanwhile; each step checks the epoch itself
            if not away:
                logger.warning("run %s: the database does not answer (%s)", run.pk, _line(error))
            away = True
            await sync_to_async(connection.close)()
            continue
        away = False
        if not mine:
            job.cancel.set()
            return


class Draft:
    """The answer that is being streamed: pushed to open pages, saved now and then for those that reload."""

    def __init__(self, run: Run, job: port.Job) -> None:
        self._run, self._job = run, job
        self._text = ""
        self._pushed = 0
        self._pushed_at = self._saved_at = time.monotonic()

    async def add(self, text: str) -> None:
        self._text += text
        now = time.monotonic()
        if now - self._pushed_at >= DELTA_EVERY:
            self._push(now)
        if now - self._saved_at >= DRAFT_EVERY:
            self._saved_at = now
            if not await sync_to_async(runs.save_draft)(self._run, self._text):
                self._job.cancel.set()

    async def clear(self) -> None:
        """The message is whole: it comes as a row from here on."""
        self._push(time.monotonic())
        self._text, self._pushed = "", 0

    def _push(self, now: float) -> None:
        if len(self._text) > self._pushed:
            events.send(
                events.session_topic(str(self._run.session_id)), _delta(self._run, self._pushed, self._text)
            )
        self._pushed, self._pushed_at = len(self._text), now


def _delta(run: Run, at: int, text: str) -> dict[str, Any]:
    """`at`: how many characters of this answer came before, so that a page notices a gap."""
    return {"kind": "text", "run": str(run.pk), "at": at, "text": text[at:]}
