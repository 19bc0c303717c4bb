"""The database is away for a while: pages and API say so, and the log does, once."""

from __future__ import annotations

import time

import pytest
from channels.testing import WebsocketCommunicator
from django.db import InterfaceError, OperationalError

from approvals import waiting
from approvals.actions import tokens
from hitl_site import asgi, outage

pytestmark = pytest.mark.usefixtures("desk")

QUEUE = "/approvals/"


@pytest.fixture(autouse=True)
def no_outage_yet():
    long_ago()
    outage.over()
    yield
    outage.over()


def long_ago():
    """The last failure is no longer of the same outage."""
    outage._noted = time.monotonic() - outage.LULL - 1


@pytest.fixture
def as_rita(client, rita):
    client.force_login(rita)
    return client


@pytest.fixture(params=[OperationalError, InterfaceError])
def away(request, monkeypatch):
    """away(module, name): this function meets a database that does not answer, until `monkeypatch` is undone."""

    def breaks(module, name):
        def broken(*args, **kwargs):
            raise request.param("connection refused\nsecond line")

        monkeypatch.setattr(module, name, broken)

    return breaks


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name in ("nod.web", "django.request")]


def test_a_page_says_so_and_the_log_once(as_rita, away, caplog):
    away(waiting, "pending")
    for _ in range(3):
        page = as_rita.get(QUEUE)
        assert (page.status_code, page["Retry-After"]) == (503, "5")
        assert "The database does not answer." in page.text
        assert "connection refused" not in page.text
    assert lines(caplog) == [
        "The database does not answer (connection refused); requests are told to come back."
    ]


def test_the_next_outage_is_said_again(as_rita, away, monkeypatch, caplog):
    for _ in range(2):
        with monkeypatch.context():
            away(waiting, "pending")
            assert as_rita.get(QUEUE).status_code == 503
        monkeypatch.undo()
        assert as_rita.get(QUEUE).status_code == 200
        long_ago()
    assert len(lines(caplog)) == 2


def test_a_connection_that_died_with_the_server_is_no_new_outage(as_rita, away, monkeypatch, caplog):
    """One of a pool, which nobody used while the server was away."""
    for _ in range(2):
        away(waiting, "pending")
        assert as_rita.get(QUEUE).status_code == 503
        monkeypatch.undo()
        assert as_rita.get(QUEUE).status_code == 200
    assert len(lines(caplog)) == 1


def test_it_says_so_where_the_person_cannot_be_loaded(as_rita, away, caplog):
    import django.contrib.auth.middleware as module

    away(module, "get_user")
    assert as_rita.get(QUEUE).status_code == 503
    assert len(lines(caplog)) == 1


def test_the_api_says_it_as_a_problem(client, rita, token, away, monkeypatch, caplog):
    headers = token(rita, "review")
    away(tokens, "find")
    answer = client.get("/api/v1/calls", headers=headers)
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert answer["Content-Type"] == "application/problem+json"
    assert (answer.json()["code"], answer.json()["detail"]) == ("unavailable", outage.SENTENCE)
    monkeypatch.undo()
    assert client.get("/api/v1/calls", headers=headers).status_code == 200
    long_ago()
    away(tokens, "find")
    assert client.get("/api/v1/calls", headers=headers).status_code == 503
    assert len(lines(caplog)) == 2, "one for each outage"


# --- Sockets -----------------------------------------------------------------------------------------------
async def test_a_socket_is_closed_to_come_back(live, monkeypatch, caplog):
    """Whoever it belongs to cannot be looked up; a trace for each of them would fill the log."""

    async def broken(scope):
        raise OperationalError("connection refused")

    monkeypatch.setattr("channels.auth.get_user", broken)
    for _ in range(3):
        socket = WebsocketCommunicator(
            asgi.application,
            "/ws/approvals/",
            headers=[(b"host", b"testserver"), (b"origin", b"http://testserver")],
        )
        assert (await socket.connect())[0]
        assert (await socket.receive_output())["code"] == 4503
    assert len(lines(caplog)) == 1
