"""`manage.py up`: everything Nod needs, in one terminal."""

import http.client
import os
import sys
import threading
import time
from argparse import ArgumentParser
from contextlib import ExitStack
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import OperationalError, connections

from hitl_site import embedded
from hitl_site.env import keep_vapid_key
from hitl_site.preflight import (
    CannotStart,
    only_one,
    prepare_folder,
    require_free_port,
    require_model_library,
    require_redis,
)
from hitl_site.supervise import TICK, GivenUp, StopAsked, Supervisor

SIGN_INS = """\
Sign in with the password nod as
  alice, bob   to chat with the agent
  rita, remy   to review what it wants to do
  admin        to administer
Ctrl-C stops everything."""


class Command(BaseCommand):
    help = (
        "Starts the web server, the workers and what they need, after the migrations. Ctrl-C stops all of it."
    )
    # The checks would load every page before anything starts; `make check` and `manage.py check` run them.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
        parser.add_argument("--port", type=int, default=settings.PORT, help="port (%(default)s, or PORT)")
        parser.add_argument("--workers", type=int, default=1, help="worker processes (%(default)s)")
        parser.add_argument("--seed", action="store_true", help="seed the demo people, agent and policies")
        parser.add_argument(
            "--with-parent", action="store_true", help="stop when the process that started this one ends"
        )

    def handle(self, **options: Any) -> None:
        try:
            require_model_library(settings.NOD_MODEL_PROVIDER)
            run = prepare_folder(settings.DATA_DIR)
            keep_vapid_key(settings.DATA_DIR)
            with only_one(run, _address(options["host"], options["port"])):
                require_free_port(options["host"], options["port"])
                self._supervise(options)
        except (CannotStart, GivenUp) as error:
            self.stderr.write(str(error))
            sys.exit(1)

    def _supervise(self, options: dict[str, Any]) -> None:
        env = _environment(options["port"])
        supervisor = Supervisor(env, settings.BASE_DIR, with_parent=options["with_parent"])
        supervisor.catch_signals()
        with ExitStack() as stack:
            if settings.REDIS_SOCKET:
                stack.enter_context(embedded.folder_of(settings.REDIS_SOCKET))
            stack.callback(supervisor.stop)
            self._run(supervisor, options)

    def _run(self, supervisor: Supervisor, options: dict[str, Any]) -> None:
        try:
            _start_valkey(supervisor)
            _prepare_database(seed=options["seed"])
            _start_processes(supervisor, options)
            self._announce(options)
            supervisor.watch()
        except StopAsked:
            supervisor.say("stopping")

    def _announce(self, options: dict[str, Any]) -> None:
        self.stdout.write(f"Nod is ready on {_address(options['host'], options['port'])}")
        if options["seed"]:
            self.stdout.write(SIGN_INS)
        self.stdout.flush()


def _address(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _environment(port: int) -> dict[str, str]:
    env = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "PORT": str(port),
        "NOD_DATA": str(settings.DATA_DIR.resolve()),
        # Django's checks would load every page into each worker.
        "CELERY_SKIP_CHECKS": "1",
    }
    if settings.EMBEDDED_REDIS:
        env.pop("REDIS_URL", None)
    return env


def _start_valkey(supervisor: Supervisor) -> None:
    path = settings.REDIS_SOCKET
    if path is None:
        require_redis(settings.REDIS_URL)
        return
    embedded.end_stale_server(path)
    command = embedded.valkey_command(settings.DATA_DIR, path)
    supervisor.start("valkey", command, base=True, noise=embedded.NOISE)
    supervisor.wait_until(lambda: embedded.answers(path), what="Valkey", patience=20)


def _prepare_database(*, seed: bool) -> None:
    try:
        connections["default"].ensure_connection()
    except OperationalError as error:
        raise CannotStart(
            f"The database can't be reached ({' '.join(str(error).split())}). "
            "Start it, or look at the host, port, name and password in DATABASE_URL."
        ) from error
    call_command("migrate", interactive=False, verbosity=0)
    if seed:
        call_command("seed", verbosity=0)
    _let_go_of_database()


def _let_go_of_database() -> None:
    """The supervisor needs no connection any more, nor the threads of a PostgreSQL pool."""
    for connection in connections.all(initialized_only=True):
        connection.close()
        if hasattr(connection, "close_pool"):
            connection.close_pool()


def _start_processes(supervisor: Supervisor, options: dict[str, Any]) -> None:
    host, port = options["host"], options["port"]
    supervisor.start("web", _web(host, port))
    for number in range(1, options["workers"] + 1):
        name = f"worker{number}" if options["workers"] > 1 else "worker"
        supervisor.start(name, _worker(f"{name}-{port}"), noise=[b"worker: Warm shutdown"])
    answered = threading.Event()
    threading.Thread(target=_await_answer, args=(_address(host, port), answered), daemon=True).start()
    supervisor.wait_until(answered.is_set, what="The web server", patience=60)


def _web(host: str, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "daphne", "-b", host, "-p", str(port), "-v", "0", "--no-server-name"),
        # daphne closes sockets after a day in a way that browsers do not reconnect from.
        *("--websocket_timeout", "-1"),
        # Nod reads nothing from its sockets.
        *("--websocket-max-frame-size", "4096", "--websocket-max-message-size", "4096"),
        "hitl_site.asgi:application",
    ]


def _worker(node: str) -> list[str]:
    return [
        # Celery warns root of messages that run code; Nod's are JSON.
        *(sys.executable, "-W", "ignore:You're running the worker with superuser privileges"),
        *("-m", "celery", "--quiet", "-A", "hitl_site", "worker", "--loglevel", "WARNING"),
        *("--pool", "threads", "--concurrency", "8", "--hostname", f"{node}@%h"),
        # Talk among workers, which Nod does not need: its truth is in the database.
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]


def _await_answer(address: str, answered: threading.Event) -> None:
    """In a thread of its own, since the first answer takes a while: it loads every page."""
    while not _web_answers(address):
        time.sleep(TICK)
    answered.set()


def _web_answers(address: str) -> bool:
    """Any answer that is no failure counts: with strict ALLOWED_HOSTS it is a 400, behind TLS a redirect."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
