"""The one folder that the file tools may touch."""

import os
from pathlib import Path

from django.conf import settings

from agents.tools.registry import ToolError

DEMO_FILES = {
    "notes.txt": (
        "Launch notes\n\n- Freeze the feature list on Thursday.\n- Ask dev@example.com about the export.\n"
        "- Old logs in tmp can go.\n"
    ),
    "reports/2025-q3.txt": "Q3 2025\n\nRevenue 1.2 M, up 8 %. Churn 2.1 %. Two incidents, both short.\n",
    "reports/2025-q4.txt": "Q4 2025\n\nRevenue 1.4 M, up 17 %. Churn 1.8 %. No incident.\n",
    "tmp/old.log": "2025-09-30 23:59:58 rotated\n",
}
LONGEST_NAME = 255  # bytes; what the usual file systems take


def root() -> Path:
    """The workspace itself, with every link in its own path followed."""
    return Path(os.path.realpath(settings.WORKSPACE_DIR))


def resolve(path: str) -> Path:
    """The place inside the workspace that a relative path names; nothing need be there yet.

    A link is followed to check where it leads, but the link's own path is what comes back.

    Raises:
        ToolError: the path is empty or would lead out of the workspace.
    """
    _refuse_odd(path)
    base = root()
    place = base / path
    if not Path(os.path.realpath(place)).is_relative_to(base):
        raise ToolError(f"{path} leads out of the workspace.")
    if place == base:
        raise ToolError(f"{path} is the workspace itself; name a file in it.")
    return place


def _refuse_odd(path: str) -> None:
    if not path.strip():
        raise ToolError("The path is empty; name a file in the workspace.")
    if not path.isprintable():
        # isprintable is False for NUL, line ends, invisible marks and lone surrogates alike.
        raise ToolError(f"The path {path!a} has a character in it that cannot be shown.")
    if max(len(os.fsencode(part)) for part in path.split("/")) > LONGEST_NAME:
        raise ToolError("The path has a name in it that is too long.")
    if path.startswith("/"):
        raise ToolError(f"{path} is an absolute path; name it relative to the workspace.")
    if ".." in path.split("/"):
        raise ToolError(f"{path} has .. in it; name it from the top of the workspace.")


def seed_workspace() -> bool:
    """Write a few demo files if the workspace is empty; says whether it did."""
    base = root()
    base.mkdir(parents=True, exist_ok=True)
    if any(base.iterdir()):
        return False
    for name, text in DEMO_FILES.items():
        place = base / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return True
