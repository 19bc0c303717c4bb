"""The local runtime: Strands' agent loop inside the worker.

A resume does not rely on Strands' interrupt state. The last message of the conversation still holds its
tool uses; given no prompt, Strands goes straight to them, and the gate answers each from the ledger: run
it, or tell the model what became of it (docs/decisions/0001-resume-from-the-ledger.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from importlib import metadata
from typing import Any

from strands import Agent
from strands.agent.conversation_manager import NullConversationManager
from strands.middleware import ExecuteToolStage
from strands.types.events import ToolResultEvent
from strands.types.tools import AgentTool

from agents import providers
from agents.definitions import definition
from agents.gate import NodGate
from agents.providers.problems import ModelProblem, explain
from agents.runtimes import blobs, port
from agents.runtimes.clocks import NEVER, Deadline
from agents.runtimes.threads import in_thread
from agents.tools.registry import (
    InvalidArguments,
    Tool,
    ToolError,
    catalogue,
    idempotency_key_is,
    session_is,
)
from approvals.edited import edit_note

logger = logging.getLogger("nod.runtime")

MOST_TOKENS = 10**9  # of one question; more is no count but a server that talks nonsense


class LocalRuntime:
    """Runs Strands in this process. Keeps nothing between runs but built models.

    `tools`: those that there are, by name; all of this code base, if nothing is said.
    """

    def __init__(self, tools: Mapping[str, Tool] | None = None) -> None:
        self._tools = catalogue() if tools is None else tools

    async def start(self, job: port.Job) -> port.Events:
        if job.state.get("schema", port.SCHEMA) > port.SCHEMA:
            yield port.Failed("newer_session", port.NEWER)
            return
        asked_at = time.monotonic()
        try:
            stream: Any = _agent(job, self._tools).stream_async(
                None, limits={"turns": max(job.max_steps, 1)}, cancel_signal=job.cancel
            )
            # closed here when the driver stops listening: the garbage collector would do it in another context
            async with contextlib.aclosing(stream):
                async for event in stream:
                    if "data" in event:
                        yield port.Text(event["data"])
                    elif "start_event_loop" in event:
                        asked_at = time.monotonic()
                    elif "metadata" in event.get("event", ()):
                        yield _used(event["event"]["metadata"], asked_at)
                    elif "message" in event:
                        yield port.Said(blobs.as_json(event["message"]))
                    elif "result" in event:
                        yield _end(event["result"], job, self._tools)
        except Exception as error:  # every way in which a model can fail becomes a sentence for the user
            if job.gate.lost:
                return  # it was the gate, not the model
            problem = error if isinstance(error, ModelProblem) else explain(error)
            if problem.code == "model_error":
                logger.error("the model failed in a way that Nod does not know", exc_info=error)
            yield port.Failed(problem.code, problem.message)

    resume = start  # the conversation and the ledger say where it goes on


@cache
def version(package: str) -> str:
    return metadata.version(package)


def _used(told: Any, asked_at: float) -> port.Used:
    """What the model says that it read and wrote; how long it took by this clock, since not every provider tells."""
    usage = told.get("usage", {})

    def tokens(name: str) -> int:
        return min(max(0, int(usage.get(name) or 0)), MOST_TOKENS)

    return port.Used(
        input_tokens=tokens("inputTokens"),
        output_tokens=tokens("outputTokens"),
        cache_read_tokens=tokens("cacheReadInputTokens"),
        cache_write_tokens=tokens("cacheWriteInputTokens"),
        milliseconds=round(1000 * (time.monotonic() - asked_at)),
    )


def _end(result: Any, job: port.Job, tools: Mapping[str, Tool]) -> port.Event:
    if result.stop_reason == "interrupt":
        return port.Paused(_state(job, tools))
    if result.stop_reason == "limit_turns":
        return port.Failed("step_limit", port.STEP_LIMIT)
    return port.Finished(_state(job, tools))


def _state(job: port.Job, tools: Mapping[str, Tool]) -> dict[str, Any]:
    """What a later version has to know to go on: all else is in the messages and in the ledger."""
    return {
        "schema": port.SCHEMA,
        "strands": version("strands-agents"),
        "tools": {name: definition(tool).hash for name, tool in tools.items() if name in job.tools},
    }


def _agent(job: port.Job, tools: Mapping[str, Tool]) -> Agent:
    agent = Agent(
        model=providers.build(job.provider, job.model_id, job.parameters),
        messages=[blobs.from_json(message) for message in job.messages],  # type: ignore[misc]
        tools=[LocalTool(tool) for name, tool in tools.items() if name in job.tools],
        system_prompt=job.system_prompt or None,
        callback_handler=None,
        conversation_manager=NullConversationManager(),  # the job holds the window already
        interventions=[NodGate(job.gate)],
        retry_strategy=None,  # a throttled model fails the run, which the user can retry
    )
    agent.add_middleware(ExecuteToolStage, effect(job.gate))
    return agent


def effect(gate: port.Gate) -> Callable[..., AsyncGenerator[Any, None]]:
    """Middleware around each tool: claim, run with the claimed arguments, record."""

    async def around(context: Any, next_fn: Any) -> AsyncGenerator[Any, None]:
        use = context.tool_use
        answer = await gate.start(port.ToolUse(use["toolUseId"], use["name"], use["input"]))
        if isinstance(answer, port.Ask):
            context.interrupt(NodGate.name, reason=answer.reason)
        elif isinstance(answer, port.Settled):
            yield _result(use, answer.succeeded, answer.content)
        else:
            came = await _run(gate, answer, context, next_fn)
            if isinstance(came, port.Ask):
                context.interrupt(NodGate.name, reason=came.reason)
            else:
                yield _result(use, came.succeeded, came.content)

    return around


async def _run(gate: port.Gate, started: port.Started, context: Any, next_fn: Any) -> port.Settled | port.Ask:
    changed = context.replace(tool_use={**context.tool_use, "input": started.arguments})
    try:
        with (
            session_is(started.session),
            idempotency_key_is(started.key),
            _started_by(started.start_by),
        ):
            event = await asyncio.wait_for(_last(next_fn(changed)), started.timeout)
    except TimeoutError:
        return await gate.lose(started, timed_out=True)
    except asyncio.CancelledError:
        await gate.lose(started, timed_out=False)
        raise
    succeeded = event is not None and event.tool_result["status"] == "success"
    content = list(event.tool_result["content"]) if event else [{"text": "The tool gave no result."}]
    if started.edited:
        content.insert(0, {"text": edit_note(started.arguments)})
    await gate.record(started, succeeded=succeeded, content=content)
    return port.Settled(succeeded, content)


_start_by: ContextVar[Deadline] = ContextVar("start_by", default=NEVER)


@contextlib.contextmanager
def _started_by(moment: Deadline) -> Iterator[None]:
    """Tools begin before this moment, or not at all."""
    token = _start_by.set(moment)
    try:
        yield
    finally:
        _start_by.reset(token)


async def _last(events: Any) -> Any:
    """Drain a tool's events; the last result counts. Nothing is yielded inside a timeout."""
    result = None
    async for event in events:
        if isinstance(event, ToolResultEvent):
            result = event
    return result


def _result(use: Any, succeeded: bool, content: port.Blocks) -> ToolResultEvent:
    status = "success" if succeeded else "error"
    return ToolResultEvent({"toolUseId": use["toolUseId"], "status": status, "content": content})  # type: ignore[typeddict-item]


class LocalTool(AgentTool):
    """One of Nod's tools as Strands wants it. A failing tool gives an error result, never an exception."""

    tool_type = "python"

    def __init__(self, tool: Tool) -> None:
        super().__init__()
        self._tool = tool

    @property
    def tool_name(self) -> str:
        return self._tool.name

    @property
    def tool_spec(self) -> Any:
        return {
            "name": self._tool.name,
            "description": self._tool.description,
            "inputSchema": {"json": self._tool.schema},
        }

    def _run(self, arguments: Any) -> Any:
        """In its own thread, with nothing between the look at the clock and the effect."""
        if _start_by.get().passed():
            raise ToolError("the worker stood still for too long before it began. Nothing was done.")
        return self._tool.run(arguments)

    async def stream(self, tool_use: Any, invocation_state: dict[str, Any], **kwargs: Any) -> Any:
        try:
            value = await in_thread(self._run, tool_use["input"])
        except (ToolError, InvalidArguments) as error:
            yield _result(tool_use, False, [{"text": f"The tool failed: {error}"}])
        except Exception as error:  # whatever a tool raises is its failure, not the run's
            text = f"The tool failed: {type(error).__name__}: {error}"[:2000]
            yield _result(tool_use, False, [{"text": f"{text} It may have done part of its work."}])
        else:
            yield _result(tool_use, True, [_block(value)])


def _block(value: Any) -> dict[str, Any]:
    """What a tool gave back, as a Converse block: text, or an object of plain JSON."""
    if isinstance(value, str):
        return {"text": value}
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        plain = json.loads(json.dumps(value, allow_nan=False))
        return {"json": plain if isinstance(plain, dict) else {"items": plain}}
    with contextlib.suppress(TypeError, ValueError, RecursionError):  # a date or a NaN, worth reading too
        return {"text": json.dumps(value, default=str)}
    with contextlib.suppress(RecursionError):  # keys that JSON does not have, a list that holds itself
        return {"text": str(value)}
    return {"text": "Done. What it gave back is nested too deeply to be shown."}
