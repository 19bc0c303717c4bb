"""A whole, real Nod for tests and measurements: `manage.py up` in a data folder of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import policy
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import psutil

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
PATIENCE = 30.0  # seconds until something that takes milliseconds counts as broken

# The scripted model without its typing delay.
FAST = """
from agents.models import Agent
agent = Agent.objects.get(slug="assistant")
agent.parameters = {"delay_ms": 0}
agent.save()
"""


class System:
    """One Nod on loopback. `env`: further environment variables; DATABASE_URL among them for PostgreSQL."""

    def __init__(self, folder: Path, **env: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self._log = folder / "up.log"
        kept = {
            name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")
        }
        kept |= {"NOD_DATA": str(folder), "DEBUG": "1", "DJANGO_SETTINGS_MODULE": "hitl_site.settings"}
        self._env = kept | env

    def prepare(self, *, fast: bool = True) -> System:
        self.manage("migrate", "--verbosity", "0")
        self.manage("seed")
        if fast:
            self.manage("shell", "--no-imports", "--command", FAST)
        return self

    def manage(self, *args: str) -> str:
        """What the command prints. Raises CalledProcessError."""
        command = [sys.executable, str(MANAGE), *args]
        return subprocess.run(command, env=self._env, capture_output=True, text=True, check=True).stdout

    def token(self, user: str, scope: str) -> str:
        return self.manage("token", user, "--scope", scope).strip()

    @contextmanager
    def up(self) -> Iterator[psutil.Process]:
        """Nod's processes, until the block ends."""
        command = [sys.executable, str(MANAGE), "up", "--port", str(self.port)]
        with self._log.open("a") as log:
            process = subprocess.Popen(command, env=self._env, stdout=log, stderr=subprocess.STDOUT)
        try:
            self._await_ready(process)
            yield psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)

    def log(self) -> str:
        """All that the processes have said."""
        return self._log.read_text()

    def mails(self) -> list[Message]:
        """What is in the outbox, oldest first."""
        parse = BytesParser(policy=policy.default).parsebytes
        files = sorted((self.folder / "outbox").glob("*.log"), key=lambda path: path.stat().st_mtime)
        return [
            parse(part)
            for path in files
            for part in path.read_bytes().split(b"-" * 79 + b"\n")
            if part.strip()
        ]

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE
        begin = self.log().rfind("stopping") + 1
        while "ready on http" not in self.log()[begin:]:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Nod did not come up:\n{self.log()[-2000:]}")
            time.sleep(0.05)
