"""Is it alive, is it ready: an answer in time, whatever hangs."""

import threading
import time

import pytest

from hitl_site import health


@pytest.fixture
def patience(monkeypatch):
    monkeypatch.setattr(health, "PATIENCE", 0.3)
    return 0.3


@pytest.fixture
def well(monkeypatch):
    for probe in ("_database", "_redis", "_worker"):
        monkeypatch.setattr(health, probe, lambda: "ok")


def test_it_is_ready(client, well, db):
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (
        200,
        {"database": "ok", "redis": "ok", "worker": "ok"},
    )


@pytest.mark.parametrize("which", [("_redis",), ("_worker",), ("_redis", "_worker"), ("_database",)])
def test_it_answers_though_something_hangs(client, well, patience, monkeypatch, which):
    let_go = threading.Event()

    def hangs():
        let_go.wait(30)
        return "ok"

    for probe in which:
        monkeypatch.setattr(health, probe, hangs)
    began = time.monotonic()
    try:
        response = client.get("/readyz")
    finally:
        let_go.set()
    assert time.monotonic() - began < patience * len(which) + 10, "none of them is waited for to its end"
    assert response.status_code == 503
    hung = {probe.removeprefix("_") for probe in which}
    assert {name for name, said in response.json().items() if said == "no answer"} == hung


def test_it_says_what_is_wrong_and_no_secret(client, well, monkeypatch):
    def refused():
        raise ConnectionRefusedError("redis://:secret@redis.example")

    monkeypatch.setattr(health, "_redis", refused)
    response = client.get("/readyz")
    assert (response.status_code, response.json()["redis"]) == (503, "ConnectionRefusedError")


def test_it_is_alive_without_anything(client):
    assert client.get("/healthz").content == b"ok"
