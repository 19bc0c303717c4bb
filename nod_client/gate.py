"""The gate for one's own Strands agent: `Agent(tools=[…], plugins=[NodGate(url, token)])`.

Around each tool call: ask Nod, wait for people where they have to decide, claim, run with exactly the arguments that
Nod gives, report. A call never runs without a claim, whatever goes wrong.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from strands import Agent
from strands.middleware import ExecuteToolStage
from strands.plugins import Plugin
from strands.types.events import ToolResultEvent

from nod_client.calls import MAY_RUN, told
from nod_client.client import Claimed, Nod
from nod_client.digest import definition_hash
from nod_client.errors import NodError

logger = logging.getLogger("nod_client")

T = TypeVar("T")
Blocks = list[dict[str, Any]]
MOST_REPORTED = 200_000  # characters
WAITING_AT_ONCE = 64


class NodGate(Plugin):
    """Asks Nod before each tool call of an agent.

    Args:
        url: where Nod is.
        token: of `manage.py token USER --scope agent`.
        session: one conversation, and how far trust reaches; needed where another process goes on with it.
        agent: its name, which reviewers see and policies may go by.
        wait: seconds for a decision; then the call is withdrawn, and the model told so.
        pause: interrupt the agent instead of waiting. Resume it with any response; Nod is asked what was decided.
        lease_for: seconds a tool may take, 300 unless given; then a person has to say what became of it.
        definitions: tell Nod what the tools are. Without, their names stand for what Nod has under them.
    """

    name = "nod-gate"

    def __init__(
        self,
        url: str,
        token: str,
        *,
        session: str = "",
        agent: str = "",
        wait: float = 300,
        pause: bool = False,
        lease_for: float | None = None,
        definitions: bool = True,
    ) -> None:
        super().__init__()
        self.nod = Nod(url, token, session=session, agent=agent)
        self._wait, self._pause, self._lease_for = wait, pause, lease_for
        self._definitions = definitions
        self._threads = ThreadPoolExecutor(WAITING_AT_ONCE, thread_name_prefix="nod-gate")

    def init_agent(self, agent: Agent) -> None:
        agent.add_middleware(ExecuteToolStage, self._around)

    async def _around(self, context: Any, next_fn: Any) -> AsyncGenerator[Any, None]:
        if context.tool is None:  # there is no such tool: Strands says so
            async for event in next_fn(context):
                yield event
            return
        try:
            call = await self._asked(context)
            if call["status"] == "pending" and self._pause:
                call = await self._paused(context, call)
            elif call["status"] == "pending":
                call = await self._decided(context, call)
            if call["status"] not in MAY_RUN:
                yield _settled(context, call)
                return
            claimed = await self._claimed(context, call)
        except NodError as error:
            done = "" if error.code == "claimed" else " Nothing was done."
            logger.warning("%s did not run: %s", context.tool_use["name"], error.message)
            yield _result(context, False, [{"text": f"{error.message}{done}"}])
            return
        async for event in self._run(context, next_fn, claimed, edited=call["proposed"] is not None):
            yield event

    async def _asked(self, context: Any) -> dict[str, Any]:
        use, message = context.tool_use, context.agent.messages[-1] if context.agent.messages else {}
        if _uses(message).count(use["toolUseId"]) > 1:
            raise NodError("Invalid call: two calls of one message share an id.")
        definition = _definition(context) if self._definitions else None
        # Some models give each first call of a message the same id.
        key = f"{len(context.agent.messages)}:{use['toolUseId']}"
        return await self._in_thread(
            lambda: self.nod.ask(
                use["name"], use["input"], key=key, reason=_said(message), definition=definition
            )
        )

    async def _decided(self, context: Any, call: dict[str, Any]) -> dict[str, Any]:
        stopped = threading.Event()
        try:
            return await self._in_thread(
                lambda: self.nod.decided(
                    call, self._wait, lambda: stopped.is_set() or context.cancel_signal.is_set()
                )
            )
        finally:
            stopped.set()  # nobody waits any more: the thread withdraws the call

    async def _paused(self, context: Any, call: dict[str, Any]) -> dict[str, Any]:
        """Whoever resumes the agent says only that it is time to look again; who decides, decides at Nod."""
        resumed = 0
        while call["status"] == "pending":
            reason = {name: call[name] for name in ("id", "tool", "arguments", "status", "expires_at")}
            context.interrupt(f"{self.name}:{resumed}", reason=reason)  # goes on where this was answered
            resumed += 1
            call = await self._in_thread(partial(self.nod.get, call["id"]))
        return call

    async def _claimed(self, context: Any, call: dict[str, Any]) -> Claimed:
        own = ""
        if self._definitions:
            definition = _definition(context)
            own = definition_hash(call["tool"], definition["description"], definition["schema"])
        return await self._in_thread(lambda: self.nod.claim(call, definition=own, lease_for=self._lease_for))

    async def _run(
        self, context: Any, next_fn: Any, claimed: Claimed, *, edited: bool
    ) -> AsyncGenerator[Any, None]:
        """Where this is left in the middle, nothing is reported: then a person says what became of the call."""
        changed = context.replace(tool_use={**context.tool_use, "input": claimed.arguments})
        last = None
        async for event in next_fn(changed):
            if isinstance(event, ToolResultEvent):
                last = event
            else:
                yield event
        succeeded = last is not None and last.tool_result["status"] == "success"
        content: Any = last.tool_result["content"] if last else [{"text": "The tool gave no result."}]
        await self._reported(claimed, succeeded, content)
        if edited:
            note = f"A reviewer changed the arguments before it ran: {json.dumps(claimed.arguments)}"
            content = [{"text": note}, *content]
        yield _result(context, succeeded, content, last.exception if last else None)

    async def _reported(self, claimed: Claimed, succeeded: bool, content: Blocks) -> None:
        try:
            await self._in_thread(
                lambda: self.nod.report(claimed, succeeded=succeeded, result=_reportable(content))
            )
        except NodError as error:
            logger.warning("Nod could not be told what became of %s: %s", claimed.id, error)

    async def _in_thread(self, step: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, step)


def _definition(context: Any) -> dict[str, Any]:
    spec = context.tool.tool_spec
    schema = spec["inputSchema"]
    return {"description": spec["description"], "schema": schema.get("json", schema)}


def _uses(message: Any) -> list[str]:
    return [block["toolUse"]["toolUseId"] for block in message.get("content", ()) if "toolUse" in block]


def _said(message: Any) -> str:
    """What the agent said before it called: its words, which reviewers see as such."""
    return "\n".join(block["text"] for block in message.get("content", ()) if "text" in block)[:4000]


def _settled(context: Any, call: dict[str, Any]) -> ToolResultEvent:
    """What came of a call that ran before is told once more; else why it does not run."""
    if call["status"] in ("succeeded", "failed") and call["result"]:
        return _result(context, call["status"] == "succeeded", call["result"])
    return _result(context, False, [{"text": told(call)}])


def _result(
    context: Any, succeeded: bool, content: Any, exception: Exception | None = None
) -> ToolResultEvent:
    use_id = context.tool_use["toolUseId"]
    status = "success" if succeeded else "error"
    return ToolResultEvent(
        {"toolUseId": use_id, "status": status, "content": content},  # type: ignore[typeddict-item]
        exception=exception,
    )


def _reportable(content: Blocks) -> Blocks:
    """Text and JSON; of pictures and documents only that they were there, of what is long its beginning."""
    blocks = [_block(block) for block in content]
    if len(json.dumps(blocks)) <= MOST_REPORTED:
        return blocks
    text = "\n".join(block.get("text") or json.dumps(block["json"]) for block in blocks)
    return [{"text": f"{text[: MOST_REPORTED // 6]}\n… ({len(text):,} characters)"}]


def _block(block: dict[str, Any]) -> dict[str, Any]:
    if isinstance(block.get("text"), str):
        return {"text": block["text"]}
    try:
        json.dumps(block.get("json"), allow_nan=False)
    except (TypeError, ValueError):
        return {"text": str(block["json"])}
    if isinstance(block.get("json"), dict):
        return {"json": block["json"]}
    return {"text": json.dumps(block["json"]) if "json" in block else f"({', '.join(block)})"}
