"""What `manage.py up` makes sure of before it starts anything."""

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import redis

from agents.providers.remote import LIBRARIES, not_installed


class CannotStart(Exception):
    """The text is the one line that the operator reads."""


def prepare_folder(data_dir: Path) -> Path:
    """The folder for locks and sockets inside the data folder, for the owner alone."""
    run = data_dir / "run"
    try:
        run.mkdir(mode=0o700, parents=True, exist_ok=True)
        (run / "up.lock").open("a").close()
    except OSError as error:
        raise CannotStart(
            f"The data folder {data_dir} can't be written ({error.strerror}). "
            "Choose another: NOD_DATA=FOLDER make run"
        ) from error
    return run


@contextlib.contextmanager
def only_one(run: Path, address: str) -> Iterator[None]:
    """Holds the data folder for this process. The kernel lets go of it however the process ends."""
    with (run / "up.lock").open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(f"Nod already runs on {run.parent}: {lock.read().strip()}.") from None
        _write(lock.fileno(), f"{address}, process {os.getpid()}\n")
        try:
            yield
        finally:
            _write(lock.fileno(), "")


def _write(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def require_redis(url: str) -> None:
    place = urlsplit(url)
    try:
        with redis.Redis.from_url(url.replace("valkey://", "redis://"), socket_connect_timeout=5) as client:
            client.ping()
    except (redis.RedisError, OSError, ValueError) as error:
        where = place.hostname or place.path
        raise CannotStart(
            f"REDIS_URL: nobody answers at {where} ({type(error).__name__}). "
            "Start Redis or Valkey there, or leave REDIS_URL out for an embedded one."
        ) from error


def require_model_library(provider: str) -> None:
    """What the workers need for the models of agents that name none."""
    if provider in LIBRARIES and find_spec(provider) is None:
        raise CannotStart(f"NOD_MODEL_PROVIDER={provider}: {not_installed(provider)}")


def require_free_port(host: str, port: int) -> None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            # As the web server does it: connections of the last run that are still closing are no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise CannotStart(_port_message(host, port, error)) from error


def _port_message(host: str, port: int, error: OSError) -> str:
    another = f"Choose another: PORT={port + 1} make run"
    if isinstance(error, PermissionError):
        return f"Port {port} needs more rights than you have. {another}"
    if isinstance(error, socket.gaierror) or error.errno != errno.EADDRINUSE:
        return f"Can't listen on {host} port {port} ({error.strerror})."
    return f"Port {port} is in use. {another}"
