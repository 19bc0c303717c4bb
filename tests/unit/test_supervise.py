"""The loop that keeps processes running, with processes that do little."""

import io
import os
import signal
import time

import psutil
import pytest

from hitl_site.supervise import GivenUp, StopAsked, Supervisor
from tests.processes import still_running

SLEEP = ["/bin/sleep", "60"]
STUBBORN = ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"]


@pytest.fixture
def output():
    return io.StringIO()


@pytest.fixture
def supervisor(tmp_path, output):
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    supervisor = Supervisor(os.environ, tmp_path, output=output)
    yield supervisor
    supervisor.stop()
    for number, handler in before.items():
        signal.signal(number, handler)


def tick_until(supervisor, condition):
    supervisor.wait_until(condition, what="It", patience=20)


def test_it_prints_what_a_process_says_behind_its_name(supervisor, output):
    supervisor.start("talker", ["/bin/sh", "-c", "echo hello; sleep 60"])
    tick_until(supervisor, lambda: "talker | hello" in output.getvalue())


def test_it_leaves_out_noise(supervisor, output):
    supervisor.start("talker", ["/bin/sh", "-c", "echo noise; echo news; sleep 60"], noise=[b"noise"])
    tick_until(supervisor, lambda: "news" in output.getvalue())
    assert "noise" not in output.getvalue()


def test_it_starts_a_dead_process_again(supervisor, output):
    supervisor.start("worker", SLEEP)
    first = supervisor.children[0].process
    first.kill()
    tick_until(supervisor, lambda: supervisor.children[0].process is not first)
    assert "worker was ended by SIGKILL, starting it again" in output.getvalue()


def test_it_gives_up_on_a_process_that_dies_again_and_again(supervisor, output):
    supervisor.start("worker", ["/bin/sh", "-c", "exit 3"])
    with pytest.raises(GivenUp, match="worker stopped with exit code 3, 5 times in 30 s"):
        tick_until(supervisor, lambda: False)
    assert output.getvalue().count("worker stopped with exit code 3, starting it again") == 4


def test_it_gives_up_when_there_is_no_answer(supervisor):
    with pytest.raises(GivenUp, match="Valkey did not answer within 0 s"):
        supervisor.wait_until(lambda: False, what="Valkey", patience=0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_stops_when_asked(supervisor, number):
    supervisor.catch_signals()
    supervisor.start("worker", SLEEP)
    os.kill(os.getpid(), number)
    with pytest.raises(StopAsked):
        supervisor.watch()
    supervisor.stop()
    assert supervisor.children[0].process.returncode == -signal.SIGTERM


def test_it_lets_nohup_ignore_a_hang_up(supervisor):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    supervisor.catch_signals()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_it_stops_when_its_parent_has_gone(tmp_path, monkeypatch):
    supervisor = Supervisor(os.environ, tmp_path, with_parent=True)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    with pytest.raises(StopAsked):
        supervisor.tick()


def test_it_kills_what_does_not_stop(supervisor, monkeypatch, output):
    monkeypatch.setattr("hitl_site.supervise.GRACE", 0.2)
    supervisor.start("worker", STUBBORN)
    tick_until(supervisor, lambda: "ready" in output.getvalue())
    supervisor.stop()
    assert supervisor.children[0].process.returncode == -signal.SIGKILL


def test_it_also_ends_what_a_process_has_started(supervisor, tmp_path):
    pid_file = tmp_path / "pid"
    supervisor.start("worker", ["/bin/sh", "-c", f"sleep 60 & echo $! > {pid_file}; wait"])
    tick_until(supervisor, lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
    grandchild = psutil.Process(int(pid_file.read_text()))
    supervisor.stop()
    assert still_running([grandchild], within=5) == []


def test_it_ends_base_processes_last(supervisor, tmp_path):
    order = tmp_path / "order"
    for name, base in (("valkey", True), ("web", False)):
        script = (
            f"trap 'echo {name} >> {order}; exit' TERM; echo started >> {order}; while :; do sleep 0.05; done"
        )
        supervisor.start(name, ["/bin/sh", "-c", script], base=base)
    tick_until(supervisor, lambda: order.exists() and order.read_text().count("started") == 2)
    time.sleep(0.1)
    supervisor.stop()
    assert order.read_text().split()[-2:] == ["web", "valkey"]
