"""The names of the files in the workspace."""

from itertools import islice

from agents.tools.registry import ToolError, tool
from agents.tools.workspace import files, resolve, root

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
    found = list(islice(files(place), LIMIT + 1))
    if not found:
        return "There are no files."
    lines = [f"{file.relative_to(root())} ({file.lstat().st_size} bytes)" for file in found[:LIMIT]]
    if len(found) > LIMIT:
        lines.append(f"and more: these are the first {LIMIT}.")
    return "\n".join(lines)
