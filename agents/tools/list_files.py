"""The names of the files in the workspace."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from agents.tools.registry import ToolError, tool
from agents.tools.workspace import resolve, root

LIMIT = 500  # files in one answer


@tool(risk="low", idempotent=True)
def list_files(folder: str = "") -> str:
    """List the files in the workspace, with their sizes; those in its folders too.

    Args:
        folder: A folder of the workspace; leave it out for all files.
    """
    place = root() if folder.strip() in ("", ".", "./") else resolve(folder)
    if not place.is_dir():
        raise ToolError(f"There is no folder {folder or 'for the workspace yet'}.")
    files = list(islice(_files(place), LIMIT + 1))
    if not files:
        return "There are no files."
    lines = [f"{file.relative_to(root())} ({file.lstat().st_size} bytes)" for file in files[:LIMIT]]
    if len(files) > LIMIT:
        lines.append(f"and more: these are the first {LIMIT}.")
    return "\n".join(lines)


def _files(folder: Path) -> Iterator[Path]:
    """Every file below the folder, in a fixed order; links to folders are not followed."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent) / name for name in sorted(names))
