"""The one folder that the file tools may touch. In it, what people attach belongs to their chat alone."""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from django.conf import settings

from agents.tools.registry import ToolError, session_key

DEMO_FILES = {
    "notes.txt": (
        "Launch notes\n\n- Freeze the feature list on Thursday.\n- Ask dev@example.com about the export.\n"
        "- Old logs in tmp can go.\n"
    ),
    "reports/2025-q3.txt": "Q3 2025\n\nRevenue 1.2 M, up 8 %. Churn 2.1 %. Two incidents, both short.\n",
    "reports/2025-q4.txt": "Q4 2025\n\nRevenue 1.4 M, up 17 %. Churn 1.8 %. No incident.\n",
    "tmp/old.log": "2025-09-30 23:59:58 rotated\n",
}
ATTACHED = "attached"  # the folder of what people attach; each chat has one of its own in it
LONGEST_NAME = 255  # bytes; what the usual file systems take


def root() -> Path:
    """The workspace itself, with every link in its own path followed."""
    return Path(os.path.realpath(settings.WORKSPACE_DIR))


def resolve(path: str) -> Path:
    """The place inside the workspace that a relative path names, for a tool; nothing need be there yet.

    A link is followed to check where it leads, but the link's own path is what comes back.

    Raises:
        ToolError: the path is empty, would lead out of the workspace, or to what was attached in another chat.
    """
    place = located(path)
    if of_another_chat(place):
        raise ToolError(f"{path} belongs to another chat.")
    return place


def attached(session: str) -> str:
    """The folder of what is attached in a chat."""
    return f"{ATTACHED}/{session[-12:]}"


def files(place: Path) -> Iterator[Path]:
    """Every file below a folder that a tool may see, in a fixed order; links to folders are not followed."""
    for parent, folders, names in os.walk(place):
        folders.sort()
        if _same(Path(parent), root() / ATTACHED):
            folders[:] = [name for name in folders if not of_another_chat(Path(parent) / name)]
            names = []
        yield from (Path(parent) / name for name in sorted(names))


def of_another_chat(place: Path) -> bool:
    """Whether a place is, or leads to, what was attached in another chat than the one that the tool runs for.

    Folders are compared as the file system knows them: a name has many spellings. Nobody is told what is there.
    """
    home, session = root() / ATTACHED, session_key()
    own = root() / attached(session) if session else None
    ways = Path(os.path.realpath(place)), Path(os.path.realpath(place.parent)) / place.name
    for inner, outer in (pair for way in ways for pair in pairwise((way, *way.parents))):
        if _same(outer, home) and not (own and (inner == own or _same(inner, own))):
            return True
    return False


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there
        return False


def located(path: str) -> Path:
    """As `resolve`, for Nod itself, which belongs to no chat. Raises ToolError."""
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
