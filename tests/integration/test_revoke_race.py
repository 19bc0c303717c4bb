"""A revoke and a claim at the same moment, many times: nothing is claimed after the revoke. NOD_RACES=1000 for more."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from django.db import connections

from agents.actions import conversations
from approvals import audit
from approvals.actions import calls as call_actions
from approvals.actions import decisions, trust
from approvals.actions.verdicts import Request, examine
from approvals.models import AuditEntry, ToolCall, TrustGrant
from approvals.states import Choice, Fault, Status
from tests.desk import MAIL, ruling

RACES = int(os.environ.get("NOD_RACES", "40"))
SPREAD = 0.012  # seconds
dice = random.Random(4)
_ids = count()


def request(session, alice):
    use = f"use_{next(_ids)}"
    return Request(session.key, use, "send_email", MAIL, alice.pk, agent="assistant")


def trusted(session, alice, rita):
    """A call that was approved with trust and has not started."""
    asked = request(session, alice)
    with audit.audited():
        call_actions.ask([examine(asked)])
    call = ToolCall.objects.get(tool_use_id=asked.tool_use_id)
    return asked, decisions.decide(call.pk, rita, ruling(call, Choice.TRUST))


def at_once(*acts):
    """Does these in threads that begin together; gives what each gave."""
    barrier = threading.Barrier(len(acts))

    def run(act):
        try:
            barrier.wait()
            return act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as pool:
        return [future.result() for future in [pool.submit(run, act) for act in acts]]


def later(grant, by):
    """Revokes at any moment of the claim: claims take longer than a revoke to come to the row."""
    time.sleep(dice.random() * SPREAD)
    return trust.revoke(grant.pk, grant.session, by)


def after_the_revoke(session):
    """Kinds of the session's entries behind the revoke; commits stand in their order."""
    kinds = list(
        AuditEntry.objects.filter(session=session.key).order_by("seq").values_list("kind", flat=True)
    )
    return kinds[kinds.index("trust.revoked") + 1 :]


@pytest.mark.timeout(900)
@pytest.mark.django_db(transaction=True)
def test_no_new_call_is_claimed_by_trust_after_its_revoke(alice, rita):
    ends: Counter[str] = Counter()
    for _ in range(RACES):
        session = conversations.begin(alice, "assistant")
        trusted(session, alice, rita)
        grant = TrustGrant.objects.get(session=session.key)
        asked = request(session, alice)

        def claim(asked=asked):
            with audit.audited():
                return call_actions.start_new(asked, epoch=1)

        claimed, revoked = at_once(claim, lambda grant=grant: later(grant, rita))
        assert revoked
        started = isinstance(claimed, ToolCall)
        ends["claimed first" if started else "revoked first"] += 1
        grant.refresh_from_db()
        assert grant.uses == int(started)
        assert not {"trust.used", "call.started", "call.allowed"} & set(after_the_revoke(session))
        if not started:
            assert claimed.verdict.asks
    assert sum(ends.values()) == RACES
    print(ends)


@pytest.mark.timeout(900)
@pytest.mark.django_db(transaction=True)
def test_the_call_on_which_it_was_given_is_not_claimed_after_the_revoke(alice, rita):
    ends: Counter[str] = Counter()
    for _ in range(RACES):
        session = conversations.begin(alice, "assistant")
        asked, call = trusted(session, alice, rita)
        grant = TrustGrant.objects.get(session=session.key)

        def claim(call=call, asked=asked):
            with audit.audited():
                return call_actions.start_approved(call, asked, epoch=1)

        claimed, revoked = at_once(claim, lambda grant=grant: later(grant, rita))
        assert revoked
        ends[claimed.status] += 1
        assert claimed.status in (Status.STARTED, Status.LAPSED)
        if claimed.status == Status.LAPSED:
            assert claimed.fault == Fault.REVOKED
        assert "call.started" not in after_the_revoke(session)
    assert sum(ends.values()) == RACES
    print(ends)
