"""Models by provider name. Only workers build them: Strands and boto3 are imported when one is built.

A model is shared by all runs of a process, in whatever thread and event loop. So none keeps anything of a call in
itself: boto3's client may be used from many threads, and the others make theirs anew for each question, since an
async client's connections belong to one event loop. docs/models.md is for administrators.
"""

import json
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from threading import Lock
from typing import TYPE_CHECKING, Any

from agents.providers.problems import ModelProblem

if TYPE_CHECKING:
    from strands.models import Model

# Name -> module with a function build(model_id, parameters) -> Model. Add a provider here, and what may be set
# for it to parameters.KINDS.
PROVIDERS = {
    "demo": "agents.providers.demo",
    "bedrock": "agents.providers.bedrock",
    "anthropic": "agents.providers.anthropic",
    "openai": "agents.providers.openai",
    "ollama": "agents.providers.ollama",
}

_built: dict[tuple[str, str, str], "Model"] = {}
_lock = Lock()


def available() -> list[str]:
    """The names of all providers, whether or not this server has credentials for them."""
    return sorted(PROVIDERS)


def build(provider: str, model_id: str = "", parameters: Mapping[str, Any] | None = None) -> "Model":
    """The model of a provider, built once a process; an empty model_id is the provider's default.

    Raises:
        ModelProblem: there is no such provider, or it cannot be used like this.
    """
    if provider not in PROVIDERS:
        names = ", ".join(available())
        raise ModelProblem("unknown_provider", f"There is no model provider {provider}; there is {names}.")
    parameters = dict(parameters or {})
    key = (provider, model_id, json.dumps(parameters, sort_keys=True))
    # Building under the lock: two clients at once would cost more than the wait of 50 ms.
    with _lock:
        if key not in _built:
            maker: Callable[[str, dict[str, Any]], Model] = import_module(PROVIDERS[provider]).build
            _built[key] = maker(model_id, parameters)
        return _built[key]


def forget() -> None:
    """Drop all models, so that the next ones see a changed environment."""
    global _lock
    # A new lock too: after a fork the old one may be held by a thread that is not there any more.
    _lock = Lock()
    _built.clear()


# A child process must not talk over the open connections of its parent.
os.register_at_fork(after_in_child=forget)
