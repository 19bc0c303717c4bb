"""Agents elsewhere and people at the same moment: one execution starts, none after a no. NOD_RACES=1000 for more."""

from __future__ import annotations

import itertools
import os
import random
import time

import pytest

from approvals.actions import decisions, elsewhere, leases, trust, undoing
from approvals.actions.leases import Claim
from approvals.errors import LostLease, NotClaimable, Refusal
from approvals.models import AuditEntry, ToolCall, ToolPolicy, TrustGrant
from approvals.states import Choice, Effect, Status
from tests.desk import MAIL, kinds, pass_by, ruling
from tests.integration.test_revoke_race import at_once

RACES = int(os.environ.get("NOD_RACES", "2"))
SPREAD = 0.008  # seconds
dice = random.Random(7)
keys = (f"k{number}" for number in itertools.count())

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


def asked(user, **more):
    wanted = elsewhere.Wanted(session="s", tool="send_email", arguments=MAIL, key=next(keys), **more)
    return elsewhere.ask(user, wanted)


def decided(user, by, choice=Choice.APPROVE):
    call = asked(user)
    return decisions.decide(call.pk, by, ruling(call, choice))


def claim(call, user, secret=""):
    """True where the effect may happen."""
    brought = {"secret": secret} if secret else {}
    try:
        leases.claim(call.pk, user, Claim(call.digest, **brought))
    except NotClaimable:
        return False
    return True


def soon(act):
    time.sleep(dice.random() * SPREAD)
    return act()


def starts(call):
    return kinds(call=str(call.pk), kind="call.started")


def test_one_of_many_claims_starts_it(alice, rita):
    for _ in range(RACES):
        call = decided(alice, rita)
        won = at_once(*[lambda call=call: claim(call, alice)] * 4)
        assert sorted(won) == [False, False, False, True]
        assert starts(call) == ["call.started"]


def test_the_same_claim_at_once_is_one_start(alice, rita):
    for _ in range(RACES):
        call = decided(alice, rita)
        assert at_once(*[lambda call=call: claim(call, alice, "s" * 20)] * 3) == [True] * 3
        assert starts(call) == ["call.started"]


def test_the_same_key_at_once_is_one_call(alice, rita):
    for _ in range(RACES):
        key = next(keys)
        wanted = elsewhere.Wanted(session="s2", tool="get_weather", arguments={}, key=key)
        found = at_once(*[lambda wanted=wanted: elsewhere.ask(alice, wanted).pk] * 4)
        assert len(set(found)) == 1
        assert ToolCall.objects.filter(tool_use_id=key).count() == 1


def test_a_new_tool_at_once_is_one_tool(alice, bob):
    for number in range(RACES):
        wanted = [
            elsewhere.Wanted(session=f"s{number}", tool=f"tool_{number}", arguments={}, key=next(keys))
            for _ in "abc"
        ]
        at_once(
            *[
                lambda one=one, user=user: elsewhere.ask(user, one)
                for one, user in zip(wanted, (alice, bob, alice), strict=True)
            ]
        )
        assert ToolCall.objects.filter(tool=f"tool_{number}", status=Status.PENDING).count() == 3
        assert len(kinds(kind="tool.changed", tool=f"tool_{number}")) == 1


def test_undo_meets_claim(alice, rita):
    """With trust, too, whose grant both of them lock."""
    for number in range(RACES):
        call = decided(alice, rita, Choice.TRUST if number % 2 else Choice.APPROVE)

        def undo(call=call):
            try:
                undoing.undo(call.pk, rita, call.version)
            except Refusal:
                return False
            return True

        undone, started = at_once(lambda: soon(undo), lambda call=call: soon(lambda: claim(call, alice)))
        assert undone != started
        ToolCall.objects.filter(status=Status.PENDING).update(status=Status.CANCELLED)
        TrustGrant.objects.update(uses=10**6, max_uses=1)


def test_nothing_is_claimed_after_a_revoke(alice, rita):
    decided(alice, rita, Choice.TRUST)
    for _ in range(RACES):
        call = asked(alice)
        assert call.status == Status.ALLOWED
        grant = call.trust
        _, started = at_once(
            lambda grant=grant: soon(lambda: trust.revoke(grant.pk, grant.session, rita)),
            lambda call=call: soon(lambda: claim(call, alice)),
        )
        order = list(
            AuditEntry.objects.filter(session=call.session).order_by("seq").values_list("kind", "call")
        )
        revoked = max(at for at, (kind, _) in enumerate(order) if kind == "trust.revoked")
        assert ("call.started", str(call.pk)) not in order[revoked:]
        assert started == (("call.started", str(call.pk)) in order)
        decided(alice, rita, Choice.TRUST)


def test_a_claim_after_a_policy_that_blocks_starts_nothing(alice, rita):
    for _ in range(RACES):
        call = decided(alice, rita)
        blocked, started = at_once(
            lambda: soon(
                lambda: ToolPolicy.objects.create(name="No", tool="send_email", effect=Effect.BLOCK)
            ),
            lambda call=call: soon(lambda: claim(call, alice)),
        )
        assert started or ToolCall.objects.get(pk=call.pk).status == Status.LAPSED
        assert not claim(decided_before(alice, rita, blocked), alice)
        blocked.delete()


def decided_before(alice, rita, policy):
    """An approval of before the policy."""
    ToolPolicy.objects.filter(pk=policy.pk).update(enabled=False)
    call = decided(alice, rita)
    ToolPolicy.objects.filter(pk=policy.pk).update(enabled=True)
    return call


def test_the_sweeper_meets_the_outcome(alice, rita):
    for _ in range(RACES):
        call, secret = decided(alice, rita), "s" * 20
        assert claim(call, alice, secret)
        pass_by(ToolCall.objects.filter(pk=call.pk), "lease_until")

        def report(call=call, secret=secret):
            try:
                leases.report(call.pk, alice, secret, succeeded=True, result="Done.")
            except LostLease:
                return False
            return True

        swept, told = at_once(lambda: soon(leases.sweep), lambda report=report: soon(report))
        assert (swept == 0) == told
        status = ToolCall.objects.get(pk=call.pk).status
        assert status == (Status.SUCCEEDED if told else Status.UNKNOWN)


def test_withdrawing_meets_the_claim(alice, rita):
    for _ in range(RACES):
        call = decided(alice, rita)
        withdrawn, started = at_once(
            lambda call=call: soon(lambda: elsewhere.withdraw(call.pk, alice).status == Status.CANCELLED),
            lambda call=call: soon(lambda: claim(call, alice)),
        )
        assert withdrawn != started
