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
    assert not path.parent.exists()


def test_its_folder_is_private_and_goes_with_it(temp_folder):
    path = embedded.socket_path(LONG)
    with embedded.folder_of(path):
        assert path.parent.stat().st_mode & 0o777 == 0o700
        path.touch()
    assert list(temp_folder.iterdir()) == []


def test_it_leaves_the_data_folder_alone(tmp_path):
    path = tmp_path / "run" / "valkey.sock"
    with embedded.folder_of(path):
        pass
    assert path.parent.is_dir()


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


@pytest.fixture
def taken(temp_folder):
    """The folder for LONG, which somebody made before us."""
    folder = embedded.socket_path(LONG).parent
    folder.mkdir(mode=0o700)
    return folder


def refuses(path):
    """Both the server and whoever would talk to it."""
    with pytest.raises(ImproperlyConfigured, match="nobody else can enter"), embedded.folder_of(path):
        raise AssertionError("it was entered")
    with pytest.raises(ImproperlyConfigured, match="nobody else can enter"):
        embedded.socket_path(LONG)


def test_it_refuses_a_folder_that_others_may_enter(taken):
    path = embedded.socket_path(LONG)
    taken.chmod(0o755)
    refuses(path)


def test_it_refuses_a_link_to_a_folder(taken, temp_folder):
    path = embedded.socket_path(LONG)
    taken.rename(temp_folder / "elsewhere")
    taken.symlink_to(temp_folder / "elsewhere")
    refuses(path)


def test_it_refuses_a_link_to_nowhere(temp_folder):
    path = embedded.socket_path(LONG)
    path.parent.symlink_to(temp_folder / "nowhere")
    with pytest.raises((ImproperlyConfigured, FileExistsError)), embedded.folder_of(path):
        raise AssertionError("it was entered")
    with pytest.raises(ImproperlyConfigured, match="nobody else can enter"):
        embedded.socket_path(LONG)


def test_it_refuses_a_folder_of_somebody_else(taken, monkeypatch):
    path = embedded.socket_path(LONG)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    refuses(path)


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
