"""A real Nod whose processes may die at any moment and are started again at once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from hitl_site import embedded
from tests.postgres import Server, running
from tests.system import System

WORKERS = 2
TICK = 0.05


class Process:
    """One process that is started again when it dies. It has a group of its own."""

    def __init__(self, name: str, command: list[str], env: dict[str, str], log: Path) -> None:
        self.name, self._command, self._env, self._log = name, command, env, log
        self.deaths = 0
        self.held = False  # it stays away until it is let go
        self._popen = self._start()

    def tend(self) -> None:
        if self._popen.poll() is not None and not self.held:
            self.deaths += 1
            self._end_group()
            self._popen = self._start()

    def kill(self) -> None:
        """The whole group, as when a machine is lost."""
        self._end_group()
        self._popen.wait()

    def hold(self) -> None:
        """Killed, and not started again."""
        self.held = True
        self.kill()

    def release(self) -> None:
        self.held = False

    def stop(self) -> None:
        self._popen.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(10)
        self._end_group()
        self._popen.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command, env=self._env, stdout=log, stderr=log, start_new_session=True
            )

    def _end_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)


class Site:
    """Web, workers and Valkey on one database."""

    def __init__(self, folder: Path, postgres: Server | None, workers: int) -> None:
        self.folder, self.postgres = folder, postgres
        self.points = folder / "failpoints"
        self.points.mkdir()
        self.faults: list[
            list[float]
        ] = []  # [begun, over] of each, by time.monotonic(); over is inf until then
        env = {"NOD_FAILPOINTS": str(self.points)}
        if postgres:
            env["DATABASE_URL"] = postgres.url
        self.system = System(folder / "data", **env)
        self.system.folder.mkdir()
        self.system.prepare()
        self.log = folder / "log"
        self.socket = embedded.socket_path(self.system.folder)
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        self.valkey = self._process("valkey", embedded.valkey_command(self.system.folder, self.socket))
        self._await(lambda: embedded.answers(self.socket))
        self.web = self._process("web", self._daphne())
        names = [f"worker{number}" for number in range(workers)]
        self.workers = [self._process(name, self._celery(name)) for name in names]
        self._stop = threading.Event()
        self._tender = threading.Thread(target=self._tend, daemon=True)
        self._tender.start()
        self._await(self.answers)

    def answers(self) -> bool:
        import httpx

        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.system.url}/readyz", timeout=5).status_code == 200
        return False

    def disturbed(self, begin: float, end: float) -> bool:
        """Whether a fault began, or was under way, anywhere on the site in this span."""
        return any(first <= end and last >= begin for first, last in self.faults)

    def stop(self) -> None:
        self._stop.set()
        self._tender.join()
        for process in (*self.workers, self.web, self.valkey):
            process.stop()

    def _tend(self) -> None:
        while not self._stop.wait(TICK):
            for process in (self.valkey, self.web, *self.workers):
                process.tend()

    def _process(self, name: str, command: list[str]) -> Process:
        return Process(name, command, {**self.system.env, "CELERY_SKIP_CHECKS": "1"}, self.log)

    def _daphne(self) -> list[str]:
        place = ["-b", "127.0.0.1", "-p", str(self.system.port)]
        return [sys.executable, "-m", "daphne", *place, "-v", "0", "hitl_site.asgi:application"]

    def _celery(self, name: str) -> list[str]:
        ignored = ["-W", "ignore:You're running the worker with superuser privileges"]
        celery = [sys.executable, *ignored, "-m", "celery", "--quiet", "-A", "hitl_site", "worker"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
        return [*celery, "--concurrency", "8", "--hostname", f"{name}@%h", *quiet]

    @staticmethod
    def _await(condition: object, patience: float = 60) -> None:
        assert callable(condition)
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError("Nod did not come up.")
            time.sleep(TICK)


@contextlib.contextmanager
def site(database: str, workers: int = WORKERS) -> Iterator[Site]:
    """A site on "sqlite" or "postgresql" for the block."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nod-chaos-")))
        postgres = stack.enter_context(running()) if database == "postgresql" else None
        made = Site(folder, postgres, workers)
        stack.callback(made.stop)
        yield made
