"""Nod's payload, answered: the loop goes as far as the decisions carry it, and says all that happens as it happens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from django.conf import settings

from agents.definitions import definition
from agents.runtimes import port, wire
from agents.runtimes.local import LocalRuntime, version
from agents.tools.registry import Tool, catalogue
from hosted.gate import Grants, WireGate
from hosted.payloads import Payload, Refused, checked, conversation, read

Events = AsyncGenerator[dict[str, Any], None]
_grants = Grants()
_END = object()


def describe() -> dict[str, Any]:
    """What this agent is: which protocol it speaks, and the definition of each of its tools."""
    return {
        "nod": wire.PROTOCOL,
        "strands": version("strands-agents"),
        "tools": {name: definition(tool).hash for name, tool in catalogue().items()},
    }


async def answer(given: dict[str, Any], runtime_session: str) -> Events:
    """The events of one request, as JSON. `runtime_session` names the session where the payload does not."""
    try:
        payload = read(given)
        session = payload.session or runtime_session
        messages, tools = conversation(payload), _tools(payload)
        decided = checked(payload, messages, session, tools)
        _grants.take(decided)
    except Refused as refused:
        yield wire.pack(port.Failed(refused.code, refused.message))
        return
    queue: asyncio.Queue[Any] = asyncio.Queue()
    gate = WireGate(tools, session, decided, queue.put_nowait)
    job = _job(payload, session, messages, tools, gate)
    loop = asyncio.create_task(_play(job, gate, queue))
    try:
        while (event := await _next(queue)) is not _END:
            yield wire.pack(event)
        await loop  # raises what ended it
    finally:
        job.cancel.set()
        loop.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loop


async def _next(queue: asyncio.Queue[Any]) -> Any:
    try:
        return await asyncio.wait_for(queue.get(), wire.BEAT)
    except TimeoutError:
        return wire.Beat()


async def _play(job: port.Job, gate: WireGate, queue: asyncio.Queue[Any]) -> None:
    """The local loop, as it runs in a worker too; its messages are the state that the caller keeps."""
    messages = list(job.messages)
    try:
        async with contextlib.aclosing(LocalRuntime(catalogue()).start(job)) as events:
            async for event in events:
                heard: wire.Event | port.Event = event
                match event:
                    case port.Said(message):
                        messages.append(message)
                    case port.Paused(state):
                        heard = wire.Halted(list(gate.asked.values()), state | {"messages": messages})
                    case port.Finished(state):
                        heard = port.Finished(state | {"messages": messages})
                if isinstance(event, port.Paused | port.Finished | port.Failed):
                    for result in gate.untouched():
                        queue.put_nowait(result)
                queue.put_nowait(heard)
    finally:
        queue.put_nowait(_END)


def _tools(payload: Payload) -> dict[str, Tool]:
    """Those that the agent may use.

    Raises:
        Refused: `unknown_tool`.
    """
    names = catalogue().keys() if payload.agent.tools is None else payload.agent.tools
    if missing := sorted(set(names) - catalogue().keys()):
        raise Refused("unknown_tool", f"This agent has no tool {missing[0]}. Deploy it anew, or take it off.")
    return {name: tool for name, tool in catalogue().items() if name in names}


def _job(
    payload: Payload, session: str, messages: list[port.Message], tools: dict[str, Tool], gate: WireGate
) -> port.Job:
    loop = payload.agent
    return port.Job(
        session=session,
        messages=[dict(message) for message in messages],  # Strands writes into them
        state={name: value for name, value in payload.state.items() if name == "schema"},
        system_prompt=loop.system_prompt,
        provider=loop.provider or settings.NOD_MODEL_PROVIDER,
        model_id=loop.model_id,
        parameters=loop.parameters,
        tools=tuple(tools),
        max_steps=loop.max_steps,
        gate=gate,
    )
