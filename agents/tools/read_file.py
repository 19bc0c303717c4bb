"""The text of one file in the workspace."""

from agents.tools.registry import ToolError, tool
from agents.tools.workspace import resolve

LIMIT = 256 * 1024  # bytes


@tool(risk="low", idempotent=True)
def read_file(path: str) -> str:
    """Read a text file of the workspace, of at most 256 kB.

    Args:
        path: The file, relative to the workspace, such as reports/2025-q4.txt.
    """
    place = resolve(path)
    if place.is_dir():
        raise ToolError(f"{path} is a folder, not a file.")
    if not place.is_file():
        raise ToolError(f"There is no file {path}.")
    try:
        with place.open("rb") as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        raise ToolError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > LIMIT:
        raise ToolError(f"{path} has {place.stat().st_size} bytes; the limit is {LIMIT}.")
    return _text(path, data)


def _text(path: str, data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ToolError(f"{path} is not a text file in UTF-8.") from None
    if "\0" in text:
        raise ToolError(f"{path} is not a text file in UTF-8.")
    return text or "(The file is empty.)"
