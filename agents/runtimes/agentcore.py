"""The remote runtime: the agent's loop runs on Amazon Bedrock AgentCore, and halts at every tool call.

The hosted agent keeps nothing. Each request brings the conversation, and with it what may run: calls that the
ledger has granted to this worker before the request is sent. So a pause is the end of a request, a resume is
another one, and a runtime session that died between the two is simply a new one.
docs/agentcore.md says what is and what is not guaranteed across this wire.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import aclosing
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from agents.definitions import definition
from agents.runtimes import invoking, port, wire
from agents.runtimes.clocks import NEVER, Deadline
from agents.runtimes.heard import Heard, Misheard
from agents.runtimes.invoking import Place, Problem
from agents.tools.registry import catalogue
from approvals.digest import call_digest

logger = logging.getLogger("nod.runtime")

CODE, SENTENCE = 50, 1000  # characters of a failure that are kept
MARGIN = 60.0  # seconds on top of the longest tool's timeout until its result is not waited for any more
CHANGED = (
    "The agent on AgentCore has another version of {tool} than Nod. Nothing was done. "
    "Ask an administrator to deploy it anew: manage.py agentcore launch."
)
OLD = (
    "The agent on AgentCore is of another version than Nod. Nothing was done. "
    "Ask an administrator to deploy it anew: manage.py agentcore launch."
)
NO_ANSWER = "The agent on AgentCore ended without an answer. Please try again."
NO_PROGRESS = "The agent on AgentCore came to a halt without a reason. Please try again."
MISBEHAVES = (
    "The agent on AgentCore answered in a way that Nod does not understand. "
    "Please try again, and tell an administrator if it stays."
)
NOT_SENT = "It was interrupted before the agent was asked to do it. Nothing was done."
UNTOUCHED = "The agent failed before it began. Nothing was done."
NOTHING_DONE = "The agent's runtime did not begin it: {why} Nothing was done."


class AgentCoreRuntime:
    """Invokes the job's agent on AgentCore. Keeps nothing between runs but boto3's clients."""

    async def start(self, job: port.Job) -> port.Events:
        if job.state.get("schema", port.SCHEMA) > port.SCHEMA:
            yield port.Failed("newer_session", port.NEWER)
            return
        try:
            async with aclosing(_Turns(job).play()) as events:
                async for event in events:
                    yield event
        except Exception as error:
            if not job.gate.lost:  # else it was the gate, whose driver knows what to say
                logger.error("an agent on AgentCore failed in a way that Nod does not know", exc_info=error)
                yield port.Failed("runtime_misbehaves", MISBEHAVES)

    resume = start  # the conversation and the ledger say where it goes on


class _Turns:
    """One run: request after request, until it ends or people have to decide."""

    def __init__(self, job: port.Job) -> None:
        self._job, self._gate = job, job.gate
        self._place = Place(job.runtime_arn, job.runtime_qualifier, job.session)
        self._heard = Heard(job.messages)
        self._tools = [name for name in catalogue() if name in job.tools]
        self._started: dict[str, port.Started] = {}  # granted to this worker, and nobody knows more yet
        # the calls of the last answer are no step
        self._steps = max(job.max_steps, 1) - bool(self._heard.open_calls())
        self._overdue = NEVER
        self._fits = False
        self._end: port.Event | wire.Event | None = None

    async def play(self) -> port.Events:
        while True:
            uses = self._heard.open_calls()
            verdicts = {use.id: await self._gate.verdict(use) for use in uses}
            proceeds = any(isinstance(each, port.Proceed) for each in verdicts.values())
            if proceeds and (misfit := await self._misfit()):
                yield misfit
                return
            try:
                decisions = await self._claimed(uses, verdicts)
                if len(decisions) < len(uses) and not self._started:
                    yield port.Paused(_state())  # what is settled already stands in the ledger
                    return
                async for event in self._request(decisions, bool(uses)):
                    yield event
            finally:
                waits = await self._lose_rest()
            if self._gate.lost:
                return
            if not isinstance(self._end, wire.Halted):
                yield port.Paused(_state()) if waits else _last(self._end)
                return

    async def _misfit(self) -> port.Failed | port.Later | None:
        """Why nothing may be granted yet. Looked at once, before the first grant: it also wakes a dead session."""
        if self._fits:
            return None
        try:
            described = await invoking.describe(self._place, self._job.cancel.is_set)
        except Problem as problem:
            if problem.passing:
                return port.Later(problem.code, problem.message)
            return port.Failed(problem.code, problem.message)
        self._fits = True
        if described.get("nod") != wire.PROTOCOL or not isinstance(described.get("tools"), dict):
            return port.Failed("runtime_changed", OLD)
        return self._changed(described["tools"], self._tools)

    def _changed(self, theirs: dict[str, str], names: Iterable[str]) -> port.Failed | None:
        for name in names:
            if theirs.get(name) != definition(catalogue()[name]).hash:
                return port.Failed("runtime_changed", CHANGED.format(tool=name))
        return None

    async def _claimed(self, uses: list[port.ToolUse], verdicts: dict[str, Any]) -> list[dict[str, Any]]:
        """The decisions. A step that fails halfway leaves claims on calls that nobody was sent: they did not begin."""
        try:
            return await self._decide(uses, verdicts)
        except BaseException:
            await self._untouched(NOT_SENT)
            raise

    async def _decide(self, uses: list[port.ToolUse], verdicts: dict[str, Any]) -> list[dict[str, Any]]:
        """What the hosted agent is told of its calls; those that people have yet to decide are left out."""
        decisions = []
        for use in uses:
            answer = verdicts[use.id]
            if isinstance(answer, port.Proceed):
                answer = await self._gate.start(use)
            match answer:
                case port.Started():
                    self._started[use.id] = answer
                    decisions.append(_approval(use, answer))
                case port.Settled(succeeded, content):
                    decisions.append(self._settled(use, succeeded, content))
                case port.Refuse(text):
                    decisions.append(self._settled(use, False, [{"text": text}]))
        return decisions

    def _settled(self, use: port.ToolUse, succeeded: bool, content: port.Blocks) -> dict[str, Any]:
        self._heard.know(use.id, succeeded, content)
        status = "succeeded" if succeeded else "failed"
        return {"id": use.id, "decision": "settled", "status": status, "content": content}

    async def _request(self, decisions: list[dict[str, Any]], resuming: bool) -> port.Events:
        """One request. `self._end` is how it ended, None when the run was stopped meanwhile."""
        self._end, moved = None, False
        if self._job.cancel.is_set():
            await self._untouched(NOT_SENT)
            return
        payload = self._payload(decisions, resuming)
        timeouts = [started.timeout for started in self._started.values()]
        self._overdue = Deadline.after(max(timeouts, default=0) + MARGIN)
        stream = invoking.events(self._place, payload, once=bool(self._started), stopped=self._given_up)
        try:
            async with aclosing(stream) as events:
                async for event in events:
                    match event:
                        case wire.Result():
                            moved |= await self._settle(event)
                        case port.Said(message) if message["role"] == "assistant" and self._steps < 1:
                            self._end = port.Failed("step_limit", port.STEP_LIMIT)
                            return
                        case port.Said(message):
                            moved = True
                            yield self._hear(message)
                        case port.Text() | port.Used():
                            yield event
                        case wire.Halted() | port.Finished() | port.Failed():
                            self._end = await self._ended(event, moved)
                            return  # nothing comes after an end
                    if self._gate.lost:
                        return
            if not self._job.cancel.is_set():  # it was given up
                self._end = port.Failed("stream_broken", invoking.BROKE_OFF)
        except Misheard:
            self._end = port.Failed("runtime_misbehaves", MISBEHAVES)
        except Problem as problem:
            if not problem.sent:
                await self._untouched(NOTHING_DONE.format(why=problem.message))
            self._end = port.Failed(problem.code, problem.message)

    def _payload(self, decisions: list[dict[str, Any]], resuming: bool) -> dict[str, Any]:
        job = self._job
        return {
            "nod": wire.PROTOCOL,
            "session": job.session,
            "decisions": decisions,
            "state": {"schema": port.SCHEMA, "messages": self._heard.messages},
            "agent": {
                "system_prompt": job.system_prompt,
                "provider": job.provider,
                "model_id": job.model_id,
                "parameters": job.parameters,
                "tools": self._tools,
                "max_steps": max(self._steps + resuming, 1),
            },
        }

    def _given_up(self) -> bool:
        """What is on its way has to be recorded, if it comes in its time; nothing else is worth waiting for then."""
        return self._overdue.passed() if self._started else self._job.cancel.is_set()

    def _hear(self, message: port.Message) -> port.Said:
        self._steps -= message["role"] == "assistant"
        return port.Said(self._heard.hear(message))

    async def _ended(self, end: Any, moved: bool) -> port.Event | wire.Event:
        if isinstance(end, port.Failed):
            if end.code in wire.REFUSED:
                await self._untouched(NOTHING_DONE.format(why=end.message))
            return port.Failed(end.code[:CODE], end.message[:SENTENCE])
        if isinstance(end, port.Finished):
            return end if self._heard.answered() else port.Failed("runtime_misbehaves", NO_ANSWER)
        if not moved or not self._heard.open_calls():
            return port.Failed("runtime_misbehaves", NO_PROGRESS)
        known = {call.tool: call.definition for call in end.calls if call.tool in self._tools}
        return self._changed(known, known) or end

    async def _settle(self, result: wire.Result) -> bool:
        """Whether it says something new: not of a call that this request did not grant, and not twice."""
        started = self._started.pop(result.id, None)
        if started is None:
            return False
        if result.status == "lost":
            await self._gate.lose(started, timed_out=result.timed_out)
            return True
        succeeded = result.status == "succeeded"
        content = [{"text": UNTOUCHED}] if result.status == "untouched" else result.content
        await self._gate.record(started, succeeded=succeeded, content=content)
        self._heard.know(result.id, succeeded, content)
        return True

    async def _untouched(self, text: str) -> None:
        """What was granted did not begin, and that is certain."""
        while self._started:
            _, started = self._started.popitem()
            await self._gate.record(started, succeeded=False, content=[{"text": text}])

    async def _lose_rest(self) -> bool:
        """What was granted and never heard of again; whether people have to say what became of it."""
        waits = False
        while self._started:
            _, started = self._started.popitem()
            waits |= isinstance(await self._gate.lose(started, timed_out=False), port.Ask)
        return waits


def _last(end: port.Event | wire.Event | None) -> port.Event:
    return end if isinstance(end, port.Failed) else port.Finished(_state())


def _state() -> dict[str, Any]:
    """All else is in the messages and in the ledger, so that a session may move between runtimes."""
    return {
        "schema": port.SCHEMA,
        "strands": version("strands-agents"),
        "tools": {name: definition(tool).hash for name, tool in catalogue().items()},
    }


def _approval(use: port.ToolUse, started: port.Started) -> dict[str, Any]:
    """A decision that covers exactly what the ledger has granted, and no other moment than this one."""
    known = definition(catalogue()[use.name]).hash
    arguments = started.arguments
    return {
        "id": use.id,
        "decision": "approve",
        "digest": call_digest(session=started.session, tool=use.name, definition=known, arguments=arguments),
        "arguments": arguments,
        "grant": uuid4().hex,
        "key": started.key,
        "timeout": started.timeout,
        **_window(started.start_by),
    }


def _window(start_by: Deadline) -> dict[str, float]:
    return {} if start_by == NEVER else {"start_within": start_by.left(), "start_before": start_by.wall}
