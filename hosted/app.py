"""The app that AgentCore Runtime runs: GET /ping, POST /invocations. Two payloads: the notebook's, and Nod's."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from hosted.environment import configure

PORT = 8080  # where AgentCore looks


def build() -> Any:
    """The app.

    Raises:
        ImproperlyConfigured: a variable of the environment has a wrong value.
    """
    configure()
    # Only now: tools and providers read the settings.
    from bedrock_agentcore.runtime import BedrockAgentCoreApp

    from hosted import notebook, turn
    from hosted.payloads import is_nods

    app = BedrockAgentCoreApp()

    @app.entrypoint
    async def invoke(payload: Any, context: Any) -> Any:
        session = context.session_id or ""
        if not is_nods(payload):
            return await notebook.answer(payload, session)
        return turn.describe() if payload.get("describe") is True else turn.answer(payload, session)

    return app


def main() -> None:
    """Serve until the process is told to end."""
    try:
        port = _port(os.environ.get("PORT", ""))
        app = build()
    except (ImproperlyConfigured, ValueError) as error:
        sys.exit(f"The hosted agent cannot start: {error}")
    print(f"Serving POST /invocations and GET /ping on port {port}. Ctrl-C stops it.", flush=True)
    app.run(port=port, host=os.environ.get("HOST") or None)


def _port(text: str) -> int:
    if not text:
        return PORT
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ValueError(f"PORT is {text!r}. It takes a number from 1 to 65535.")
    return int(text)
