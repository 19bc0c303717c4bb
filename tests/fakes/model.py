"""A model that plays what a test wrote for it, however malicious."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from copy import deepcopy
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeAlias

from asgiref.sync import sync_to_async
from strands.models import Model

_numbers = count(1)


@dataclass(frozen=True)
class Use:
    """One tool use of a turn. `input` as text is sent as it is, whether or not it is JSON."""

    name: str
    input: Any
    id: str = ""


@dataclass(frozen=True)
class Meanwhile:
    """Something that happens while the model is thinking: runs where the worker's database work runs."""

    do: Callable[[], object]


@dataclass(frozen=True)
class Spends:
    """What the model says that a turn cost."""

    read: int
    written: int
    cache_read: int = 0
    cache_write: int = 0

    @property
    def event(self) -> dict[str, Any]:
        usage = {
            "inputTokens": self.read,
            "outputTokens": self.written,
            "totalTokens": self.read + self.written,
        }
        usage |= {"cacheReadInputTokens": self.cache_read, "cacheWriteInputTokens": self.cache_write}
        return {"metadata": {"usage": usage, "metrics": {"latencyMs": 1}}}


Part: TypeAlias = str | Use | Meanwhile | Spends | BaseException
Turn: TypeAlias = Part | list[Part]


class ScriptedModel(Model):
    """Plays one turn a call, in order; the last one again and again if `loop` is set.

    `heard` has the messages of each call as the model got them.
    """

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.heard: list[list[dict[str, Any]]] = []
        self.loop = False

    def play(self, *turns: Turn, loop: bool = False) -> None:
        self.turns, self.loop = list(turns), loop

    @property
    def results(self) -> list[dict[str, Any]]:
        """The tool results in the last message that the model got."""
        return [block["toolResult"] for block in self.heard[-1][-1]["content"] if "toolResult" in block]

    def told(self) -> list[str]:
        """Their texts, one for each result, in the order of the tool uses."""
        return ["\n".join(map(_text, result["content"])) for result in self.results]

    async def stream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        self.heard.append(deepcopy(messages))
        turn = self.turns[0] if self.loop and len(self.turns) == 1 else self.turns.pop(0)
        yield {"messageStart": {"role": "assistant"}}
        used = False
        for part in turn if isinstance(turn, list) else [turn]:
            if isinstance(part, BaseException):
                raise part
            if isinstance(part, Meanwhile):
                await sync_to_async(part.do)()
                continue
            if isinstance(part, Spends):
                yield part.event
                continue
            used = used or isinstance(part, Use)
            for event in _events(part):
                yield event
        yield {"messageStop": {"stopReason": "tool_use" if used else "end_turn"}}

    def update_config(self, **model_config: Any) -> None:
        raise NotImplementedError

    def get_config(self) -> Any:
        return {"model_id": "scripted"}

    def structured_output(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


def _events(part: str | Use) -> list[dict[str, Any]]:
    if isinstance(part, str):
        return [
            {"contentBlockStart": {"start": {}}},
            {"contentBlockDelta": {"delta": {"text": part}}},
            {"contentBlockStop": {}},
        ]
    use = {"name": part.name, "toolUseId": part.id or f"use_{next(_numbers)}"}
    text = part.input if isinstance(part.input, str) else json.dumps(part.input)
    return [
        {"contentBlockStart": {"start": {"toolUse": use}}},
        {"contentBlockDelta": {"delta": {"toolUse": {"input": text}}}},
        {"contentBlockStop": {}},
    ]


def _text(block: dict[str, Any]) -> str:
    return block["text"] if "text" in block else json.dumps(block)
