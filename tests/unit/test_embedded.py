"""Where the embedded Valkey listens, and how it starts and ends."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from hitl_site import embedded


@pytest.fixture
def temp_folder(tmp_path, monkeypatch):
    """A temp folder with a short path, whatever the test runner's is."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


LONG = Path("/srv") / ("a" * 120)


def test_it_listens_in_the_data_folder():
    assert embedded.socket_path(Path("/srv/nod")) == Path("/srv/nod/run/valkey.sock")


def test_it_moves_to_the_temp_folder_when_the_path_is_too_long(temp_folder):
    path = embedded.socket_path(LONG)
    assert path.parent.parent == temp_folder
    assert len(os.fsencode(path)) <= embedded.MAX_SOCKET_PATH
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_it_counts_bytes_and_not_characters(temp_folder):
    path = embedded.socket_path(Path("/srv") / ("ü" * 50))
    assert path.parent.parent == temp_folder


def test_it_gives_each_data_folder_one_socket_of_its_own(temp_folder):
    assert embedded.socket_path(LONG) == embedded.socket_path(LONG)
    assert embedded.socket_path(LONG) != embedded.socket_path(LONG / "other")


def test_it_does_not_need_a_short_temp_folder(tmp_path, monkeypatch):
    long_temp = tmp_path / ("t" * 100)
    long_temp.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long_temp))
    path = embedded.socket_path(tmp_path / ("a" * 120))
    assert path.parent.parent == Path("/tmp")
    path.parent.rmdir()


def test_it_refuses_a_folder_that_others_may_enter(temp_folder):
    embedded.socket_path(LONG).parent.chmod(0o755)
    with pytest.raises(ImproperlyConfigured, match="nobody else can enter"):
        embedded.socket_path(LONG)


def test_it_refuses_a_link_to_a_folder(temp_folder):
    folder = embedded.socket_path(LONG).parent
    folder.rename(temp_folder / "elsewhere")
    folder.symlink_to(temp_folder / "elsewhere")
    with pytest.raises(ImproperlyConfigured, match="nobody else can enter"):
        embedded.socket_path(LONG)


def test_it_refuses_a_folder_of_somebody_else(temp_folder, monkeypatch):
    embedded.socket_path(LONG)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ImproperlyConfigured, match="nobody else can enter"):
        embedded.socket_path(LONG)


def test_it_says_no_when_there_is_no_server(temp_folder):
    assert not embedded.answers(temp_folder / "nothing.sock")
    embedded.end_stale_server(temp_folder / "nothing.sock")


def test_it_opens_no_port_and_saves_nothing(temp_folder):
    command = embedded.valkey_command(temp_folder, temp_folder / "valkey.sock")
    words = " ".join(command)
    assert "--port 0 " in words
    assert "--unixsocketperm 700 " in words
    assert command[command.index("--save") + 1] == ""


def test_it_ends_a_server_that_was_left_behind(temp_folder):
    path = temp_folder / "valkey.sock"
    server = subprocess.Popen(embedded.valkey_command(temp_folder, path), stdout=subprocess.DEVNULL)
    try:
        _wait_for_answer(path)
        assert path.stat().st_mode & 0o777 == 0o700
        embedded.end_stale_server(path)
        assert server.wait(5) == 0
        assert not path.exists()
    finally:
        server.kill()
        server.wait()


def _wait_for_answer(path):
    deadline = time.monotonic() + 10
    while not embedded.answers(path):
        assert time.monotonic() < deadline
        time.sleep(0.01)
