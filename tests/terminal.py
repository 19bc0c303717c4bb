"""`manage.py chat` in a pseudo-terminal, as somebody at a keyboard has it, and the rest of Nod beside it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.system import MANAGE, PATIENCE, System

CTRL_C, CTRL_D = "\x03", "\x04"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?2004[hl]")

# Runs code that it is sent and answers with what `result` is then: one start of Django for a whole module.
BESIDE = """
import json, sys, django
django.setup()
from django.db import connections
for line in sys.stdin:
    names = {"result": None}
    exec(json.loads(line), names)
    connections.close_all()
    print(json.dumps(names["result"]), flush=True)
"""


class Beside:
    """A process that does at the desk what a test says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(self, code: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def beside(system: System) -> Iterator[Beside]:
    command = [sys.executable, "-c", BESIDE]
    with subprocess.Popen(
        command, cwd=MANAGE.parent, env=system.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Beside(process)
        assert process.stdin is not None
        process.stdin.close()


class Terminal:
    """What stands on the screen, in order. `expect` looks behind what was found before."""

    def __init__(self, pid: int, master: int) -> None:
        self.pid, self._master = pid, master
        self.text = ""  # without colours and line editing
        self.bytes = b""
        self._at = 0
        self._code: int | None = None

    def expect(self, words: str) -> str:
        """Reads until the words stand there. Returns what stood before them."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.text.find(words, self._at)) < 0:
            assert time.monotonic() < deadline, f"no {words!r} in:\n{self.text[self._at :]}"
            assert self._read(), f"it ended without {words!r}:\n{self.text[self._at :]}"
        before, self._at = self.text[self._at : found], found + len(words)
        return before

    def type(self, line: str) -> None:
        os.write(self._master, f"{line}\n".encode())

    def press(self, key: str) -> None:
        os.write(self._master, key.encode())

    def end(self) -> int:
        """Reads to the end. Returns the exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read():
            assert time.monotonic() < deadline, f"it does not end:\n{self.text[self._at :]}"
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code

    def kill(self) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self._master)

    def _read(self) -> bool:
        """Some more, if it comes within a while. False at the end."""
        if not select.select([self._master], [], [], 1.0)[0]:
            return True
        try:
            more = os.read(self._master, 65536)
        except OSError:  # Linux says so where the other side is closed
            return False
        self.bytes += more
        whole = self.bytes.decode(errors="replace").replace("\r\n", "\n")
        self.text = _COLOURS.sub("", whole)
        return bool(more)


@contextmanager
def terminal(env: Mapping[str, str], *args: str, columns: int = 100) -> Iterator[Terminal]:
    """`manage.py chat` with these arguments, until the block ends."""
    command = [sys.executable, str(MANAGE), "chat", *args]
    pid, master = pty.fork()
    if pid == 0:
        try:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
            os.execve(sys.executable, command, {**env, "TERM": "xterm", "LC_ALL": "C.UTF-8"})
        finally:
            os._exit(127)
    opened = Terminal(pid, master)
    try:
        yield opened
    finally:
        opened.kill()
