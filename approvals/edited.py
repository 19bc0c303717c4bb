"""What an agent is told of an edit, before the result. Pure: an agent on AgentCore writes and Nod reads it."""

import json
from typing import Any

_EDITED = "A reviewer changed the arguments before it ran: "


def edit_note(arguments: Any) -> str:
    """What the agent is told of an edit, before the result. People see the difference instead."""
    return _EDITED + json.dumps(arguments)


def is_edit_note(text: Any, arguments: Any) -> bool:
    """Whether it is that, of these arguments exactly: a tool may write what it likes, and that is shown."""
    if not isinstance(text, str) or not text.startswith(_EDITED):
        return False
    try:
        return bool(json.loads(text.removeprefix(_EDITED)) == arguments)
    except (ValueError, RecursionError):
        return False
