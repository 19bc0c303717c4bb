"""A whole, real Nod for tests and measurements: `manage.py up` in a data folder of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from email import policy
from email.message import Message
from email.parser import BytesParser
from fcntl import LOCK_EX, flock
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory, mkdtemp

import psutil

from hitl_site.embedded import folder_of, socket_path, valkey_command

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
START = 90.0  # seconds until it is up, on a machine that is busy with other tests
PATIENCE = 30.0  # seconds until something that takes milliseconds counts as broken

TEMPLATES = "NOD_TEST_TEMPLATES"  # names the folder in which they are kept
TOKENS = (("alice", "chat"), ("alice", "agent"), ("rita", "review"))

# In one process, since each start of manage.py takes two seconds. FAST is the model without its typing delay.
PREPARE = """
import json
from django.contrib.auth.models import User
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("seed", verbosity=0)
from agents.models import Agent
from approvals.actions import tokens
Agent.objects.filter(slug="assistant").update(parameters=FAST)
for name, scope in TOKENS:
    print("token", json.dumps([name, scope, tokens.create(User.objects.get(username=name), [scope])]))
"""


@contextmanager
def templates() -> Iterator[None]:
    """Prepared data folders are kept for the block, for this process and all that it starts."""
    with TemporaryDirectory(prefix="nod-templates-") as folder:
        os.environ[TEMPLATES] = folder
        try:
            yield
        finally:
            del os.environ[TEMPLATES]


def _template(*, fast: bool) -> Path | None:
    """A prepared data folder to copy, if they are kept. The first process that asks makes it, others wait."""
    if TEMPLATES not in os.environ:
        return None
    folder = Path(os.environ[TEMPLATES], "fast" if fast else "slow")
    with folder.with_suffix(".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not folder.exists():
            made = Path(mkdtemp(dir=os.environ[TEMPLATES]))
            System(made).prepare_anew(fast=fast)
            made.rename(folder)
    return folder


class System:
    """One Nod on loopback. `env`: further environment variables; DATABASE_URL among them for PostgreSQL."""

    def __init__(self, folder: Path, **env: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self._log = folder / "up.log"
        self._process: subprocess.Popen[bytes] | None = None
        kept = {
            name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")
        }
        kept |= {"NOD_DATA": str(folder), "DEBUG": "1", "DJANGO_SETTINGS_MODULE": "hitl_site.settings"}
        self.env = kept | env

    def prepare(self, *, fast: bool = True) -> System:
        """The demo's people, agent, policies and two tokens; a copy where the database is a file."""
        template = None if "DATABASE_URL" in self.env else _template(fast=fast)
        if template is None:
            return self.prepare_anew(fast=fast)
        copytree(template, self.folder, dirs_exist_ok=True)
        return self

    def prepare_anew(self, *, fast: bool = True) -> System:
        names = f"FAST = {{'delay_ms': 0}} if {fast} else {{}}\nTOKENS = {TOKENS}\n"
        printed = self.manage("shell", "--no-imports", "--command", names + PREPARE)
        made = [line.removeprefix("token ") for line in printed.splitlines() if line.startswith("token ")]
        (self.folder / "tokens").write_text("\n".join(made))
        return self

    def manage(self, *args: str) -> str:
        """What the command prints. Raises CalledProcessError."""
        command = [sys.executable, str(MANAGE), *args]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, check=True).stdout

    def token(self, user: str, scope: str) -> str:
        """One of TOKENS."""
        made = map(json.loads, (self.folder / "tokens").read_text().splitlines())
        return next(str(key) for name, its, key in made if (name, its) == (user, scope))

    @contextmanager
    def up(self) -> Iterator[psutil.Process]:
        """Nod's processes, until the block ends."""
        try:
            yield psutil.Process(self.start().pid)
        finally:
            self.stop()

    @contextmanager
    def web(self) -> Iterator[None]:
        """The web server and its Valkey alone, until the block ends: for what needs no worker."""
        path = socket_path(self.folder)
        with ExitStack() as stack:
            stack.enter_context(folder_of(path))
            log = stack.enter_context(self._log.open("a"))
            daphne = [sys.executable, "-m", "daphne", "-p", str(self.port), "-v", "0"]
            for command in (valkey_command(self.folder, path), [*daphne, "hitl_site.asgi:application"]):
                process = subprocess.Popen(
                    command, env=self.env, stdout=log, stderr=subprocess.STDOUT, cwd=MANAGE.parent
                )
                stack.callback(process.wait, PATIENCE)
                stack.callback(process.terminate)
            self._await_answer(process)
            yield

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/healthz", timeout=START).close()
                return
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"The web server did not come up:\n{self.log()[-2000:]}") from None
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        """Of `manage.py up`, while it runs."""
        assert self._process is not None
        return self._process.pid

    def restart(self) -> None:
        """Stops everything and starts it again."""
        self.stop()
        self.start()

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(MANAGE), "up", "--port", str(self.port)]
        with self._log.open("a") as log:
            self._process = subprocess.Popen(command, env=self.env, stdout=log, stderr=subprocess.STDOUT)
        try:
            self._await_ready(self._process)
        except RuntimeError:
            self.stop()
            raise
        return self._process

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE)
            self._process = None

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
        deadline = time.monotonic() + START
        begin = self.log().rfind("stopping") + 1
        while "ready on http" not in self.log()[begin:]:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Nod did not come up:\n{self.log()[-2000:]}")
            time.sleep(0.05)
