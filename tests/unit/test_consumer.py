"""How soon a worker is back after its broker was away."""

import logging

import pytest
from celery.worker.consumer import Consumer as Base
from kombu import Connection

from hitl_site.consumer import LONGEST, Consumer


@pytest.fixture
def consumer():
    """One that has not begun: only what it takes to connect."""
    made = Consumer.__new__(Consumer)
    made.first_connection_attempt = True
    return made


@pytest.fixture
def waited():
    """What a worker waits between two attempts, in seconds."""
    return []


@pytest.fixture
def pauses(monkeypatch, waited):
    """pauses(refusals): a connection to a broker that refuses so often first."""

    def connection(refusals):
        made = Connection("redis://127.0.0.1:1")
        attempts = iter([ConnectionRefusedError("refused")] * refusals)

        def connect():
            if (error := next(attempts, None)) is not None:
                waited.append(0.0)
                raise error
            return "connected"

        def sleep(seconds):
            waited[-1] += seconds

        monkeypatch.setattr(made, "_connection_factory", connect)
        monkeypatch.setattr("kombu.utils.functional.sleep", sleep)
        return made

    return connection


def test_it_tries_every_two_seconds_at_least(consumer, pauses, waited):
    broker = pauses(20)
    assert consumer.ensure_connected(broker) is broker
    assert len(waited) == 20
    assert max(waited) == LONGEST == 2
    assert waited[0] < 1


def test_it_says_so_once(consumer, pauses, caplog):
    caplog.set_level(logging.INFO)
    consumer.ensure_connected(pauses(5))
    [line] = caplog.messages
    assert "@127.0.0.1:1/" in line
    assert "refused" in line


def test_it_leaves_it_to_celery_to_say_that_a_connection_was_lost(consumer, pauses, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(Base, "on_connection_error_after_connected", lambda *args: None)
    consumer.on_connection_error_after_connected(OSError())
    consumer.ensure_connected(pauses(5))
    assert caplog.messages == []
    consumer.ensure_connected(pauses(5))
    assert len(caplog.messages) == 1, "another outage, of which Celery said nothing"


def test_workers_use_it():
    from hitl_site.celery import app

    assert app.conf.worker_consumer == "hitl_site.consumer:Consumer"
