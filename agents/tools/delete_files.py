"""Deleting files of the workspace."""

from pathlib import Path

from agents.tools.registry import ToolError, tool
from agents.tools.workspace import resolve


@tool(risk="high")
def delete_files(paths: list[str]) -> str:
    """Delete files of the workspace for good. Folders are not deleted. If one path is wrong, nothing is.

    Args:
        paths: The files, relative to the workspace, such as tmp/old.log.
    """
    if not paths:
        raise ToolError("No file is named, so nothing was deleted.")
    places = {path: _deletable(path) for path in paths}
    deleted: list[str] = []
    for path, place in places.items():
        try:
            place.unlink()
        except OSError as error:
            done = f"deleted before that: {', '.join(deleted)}" if deleted else "nothing was deleted"
            raise ToolError(f"{path} could not be deleted: {error.strerror}; {done}.") from error
        deleted.append(path)
    return f"Deleted {', '.join(deleted)}."


def _deletable(path: str) -> Path:
    try:
        place = resolve(path)
    except ToolError as error:
        raise ToolError(f"{error} Nothing was deleted.") from None
    if place.is_dir() and not place.is_symlink():
        raise ToolError(f"{path} is a folder, not a file. Nothing was deleted.")
    if not place.is_file() and not place.is_symlink():
        raise ToolError(f"There is no file {path}. Nothing was deleted.")
    return place
