"""Keeps the processes of `manage.py up` running, and ends them together.

honcho prints: its colours, prefixes and printer. Its Manager is not used, because it ends everything when one
process ends, and Nod is built so that each of its processes may die and be started again.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import IO, TextIO

from honcho.colour import get_colours
from honcho.printer import Message, Printer

TICK = 0.05
GRACE = 4.0
BASE_GRACE = 1.0
QUICK_DEATHS = 5
QUICK_DEATHS_WITHIN = 30.0
TETHER = Path(__file__).with_name("tether.py")


class StopAsked(Exception):
    """Somebody pressed Ctrl-C or sent a signal."""


class GivenUp(Exception):
    """Something cannot be kept running; the text is for the operator."""


@dataclass
class Child:
    name: str
    command: Sequence[str]
    colour: str
    # Others lean on a base process, so it ends after them.
    base: bool
    # Lines with one of these words tell the operator nothing.
    noise: Sequence[bytes]
    process: subprocess.Popen[bytes]
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=QUICK_DEATHS))

    def died_too_often(self) -> bool:
        self.deaths.append(time.monotonic())
        return len(self.deaths) == QUICK_DEATHS and self.deaths[-1] - self.deaths[0] < QUICK_DEATHS_WITHIN


class Supervisor:
    def __init__(
        self, env: Mapping[str, str], cwd: Path, *, with_parent: bool = False, output: TextIO | None = None
    ) -> None:
        self.children: list[Child] = []
        self._env = env
        self._cwd = cwd
        self._colours = get_colours()
        self._printer = Printer(output or sys.stdout, width=len("worker"))
        self._print_lock = threading.Lock()
        self._signals = 0
        self._parent = os.getppid() if with_parent else None

    def catch_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Under nohup, SIGHUP is ignored on purpose.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1

    def start(
        self, name: str, command: Sequence[str], *, base: bool = False, noise: Sequence[bytes] = ()
    ) -> None:
        self._printer.width = max(self._printer.width, len(name))
        child = Child(name, command, next(self._colours), base, noise, self._spawn(command))
        self.children.append(child)
        self._relay(child)

    def _spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """A session of its own keeps the terminal's Ctrl-C away: only `up` decides when a process ends."""
        return subprocess.Popen(
            _tethered(command),
            env=self._env,
            cwd=self._cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _relay(self, child: Child) -> None:
        threading.Thread(target=self._print_output, args=(child, child.process.stdout), daemon=True).start()

    def _print_output(self, child: Child, output: IO[bytes]) -> None:
        with output:
            for line in output:
                if line.strip() and not any(word in line for word in child.noise):
                    self._print(line, child.name, child.colour)

    def _print(self, line: bytes | str, name: str, colour: str | None = None) -> None:
        # A closed terminal must not keep anything from being stopped.
        with self._print_lock, contextlib.suppress(OSError):
            self._printer.write(Message("line", line, datetime.now(), name, colour))

    def say(self, line: str) -> None:
        self._print(line, "nod")

    def wait_until(self, condition: Callable[[], bool], *, what: str, patience: float) -> None:
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                raise GivenUp(f"{what} did not answer within {patience:.0f} s.")
            self.tick()

    def watch(self) -> None:
        while True:
            self.tick()

    def tick(self) -> None:
        """One look around: was a stop asked for, has a child died?"""
        if self._signals or self._parent not in (None, os.getppid()):
            raise StopAsked
        for child in self.children:
            if child.process.poll() is not None:
                self._restart(child)
        time.sleep(TICK)

    def _restart(self, child: Child) -> None:
        _kill_group(child)
        end = _describe_end(child.process.returncode)
        if child.died_too_often():
            raise GivenUp(
                f"{child.name} {end}, {QUICK_DEATHS} times in {QUICK_DEATHS_WITHIN:.0f} s. See above."
            )
        self.say(f"{child.name} {end}, starting it again")
        child.process = self._spawn(child.command)
        self._relay(child)

    def stop(self) -> None:
        self._end([child for child in self.children if not child.base], GRACE)
        self._end([child for child in self.children if child.base], BASE_GRACE)

    def _end(self, children: list[Child], grace: float) -> None:
        for child in children:
            child.process.terminate()
        self._await_end(children, grace)
        for child in children:
            _kill_group(child)
            child.process.wait()

    def _await_end(self, children: Iterable[Child], grace: float) -> None:
        """Until all have ended, the grace is over, or somebody pressed Ctrl-C once more."""
        deadline = time.monotonic() + grace
        while any(child.process.poll() is None for child in children):
            if time.monotonic() > deadline or self._signals > 1:
                return
            time.sleep(TICK)


def _tethered(command: Sequence[str]) -> list[str]:
    if sys.platform != "linux":
        return [*command]
    # Isolated and without site, Python starts in 10 ms.
    return [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), *command]


def _kill_group(child: Child) -> None:
    """Also ends what the child may have started and left behind."""
    # macOS says "not permitted" of a group in which all have ended.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, signal.SIGKILL)


def _describe_end(returncode: int) -> str:
    if returncode >= 0:
        return f"stopped with exit code {returncode}"
    return f"was ended by {signal.Signals(-returncode).name}"
