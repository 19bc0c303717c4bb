"""/metrics: whole, in Prometheus' format, and for those alone who may read it."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.models.functions import Now
from django.test import Client

from agents.models import Run
from agents.states import RunStatus
from approvals.models import Decision, ToolCall
from approvals.states import Status
from hitl_site import env as read
from hitl_site.metrics import measures
from hitl_site.metrics.exposition import Metric, text
from tests.desk import approve, asks, chat, deny, pending, work

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?[0-9.]+(?:e[+-]?[0-9]+)?)")


def parsed(page):
    """Every sample by name and labels. Strict: each metric whole and once, HELP and TYPE first, nothing else."""
    assert page.endswith("\n")
    found, declared, current = {}, set(), ""
    lines = iter(page[:-1].split("\n"))
    for line in lines:
        if line.startswith("# HELP "):
            current = line.split(" ", 3)[2]
            assert re.fullmatch(NAME, current)
            assert current not in declared
            assert line.split(" ", 3)[3].strip()
            declared.add(current)
            assert re.fullmatch(rf"# TYPE {current} (gauge|counter)", next(lines))
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        assert match[1] == current
        labels = tuple(re.findall(LABEL, match[2] or ""))
        assert (current, labels) not in found
        found[current, labels] = float(match[7])
    return found


@pytest.fixture(autouse=True)
def counted_anew():
    measures.forget()
    yield
    measures.forget()


def measured(client=None, **headers):
    response = (client or Client()).get("/metrics", headers=headers)
    assert response.status_code == 200, response.content
    assert response["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(response.content.decode())


@pytest.fixture
def busy(model, alice, rita, remy):
    """One call of each of some statuses."""
    model.play(asks(), "Done.", asks(subject="No."), "Then not.", asks(subject="Later"))
    session = chat(alice)
    approve(pending(session), rita)
    work()
    chat(alice, "Another.", session)
    deny(pending(session), remy)
    work()
    chat(alice, "A third.", session)
    return session


def test_it_tells_of_calls_decisions_and_runs(busy):
    pending(busy)
    ToolCall.objects.filter(status=Status.PENDING).update(requested_at=Now() - timedelta(seconds=90))
    found = measured()
    calls = {labels[0][1]: value for (name, labels), value in found.items() if name == "nod_calls"}
    assert set(calls) == set(Status.values)
    assert {status for status, count in calls.items() if count} == {"succeeded", "denied", "pending"}
    decisions = {labels[0][1]: value for (name, labels), value in found.items() if name == "nod_decisions"}
    assert decisions == {"approve": 1, "deny": 1, "trust": 0}
    assert 90 <= found["nod_calls_pending_oldest_seconds", ()] < 120
    runs = {labels[0][1]: value for (name, labels), value in found.items() if name == "nod_runs"}
    assert (runs["done"], runs["waiting"], sum(runs.values())) == (2, 1, 3)
    assert found["nod_decisions_last_hour", ()] == 2
    waits = [value for (name, _), value in found.items() if name == "nod_decision_wait_seconds"]
    assert len(waits) == 3
    assert all(0 <= wait < 60 for wait in waits)
    assert found["nod_audit_entries_total", ()] > 10
    assert found["nod_listeners", ()] >= 0
    assert ("nod_redis_up", ()) in found
    [info] = [dict(labels) for (name, labels) in found if name == "nod_build_info"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", info["version"])


def test_it_tells_what_should_have_been_done(busy):
    found = measured()
    assert (found["nod_calls_overdue", ()], found["nod_runs_overdue", ()]) == (0, 0)
    ToolCall.objects.filter(status=Status.PENDING).update(expires_at=Now() - timedelta(minutes=1))
    Run.objects.filter(status=RunStatus.WAITING).update(
        status=RunStatus.QUEUED, due_at=Now() - timedelta(minutes=1)
    )
    found = measured()
    assert (found["nod_calls_overdue", ()], found["nod_runs_overdue", ()], found["nod_runs_due", ()]) == (
        1, 1, 1,
    )  # fmt: skip


def test_what_is_open_is_never_an_old_count(busy, rita):
    before = measured()
    call = pending(busy)
    approve(call, rita)
    after = measured()
    for status, change in (("pending", -1), ("approved", 1)):
        key = "nod_calls", (("status", status),)
        assert after[key] == before[key] + change


def test_an_empty_desk_has_metrics_too(db):
    found = measured()
    assert found["nod_calls_pending_oldest_seconds", ()] == 0
    assert not Decision.objects.exists()


def test_it_reads_whole_tables_now_and_then_alone(desk, django_assert_max_num_queries):
    measured()
    with django_assert_max_num_queries(20) as asked:
        measured()
    assert not [query for query in asked if "GROUP BY" in query["sql"]]


@pytest.mark.parametrize("value", ['"', "\\", "\n", "é"])
def test_labels_are_escaped(value):
    page = text([Metric("x", "gauge", "Help\nme.", [({"a": value}, 0.5)])])
    [((_, ((_, escaped),)), number)] = parsed(page).items()
    assert (escaped.replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\"), number) == (value, 0.5)


# --- Who may -----------------------------------------------------------------------------------------------
SECRET = "metrics-secret-of-this-test"


def status(client=None, **headers):
    response = (client or Client()).get("/metrics", headers=headers)
    if response.status_code == 403:
        assert b"NOD_METRICS_TOKEN" in response.content
    return response.status_code


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_a_laptop_needs_no_token_and_a_site_does(desk, settings):
    assert status() == 200
    settings.DEMO = False
    assert status() == 403
    settings.METRICS_TOKEN = SECRET
    assert status() == 403
    assert status(**bearer("wrong")) == status(**bearer("\xe9")) == status(Authorization=SECRET) == 403
    assert status(**bearer(SECRET)) == 200
    settings.METRICS_TOKEN = ""
    assert status(**bearer("")) == 403


def test_whoever_comes_through_a_proxy_is_not_of_this_machine(desk):
    assert status(**{"X-Forwarded-For": "203.0.113.9"}) == 403
    assert status(Forwarded="for=203.0.113.9") == 403
    assert status(Client(REMOTE_ADDR="203.0.113.9")) == 403
    assert status(Client(REMOTE_ADDR="::1")) == 200


def test_an_administrator_s_token_reads_them(token, admin, rita, alice):
    away = Client(REMOTE_ADDR="203.0.113.9")
    assert status(away, **token(admin, "admin")) == 200
    assert status(away, **token(admin, "review", "agent", "chat")) == 403
    assert status(away, **token(rita, "admin")) == status(away, **token(alice, "admin")) == 403
    away.force_login(admin)
    assert status(away) == 403, "a cookie is not enough: pages of others could ask with it"


def test_it_is_for_reading(desk):
    assert Client().post("/metrics").status_code == 405


def test_a_token_that_is_easily_guessed_stops_the_start(monkeypatch, tmp_path):
    monkeypatch.setenv("NOD_METRICS_TOKEN", "short")
    with pytest.raises(ImproperlyConfigured, match="at least 20 random ASCII characters"):
        read.long_secret("NOD_METRICS_TOKEN")
    monkeypatch.delenv("NOD_METRICS_TOKEN")
    assert read.long_secret("NOD_METRICS_TOKEN") == ""
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    monkeypatch.setenv("NOD_METRICS_TOKEN_FILE", str(tmp_path / "secret"))
    assert read.long_secret("NOD_METRICS_TOKEN") == SECRET
