"""Text files that people attach to a message. They go into the workspace, where agents' file tools read them.

Each chat has a folder of its own in it, and tools that run for another chat are not let in (agents/tools/workspace.py).
Nothing that is there is overwritten, and no link is followed.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agents.models import Session
from agents.tools.registry import ToolError
from agents.tools.workspace import attached, located, root
from approvals.deception import tricks
from approvals.errors import InvalidInput

MOST = 5
LARGEST = 256 * 1024  # bytes; what read_file reads
LONGEST = 80  # characters of a name
TRIES = 100


@dataclass(frozen=True)
class Attachment:
    """A file as it came: its name is anything."""

    name: str
    data: bytes


@contextmanager
def stored(session: Session, files: Sequence[Attachment]) -> Iterator[list[str]]:
    """Writes the files for the block and gives their paths in the workspace; removes them if the block fails.

    Raises InvalidInput, and nothing is written then.
    """
    check(files)
    paths: list[str] = []
    try:
        for each in files:
            paths.append(_write(attached(session.key), each))
        yield paths
    except BaseException:
        for path in paths:
            with suppress(OSError):
                (root() / path).unlink()
        raise


def check(files: Sequence[Attachment]) -> None:
    """Raises InvalidInput, with a sentence that names the file."""
    if len(files) > MOST:
        raise InvalidInput(
            f"You attached {len(files)} files; {MOST} is the most. Send the others afterwards."
        )
    for each in files:
        name = clean(each.name)
        if len(each.data) > LARGEST:
            raise InvalidInput(f"{name} is larger than 256 kB. Attach a part of it.")
        if not _is_text(each.data):
            raise InvalidInput(f"{name} is not a text file in UTF-8. Save it as text, then attach it again.")


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def clean(name: str) -> str:
    """A name that any system takes and people can read: the last part of a path, letters, digits, and . _ - ."""
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])
    name = "".join(char for at, char in enumerate(name) if at not in {trick.at for trick in tricks(name)})
    name = re.sub(r"[^\w.-]+", "-", name).strip(".-_ ")
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending) > 10:
        stem, dot, ending = name, "", ""
    stem = stem.rstrip("-_.")[:LONGEST].encode()[:180].decode(errors="ignore") or "file"
    return f"{stem}{dot}{ending}" if dot else f"{stem}.txt"


def _write(folder: str, file: Attachment) -> str:
    """Under a name that nothing has yet."""
    stem, _, ending = clean(file.name).rpartition(".")
    for number in range(1, TRIES):
        path = f"{folder}/{stem}{f'-{number}' if number > 1 else ''}.{ending}"
        if _write_new(path, file.data):
            return path
    raise InvalidInput(f"There are too many files called {stem}.{ending} in this chat. Give it another name.")


def _write_new(path: str, data: bytes) -> bool:
    """False where something is there already, be it a link."""
    try:
        place = located(path)
        _make(place.parent)
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    except FileExistsError:
        return False
    except (ToolError, OSError):
        raise InvalidInput("The workspace does not take files right now. Tell an administrator.") from None
    with os.fdopen(handle, "wb") as target:
        target.write(data)
    return True


def _make(folder: Path) -> None:
    """`located` has followed what links there are on the way; a folder that is one all the same is refused."""
    folder.mkdir(parents=True, exist_ok=True)
    if Path(os.path.realpath(folder)) != folder:
        raise ToolError("a folder on the way is a link.")
