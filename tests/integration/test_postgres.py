"""The launcher of the PostgreSQL that tests run on."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from tests.postgres import PACKAGE
from tests.processes import still_running

LAUNCHER = [sys.executable, "-m", "tests.postgres"]
ROOT = Path(__file__).resolve().parents[2]
ASK = """
import os, urllib.parse, psycopg
host = urllib.parse.unquote(os.environ["DATABASE_URL"].split("@")[1].split("/")[0])
with psycopg.connect(host=host, user="postgres", dbname="postgres") as connection:
    print(host, *connection.execute("select current_setting('server_version'), current_setting('fsync')").fetchone())
raise SystemExit(7)
"""


@pytest.fixture
def short():
    """A folder whose path a socket's name still fits behind."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def leftovers(folder):
    """What has the folder on its command line and does not end at once."""
    found = [process for process in psutil.process_iter() if str(folder) in " ".join(_words(process))]
    return still_running(found)


def _words(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_it_runs_a_command_and_hands_on_how_it_ended(short):
    done = subprocess.run(
        [*LAUNCHER, sys.executable, "-c", ASK],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(short)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (7, "")
    folder, version, fsync = done.stdout.split()
    assert folder.startswith(f"{short}/")
    assert (version.split(".")[0], fsync) == ("18", "on")
    assert list(short.iterdir()) == []
    assert leftovers(short) == []


def making_the_database(launcher):
    return any("initdb" in _words(child)[:1][0] for child in launcher.children() if _words(child))


def running_the_command(launcher):
    return any(_words(child)[:1] == ["sleep"] for child in launcher.children())


@pytest.mark.parametrize("reached", [making_the_database, running_the_command])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_leaves_nothing_behind_when_it_is_stopped(short, number, reached):
    launcher = subprocess.Popen(
        [*LAUNCHER, "sleep", "600"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(short)},
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not reached(psutil.Process(launcher.pid)):
            assert launcher.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(launcher.pid, number)  # as a terminal does it
        assert launcher.wait(30) == 128 + number
    finally:
        launcher.terminate()
        launcher.wait(30)
    assert list(short.iterdir()) == []
    assert leftovers(short) == []


def test_it_uses_the_wheel_of_this_environment():
    assert (PACKAGE / "pginstall" / "bin" / "postgres").is_file()
