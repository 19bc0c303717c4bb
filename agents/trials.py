"""Trying a model out: one short question, asked by a worker, with what stands in an administrator's form.

Nothing of it is stored but in the shared cache, for minutes: it changes nothing, and may be lost.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import caches
from django.utils.safestring import SafeString

from agents import providers, wakeups
from agents.costs import Cost, lasted
from agents.providers.problems import ModelProblem, explain
from approvals.fields import storable
from approvals.presentation import mark

QUESTION = "Reply with one short sentence: who are you?"
WAITS = 60  # seconds for a worker to take it; later it would cost tokens that nobody asked for any more
KEPT = 600  # seconds that the answer is there to be looked at
PATIENCE = 90.0  # seconds for the whole answer
SHOWN = 1000  # characters of it
NOBODY = (
    f"No worker has taken this up within {WAITS} seconds. Look whether one is running (/readyz says so), "
    "then test again."
)
LOST = "The worker that asked the model has not come back with an answer. Test again."


@dataclass(frozen=True)
class Trial:
    """Where a trial stands. `problem`: a sentence, where the model did not answer."""

    owner: int
    model: str
    asked_at: float
    taken: bool = False  # by a worker
    done: bool = False
    text: str = ""
    problem: str = ""
    cost: str = ""

    @property
    def waiting(self) -> bool:
        patience = WAITS + PATIENCE if self.taken else WAITS
        return not self.done and time.time() < self.asked_at + patience

    @property
    def failure(self) -> str:
        if self.done:
            return self.problem
        return LOST if self.taken else NOBODY

    @property
    def html(self) -> SafeString:
        return mark(self.text)


def ask(owner: User, provider: str, model_id: str, parameters: dict[str, Any]) -> str:
    """Have a worker ask; returns the trial's id."""
    trial_id = str(uuid4())
    model = f"{provider}: {model_id or _default(provider)}"
    question = {"provider": provider, "model_id": model_id, "parameters": parameters}
    shared = caches["shared"]
    shared.set(_key(trial_id), asdict(Trial(owner.pk, model, time.time())), KEPT)
    shared.set(_key(trial_id, "question"), question, WAITS)
    wakeups.try_model(trial_id)
    return trial_id


def _default(provider: str) -> str:
    here = provider == settings.NOD_MODEL_PROVIDER
    return (here and settings.NOD_MODEL_ID) or "its default"


def look(owner: User, trial_id: str) -> Trial | None:
    """A trial of this person's, while it is kept."""
    found = caches["shared"].get(_key(trial_id))
    trial = Trial(**found) if found else None
    return trial if trial and trial.owner == owner.pk else None


def answer(trial_id: str) -> None:
    """In a worker: ask the model, if somebody still waits for it."""
    shared = caches["shared"]
    asked, trial = shared.get(_key(trial_id, "question")), shared.get(_key(trial_id))
    if asked is None or trial is None or not shared.delete(_key(trial_id, "question")):
        return  # too late, or another worker has it
    shared.set(_key(trial_id), {**trial, "taken": True}, KEPT)
    shared.set(_key(trial_id), {**trial, "taken": True, "done": True, **_tried(**asked)}, KEPT)


def _tried(provider: str, model_id: str, parameters: dict[str, Any]) -> dict[str, str]:
    try:
        return asyncio.run(_answered(providers.build(provider, model_id, parameters)))
    except TimeoutError:
        return {"problem": f"The model did not come to an end within {PATIENCE:.0f} seconds."}
    except Exception as error:  # every way in which a model can fail becomes a sentence
        return {"problem": (error if isinstance(error, ModelProblem) else explain(error)).message}


async def _answered(model: Any) -> dict[str, str]:
    asked_at, text = time.monotonic(), ""
    usage: dict[str, int] = {}
    async with asyncio.timeout(PATIENCE):
        async for event in model.stream([{"role": "user", "content": [{"text": QUESTION}]}]):
            text += event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")
            usage = event.get("metadata", {}).get("usage", usage)
    took = round(1000 * (time.monotonic() - asked_at))
    cached = usage.get("cacheReadInputTokens", 0)
    read = usage.get("inputTokens", 0) + cached + usage.get("cacheWriteInputTokens", 0)
    cost = Cost(read, cached, usage.get("outputTokens", 0), took)
    return {"text": storable(text.strip())[:SHOWN], "cost": str(cost) if cost else lasted(took)}


def _key(trial_id: str, what: str = "trial") -> str:
    return f"model-{what}:{trial_id}"
