"""What the providers beyond Bedrock share: their libraries are optional, and their models need an id."""

from __future__ import annotations

import ssl
from functools import cache

from django.conf import settings

from agents.providers.problems import ModelProblem

# What to install: tested with the first and the last of these.
LIBRARIES = {"anthropic": "anthropic>=0.125,<3", "openai": "openai>=2.54,<4", "ollama": "ollama>=0.6.3,<0.7"}
CONNECT_TIMEOUT = 5.0  # seconds


@cache
def tls() -> ssl.SSLContext:
    """For all clients: reading the certificates takes 40 ms, far longer than making a client."""
    from httpx import create_ssl_context

    return create_ssl_context()


def missing_library(provider: str) -> ModelProblem:
    """Its client is not installed."""
    return ModelProblem("missing_library", f"{not_installed(provider)} Ask an administrator to do it.")


def not_installed(provider: str) -> str:
    """What is missing, and the command that helps."""
    return (
        f"The library for the model provider {provider} is not installed. On each worker: "
        f'.venv/bin/pip install "{LIBRARIES[provider]}".'
    )


def model_of(provider: str, model_id: str) -> str:
    """The model's id: the agent's, or NOD_MODEL_ID where it is meant for this provider.

    Raises:
        ModelProblem: there is none.
    """
    if found := model_id or (provider == settings.NOD_MODEL_PROVIDER and settings.NOD_MODEL_ID) or "":
        return found
    raise ModelProblem(
        "no_model",
        f"No model is chosen, and the provider {provider} has no default. Ask an administrator to set the agent's "
        "model id, or NOD_MODEL_ID.",
    )
