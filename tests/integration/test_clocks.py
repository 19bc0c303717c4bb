"""Workers and web servers whose clocks are hours wrong: leases, windows, expiry and trust go by the database's."""

import time
from datetime import timedelta

import pytest
from django.conf import settings
from django.core import mail
from django.db.models.functions import Now
from django.utils import timezone

from agents.actions import runs
from agents.models import Run
from approvals.models import ToolCall, TrustGrant
from approvals.states import Status
from tests.desk import approve, asks, chat, claim, last_run, only_call, pass_by, pending, sweep, trust, work

SOON = timedelta(seconds=60)  # what the test itself may take


@pytest.fixture(params=[-3, 3], ids=["behind", "ahead"])
def wrong_clock(desk, request, monkeypatch):
    """This process's clock, by so many hours. What it says is not what the database says."""
    now, seconds, nanoseconds = timezone.now, time.time, time.time_ns
    shift = timedelta(hours=request.param)
    monkeypatch.setattr(timezone, "now", lambda: now() + shift)
    monkeypatch.setattr(time, "time", lambda: seconds() + shift.total_seconds())
    monkeypatch.setattr(time, "time_ns", lambda: nanoseconds() + int(shift.total_seconds()) * 10**9)
    return shift


def left(rows, field):
    """What is left until a deadline, by the database's clock."""
    deadline, now = rows.annotate(now=Now()).values_list(field, "now").get()
    return deadline - now


@pytest.mark.usefixtures("wrong_clock")
def test_a_lease_is_as_long_as_it_is(model, alice):
    model.play("Done.")
    session = chat(alice)
    Run.objects.update(status="queued", due_at=Now())
    run = claim(last_run(session))
    assert timedelta(0) < left(Run.objects, "lease_until") <= settings.RUN_LEASE
    pass_by(Run.objects, "lease_until")
    assert runs.beat(run)
    assert timedelta(0) < left(Run.objects, "lease_until") <= settings.RUN_LEASE
    assert runs.sweep() == 0
    pass_by(Run.objects, "lease_until")
    assert runs.sweep() == 1


@pytest.mark.usefixtures("wrong_clock")
def test_a_call_waits_and_runs_in_its_windows(model, alice, rita):
    model.play(asks(), "Done.")
    session = chat(alice)
    call = pending(session)
    term = timedelta(seconds=call.term("open_for"))
    assert term - SOON < left(ToolCall.objects, "expires_at") <= term
    sweep()
    approve(pending(session), rita)
    assert timedelta(0) < left(ToolCall.objects, "executable_until") <= call.executable_for
    sweep()
    work()
    assert only_call(session).status == Status.SUCCEEDED
    assert len(mail.outbox) == 1


@pytest.mark.usefixtures("wrong_clock")
def test_a_call_expires_when_it_expires(model, alice):
    model.play(asks(), "Done.")
    session = chat(alice)
    pass_by(ToolCall.objects.filter(pk=pending(session).pk), "expires_at")
    sweep()
    work()
    assert only_call(session).status == Status.EXPIRED


@pytest.mark.usefixtures("wrong_clock")
def test_trust_lasts_as_long_as_it_lasts(model, alice, rita):
    model.play(asks(), asks(subject="Again"), "Done.", asks(subject="Later"), "Done.")
    session = chat(alice)
    trust(pending(session), rita, trust_for=timedelta(minutes=10))
    minutes = timedelta(minutes=10)
    assert minutes - SOON < left(TrustGrant.objects, "expires_at") <= minutes
    work()
    assert len(mail.outbox) == 2
    pass_by(TrustGrant.objects, "expires_at")
    chat(alice, session=session)
    assert pending(session).arguments["subject"] == "Later"
    assert len(mail.outbox) == 2
