"""The notebook's payload: {"prompt", "approvals": {"send_email": true}}. A flag approves a tool for this invocation.

As in the notebook, the conversation is kept in the process, which AgentCore gives to one runtime session and ends
after fifteen idle minutes; unlike there, each session has its own, and no flag outlives or leaves its request.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import aclosing
from typing import Any

from django.conf import settings
from starlette.exceptions import HTTPException

from agents.runtimes import port
from agents.runtimes.local import LocalRuntime
from hosted import notebook_tools
from hosted.flags import FlagGate

PROMPT = """\
You are a helpful assistant.
Use tools to perform actions (sending email & checking weather).
When a user asks to send an email, you MUST call the send_email tool.
Do NOT claim an action occurred unless a tool_result confirms it."""
NO_PROMPT = "Please provide a 'prompt'."
NO_FLAGS = "Please give 'approvals' as an object, such as {\"send_email\": true}."
SESSIONS = 100  # kept by one process
LONGEST = 200  # messages of one conversation that the model still gets
STEPS = 20


class Conversations:
    """The latest ones, each with a lock: a second invocation of a session waits for the first.

    One that is in use is never dropped, or a third would not wait for the second.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Conversation] = OrderedDict()

    def of(self, session: str) -> Conversation:
        """One that is empty and not kept, where the caller names no session."""
        if not session:
            return Conversation()
        found = self._kept.setdefault(session, Conversation())
        self._kept.move_to_end(session)
        idle = [name for name, each in self._kept.items() if not each.lock.locked() and each is not found]
        for name in idle[: max(len(self._kept) - SESSIONS, 0)]:
            del self._kept[name]
        return found


class Conversation:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.messages: list[port.Message] = []

    def keep(self, messages: list[port.Message]) -> None:
        """What is too long loses its beginning, up to something that the user wrote."""
        while len(messages) > LONGEST:
            later = (n for n, message in enumerate(messages) if n and _is_prompt(message))
            messages = messages[next(later, len(messages)) :]
        self.messages = messages


_conversations = Conversations()


async def answer(payload: Any, session: str) -> str:
    """What the agent says, or the notebook's words for what it may not do yet."""
    given = payload if isinstance(payload, dict) else {}
    prompt, flags = given.get("prompt"), given.get("approvals") or {}
    if not isinstance(prompt, str) or not prompt.strip():
        return NO_PROMPT
    if not isinstance(flags, dict):
        return NO_FLAGS
    conversation = _conversations.of(session)
    async with conversation.lock:
        gate = FlagGate(notebook_tools.TOOLS, flags)
        messages = [*conversation.messages, _user([{"text": prompt}])]
        try:
            said, messages = await _turn(messages, session, gate)
        except HTTPException as problem:
            if gate.acted:  # else the same prompt may be sent again, as if it had not been
                conversation.keep(_broken_off(messages, gate, str(problem.detail)))
            raise
        conversation.keep(messages)
    return shown(said)


def shown(text: str) -> str:
    """As it can be sent: models write halves of characters too."""
    return text.encode("utf-8", "replace").decode()


async def _turn(messages: list[port.Message], session: str, gate: FlagGate) -> tuple[str, list[port.Message]]:
    """What is said, and the conversation with it. `messages` grows by what comes meanwhile."""
    job = port.Job(
        session=session,
        messages=[dict(message) for message in messages],  # Strands writes into them
        state={},
        system_prompt=PROMPT,
        provider=settings.NOD_MODEL_PROVIDER,
        model_id="",
        parameters={},
        tools=tuple(notebook_tools.TOOLS),
        max_steps=STEPS,
        gate=gate,
    )
    async with aclosing(LocalRuntime(notebook_tools.TOOLS).start(job)) as events:
        async for event in events:
            match event:
                case port.Said(message):
                    messages.append(message)
                case port.Paused():
                    return _handed_over(messages, gate)
                case port.Failed(code, sentence):
                    raise HTTPException(503 if code in ("throttled", "unreachable") else 500, sentence)
    return _text(messages[-1]), messages


def _handed_over(messages: list[port.Message], gate: FlagGate) -> tuple[str, list[port.Message]]:
    """The loop has stopped at a call: its user hears why word for word, and so does the model next time."""
    said = "\n\n".join(dict.fromkeys(gate.handed_over.values()))
    return said, [*messages, *_results(messages, gate), _assistant(said)]


def _broken_off(messages: list[port.Message], gate: FlagGate, why: str) -> list[port.Message]:
    """Tools have run: the model has to know when it goes on, or it would run them again."""
    return [*messages, *_results(messages, gate), _assistant(f"My answer broke off. {why}")]


def _results(messages: list[port.Message], gate: FlagGate) -> list[port.Message]:
    """Those that the last message still lacks."""
    ids = [block["toolUse"]["toolUseId"] for block in messages[-1]["content"] if "toolUse" in block]
    results = [{"toolResult": gate.result(each)} for each in dict.fromkeys(ids)]
    return [_user(results)] if results else []


def _assistant(text: str) -> port.Message:
    return {"role": "assistant", "content": [{"text": text}]}


def _user(content: port.Blocks) -> port.Message:
    return {"role": "user", "content": content}


def _text(message: port.Message) -> str:
    return "\n".join(block["text"] for block in message["content"] if "text" in block)


def _is_prompt(message: port.Message) -> bool:
    return message["role"] == "user" and not any("toolResult" in block for block in message["content"])
