"""The thread that finds what is due."""

import threading
from datetime import timedelta

import pytest
from django.db import OperationalError, connections

from agents import sweeper
from agents.sweeper import Sweeper


@pytest.fixture
def fast(settings):
    settings.SWEEP_EVERY = timedelta(milliseconds=10)


@pytest.fixture
def duties(monkeypatch):
    """duties(function, ...): these are all that a sweep does."""
    return lambda *functions: monkeypatch.setattr(sweeper, "DUTIES", functions)


def test_it_goes_on_after_whatever_fails(fast, duties, caplog):
    done = threading.Semaphore(0)

    def fails():
        raise OperationalError("the database is away\nwith details")

    def breaks():
        raise ValueError("a fault of ours")

    duties(fails, breaks, done.release)
    swept = Sweeper()
    swept.start()
    try:
        for _ in range(3):
            assert done.acquire(timeout=10)
    finally:
        swept.stop()
    assert "the database is away" in caplog.text
    assert "with details" not in caplog.text
    assert "A sweep failed" in caplog.text


def test_an_outage_costs_one_line(duties, caplog, db, monkeypatch):
    monkeypatch.setattr(connections, "close_all", lambda: None)

    def fails():
        raise OperationalError("away")

    duties(fails)
    swept = Sweeper()
    for _ in range(5):
        swept.sweep()
    assert caplog.text.count("away") == 1


def test_it_stops_between_two_duties(duties):
    reached = []
    swept = Sweeper()
    duties(lambda: swept._stop.set(), lambda: reached.append(1))
    swept.sweep()
    assert reached == []


def test_it_holds_no_connection_between_sweeps(fast, duties, transactional_db):
    held, done = [], threading.Semaphore(0)

    def ask():
        held.append(connections["default"])
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT 1")
        done.release()

    duties(ask)
    swept = Sweeper()
    swept.start()
    try:
        assert done.acquire(timeout=10)
        assert done.acquire(timeout=10)
    finally:
        swept.stop()
    assert held[0].connection is None
