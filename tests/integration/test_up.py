"""`manage.py up` as its users see it: a real one, with real processes."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.processes import still_running
from tests.system import System

# One worker of pytest runs all of these, so that they share the started instance.
pytestmark = pytest.mark.xdist_group("up")

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Up:
    """One `manage.py up`, with what it printed."""

    def __init__(self, data, port=None, **env):
        self.data, self.port = data, port or free_port()
        self.log = data.parent / f"{data.name[:20]}-{time.monotonic_ns()}.log"
        self.url = f"http://127.0.0.1:{self.port}"
        # Nothing of the test runner's own environment: HOME and PATH are all that Nod needs.
        env = {"PATH": os.environ["PATH"], "HOME": str(data.parent), "DEBUG": "1", **env}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=ROOT,
                env={**env, "NOD_DATA": str(data), "PORT": str(self.port)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def printed(self):
        return self.log.read_text()

    def ready(self):
        wait_for(lambda: f"Nod is ready on {self.url}\n" in self.printed() or self.ended(), "no ready line")
        assert not self.ended(), self.printed()
        return self

    def ended(self):
        return self.process.poll() is not None

    def children(self):
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def child(self, word):
        found = [child for child in self.children() if word in _command(child)]
        return found[0] if found else None

    def answers(self):
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def end(self, number):
        """Sends the signal; returns its processes that still run afterwards."""
        children = self.children()
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
        return still_running(children)

    def clean_up(self):
        if not self.ended():
            for process in [*self.children(), psutil.Process(self.process.pid)]:
                process.kill()
        self.process.wait()


def _command(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture(scope="module")
def nod(tmp_path_factory):
    """The shared instance. Its data folder is too deep for a Unix socket."""
    data = tmp_path_factory.mktemp("data") / ("deep" * 30)
    System(data).prepare()
    up = Up(data)
    try:
        yield up.ready()
        leaves_nothing_behind(up, signal.SIGHUP)
    finally:
        up.clean_up()


@pytest.fixture
def start():
    """Starts further instances, and ends those that the test left."""
    started = []

    def start(*args, **env):
        started.append(Up(*args, **env))
        return started[-1]

    yield start
    for up in started:
        up.clean_up()


def refusal(up):
    """The one line of an `up` that does not start."""
    assert up.process.wait(PATIENCE) == 1
    assert up.printed().count("\n") == 1, up.printed()
    return up.printed().strip()


def test_it_answers_keeps_quiet_and_leaves_nothing_behind(tmp_path, start):
    up = start(tmp_path / "data").ready()  # its own: others kill what the shared one runs
    assert up.answers()
    leaves_nothing_behind(up, signal.SIGTERM)
    assert "Traceback" not in up.printed()
    assert "WARNING" not in up.printed()


def test_it_refuses_a_second_one_on_the_same_data(nod, start):
    line = refusal(start(nod.data))
    assert line.startswith("Nod already runs on")
    assert nod.url in line
    assert nod.answers()


def test_it_refuses_a_busy_port(tmp_path, start):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        line = refusal(start(tmp_path / "data", port=port))
    assert line == f"Port {port} is in use. Choose another: PORT={port + 1} make run"


def test_it_says_that_the_data_folder_cannot_be_written(tmp_path, start):
    (tmp_path / "data").write_text("in the way")
    line = refusal(start(tmp_path / "data", SECRET_KEY="k" * 50))
    assert "can't be written" in line
    assert "NOD_DATA" in line


@pytest.mark.parametrize(("word", "name"), [("worker", "worker"), ("daphne", "web")])
def test_it_starts_a_killed_process_again(nod, word, name):
    killed = nod.child(word)
    killed.kill()
    wait_for(lambda: nod.child(word) not in (None, killed), f"no new {word}")
    wait_for(
        lambda: f"{name} was ended by SIGKILL, starting it again" in nod.printed(), "no line that says so"
    )
    wait_for(nod.answers, "no answer")


def test_it_starts_a_killed_valkey_again(nod):
    killed = valkey(nod)
    killed.kill()
    wait_for(lambda: valkey(nod) not in (None, killed), "no new Valkey")
    wait_for(
        lambda: "valkey was ended by SIGKILL, starting it again" in nod.printed(), "no line that says so"
    )
    wait_for(nod.answers, "no answer")


def valkey(nod):
    return next((child for child in nod.children() if "valkey" in child.name()), None)


def leaves_nothing_behind(up, number):
    began = time.monotonic()
    assert up.end(number) == []
    assert time.monotonic() - began < 20  # 5 s by itself, and this machine is busy with other tests
    assert up.process.returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the children of a killed process")
def test_it_recovers_from_being_killed(tmp_path, start):
    System(tmp_path / "data").prepare()
    assert start(tmp_path / "data").ready().end(signal.SIGKILL) == []
    again = start(tmp_path / "data").ready()
    assert again.answers()
    leaves_nothing_behind(again, signal.SIGINT)
