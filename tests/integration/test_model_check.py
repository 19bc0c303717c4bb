"""The lifecycle against a simple reference: hypothesis picks who does what, and where a worker dies.

The reference knows nothing of rows, epochs or leases. It says, of each call, what may have become of it, and whether
its effect may have happened. Each step's moves are compared with it; the effects are counted outside of the database.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from agents import driver, ledger, providers
from agents.actions import conversations, runs
from agents.errors import Busy
from agents.models import Run
from agents.states import ACTIVE, RunStatus
from approvals.actions import calls as call_actions
from approvals.actions import decisions, settlements, trail, trust, undoing
from approvals.actions.settlements import Settlement
from approvals.errors import Refusal
from approvals.models import ToolCall, ToolPolicy, TrustGrant
from approvals.states import BACK, NEXT, Choice, Outcome, Status
from tests.desk import PAST, ruling
from tests.fakes.model import ScriptedModel, Use, _events

BETWEEN = (
    "claimed",
    "pausing",
    "starting",
    "started",
    "acted",
)  # where others get in between a worker's steps
WORKER_POINTS = ("claimed", "pausing", "paused", "starting", "started", "acted", "recorded", "finishing")
RAN = {Status.STARTED, Status.SUCCEEDED, Status.FAILED, Status.UNKNOWN}
REFUSED = {Status.DENIED, Status.EXPIRED, Status.CANCELLED, Status.BLOCKED, Status.LAPSED}


DEEDS = ("decide", "undo", "expire", "lapse", "sweep", "stop", "revoke", "block", "settle", "take over")


class Crash(Exception):
    """The process is gone at this point."""


def die() -> None:
    raise Crash


class Obedient(ScriptedModel):
    """Asks for the calls that the last message of its user lists, all at once, then says that it is done."""

    async def stream(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        content = messages[-1]["content"]
        asked = [block["text"] for block in content if "text" in block]
        yield {"messageStart": {"role": "assistant"}}
        parts = [Use(name, {"key": key}, key) for name, key in json.loads(asked[-1])] if asked else ["Done."]
        for part in parts:
            for event in _events(part):
                yield event
        yield {"messageStop": {"stopReason": "tool_use" if asked else "end_turn"}}


class Lifecycle(RuleBasedStateMachine):
    """One desk: two chats of alice, the reviewers rita and remy, a worker, a sweeper, an administrator."""

    world: Any = None  # what the test has set up: people, effects, the failpoint

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.was: dict[str, str] = {}
        self.approved: set[str] = set()  # whoever approved it, or whatever trusted it, did so at some time
        self.may_lapse: set[str] = set()  # calls whose approval ran out of time, or met a policy that blocks
        self.may_expire: set[str] = set()
        self.settled: set[str] = set()  # unknown calls that somebody has settled
        self.sessions = [conversations.begin(self.world.alice, "assistant") for _ in range(2)]
        ToolPolicy.objects.filter(name="stop everything").delete()

    # --- Who does what ---------------------------------------------------------------------------------
    @rule(which=st.integers(0, 1), names=st.lists(st.sampled_from(["note", "log"]), min_size=1, max_size=3))
    def say(self, which: int, names: list[str]) -> None:
        session = self.sessions[which]
        self.number += 1
        asked = [(name, f"{session.pk.hex}-{self.number}-{index}") for index, name in enumerate(names)]
        busy = session.runs.filter(status__in=ACTIVE).exists()
        if busy:
            with pytest.raises(Busy):
                conversations.post(session, json.dumps(asked))
        else:
            conversations.post(session, json.dumps(asked))

    @rule()
    def work(self) -> None:
        """A worker takes what is due."""
        for run_id in Run.objects.filter(status=RunStatus.QUEUED).values_list("pk", flat=True):
            with contextlib.suppress(Crash):
                driver.advance(str(run_id))

    @rule(point=st.sampled_from(WORKER_POINTS))
    def work_and_die(self, point: str) -> None:
        with self.world.at(point, die):
            self.work()

    @rule(
        point=st.sampled_from(BETWEEN),
        what=st.sampled_from(DEEDS),
        which=st.integers(0, 1),
        approved=st.booleans(),
        pick=st.randoms(use_true_random=False),
    )
    def work_meanwhile(self, point: str, what: str, which: int, approved: bool, pick: Any) -> None:
        """Somebody does something while a worker is between two of its steps, often with an approved call."""
        if approved:
            for call in [call for call in self._calls() if call.status == Status.PENDING]:
                self._decide(call, Choice.APPROVE, "rita")
        with self.world.at(point, lambda: self._deed(what, which, pick)):
            self.work()

    def _deed(self, what: str, which: int, pick: Any) -> None:
        match what:
            case "decide":
                self._decide(self._pick(pick, Status.PENDING), pick.choice(list(Choice)), "rita")
            case "undo":
                self._undo(pick)
            case "expire":
                self._expire(pick)
            case "lapse":
                self._lapse(pick)
            case "sweep":
                self._sweep()
            case "stop":
                self._stop(which)
            case "revoke":
                self._revoke(which)
            case "block":
                self._block(True)
            case "settle":
                self._settle(pick, Outcome.GIVE_UP)
            case _:
                self._lease_runs_out()
        self.each_move_is_one_of_the_lifecycle_s()

    @rule()
    def lease_runs_out(self) -> None:
        self._lease_runs_out()

    def _lease_runs_out(self) -> None:
        """Whatever a dead worker had is taken over."""
        dead = Run.objects.filter(status=RunStatus.RUNNING)
        ids = list(dead.values_list("pk", flat=True))
        dead.update(lease_until=Now() - PAST)
        for run_id in ids:
            driver.advance(str(run_id))

    @rule(
        pick=st.randoms(use_true_random=False),
        choice=st.sampled_from(Choice),
        by=st.sampled_from(["rita", "remy"]),
    )
    def decide(self, pick: Any, choice: Choice, by: str) -> None:
        self._decide(self._pick(pick, Status.PENDING), choice, by)

    def _decide(self, call: ToolCall | None, choice: Choice, by: str) -> None:
        if call is None:
            return
        expired = not ToolCall.objects.filter(pk=call.pk, expires_at__gt=Now()).exists()
        try:
            decisions.decide(call.pk, getattr(self.world, by), ruling(call, choice, comment="Because."))
        except Refusal:
            assert expired
            return
        assert not expired
        if choice != Choice.DENY:
            self._is_approved(call)

    def _is_approved(self, call: ToolCall) -> None:
        self.approved.add(call.tool_use_id)
        if ToolPolicy.objects.filter(name="stop everything").exists():
            self.may_lapse.add(call.tool_use_id)

    @rule(
        pick=st.randoms(use_true_random=False),
        change=st.sampled_from([{"version": 99}, {"digest": "0" * 64}]),
    )
    def decide_on_something_else(self, pick: Any, change: dict[str, Any]) -> None:
        if call := self._pick(pick, Status.PENDING):
            with pytest.raises(Refusal):
                decisions.decide(call.pk, self.world.rita, ruling(call, **change))

    @rule(pick=st.randoms(use_true_random=False))
    def decide_one_s_own(self, pick: Any) -> None:
        if call := self._pick(pick, Status.PENDING):
            with pytest.raises(Refusal):
                decisions.decide(call.pk, self.world.alice, ruling(call))

    @rule(pick=st.randoms(use_true_random=False))
    def undo(self, pick: Any) -> None:
        self._undo(pick)

    def _undo(self, pick: Any) -> None:
        call = self._pick(pick, Status.APPROVED, Status.DENIED)
        decision = call.decision() if call else None
        if call is None or decision is None:
            return
        try:
            undoing.undo(call.pk, decision.by, call.version)
        except Refusal:
            return
        if not TrustGrant.objects.filter(TrustGrant.live(), session=call.session).exists():
            self.approved.discard(call.tool_use_id)

    @rule(
        pick=st.randoms(use_true_random=False), outcome=st.sampled_from([Outcome.RUN_AGAIN, Outcome.GIVE_UP])
    )
    def settle(self, pick: Any, outcome: Outcome) -> None:
        self._settle(pick, outcome)

    def _settle(self, pick: Any, outcome: Outcome) -> None:
        """A person looks whether it happened, and says so."""
        call = self._pick(pick, Status.UNKNOWN)
        if call is None:
            return
        if self.world.effects[call.tool_use_id]:
            outcome = Outcome.HAPPENED
        ToolCall.objects.filter(pk=call.pk).update(started_at=Now() - timedelta(hours=1))
        over = not Run.objects.filter(pk=call.run, status__in=ACTIVE).exists()
        seen = Settlement(outcome, call.version, call.digest, "I looked.")
        try:
            settlements.settle(call.pk, self.world.rita, seen)
        except Refusal:
            assert over
            assert outcome == Outcome.RUN_AGAIN
            return
        self.settled.add(call.tool_use_id)
        if outcome == Outcome.RUN_AGAIN:
            self._is_approved(call)

    @rule(pick=st.randoms(use_true_random=False))
    def expire(self, pick: Any) -> None:
        self._expire(pick)

    def _expire(self, pick: Any) -> None:
        if call := self._pick(pick, Status.PENDING):
            ToolCall.objects.filter(pk=call.pk).update(expires_at=Now() - PAST)
            self.may_expire.add(call.tool_use_id)

    @rule(pick=st.randoms(use_true_random=False))
    def lapse(self, pick: Any) -> None:
        self._lapse(pick)

    def _lapse(self, pick: Any) -> None:
        if call := self._pick(pick, Status.APPROVED):
            open_ones = ToolCall.objects.filter(pk=call.pk, executable_until__isnull=False)
            if open_ones.update(executable_until=Now() - PAST):
                self.may_lapse.add(call.tool_use_id)

    @rule()
    def sweep(self) -> None:
        self._sweep()

    def _sweep(self) -> None:
        call_actions.expire_due()
        runs.sweep_ends()

    @rule(which=st.integers(0, 1))
    def stop(self, which: int) -> None:
        self._stop(which)

    def _stop(self, which: int) -> None:
        if run := self.sessions[which].runs.filter(status__in=ACTIVE).first():
            runs.stop(run, "alice")

    @rule(which=st.integers(0, 1))
    def revoke(self, which: int) -> None:
        self._revoke(which)

    def _revoke(self, which: int) -> None:
        key = self.sessions[which].key
        for grant in TrustGrant.objects.filter(session=key):
            decided = ToolCall.objects.filter(decisions__grant=grant, decisions__undone_at=None)
            self.may_lapse |= set(decided.values_list("tool_use_id", flat=True))
            trust.revoke(grant.pk, key, self.world.alice)

    @rule(block=st.booleans())
    def change_the_policy(self, block: bool) -> None:
        self._block(block)

    def _block(self, block: bool) -> None:
        ToolPolicy.objects.filter(name="stop everything").delete()
        if block:
            ToolPolicy.objects.create(name="stop everything", tool="*", effect="block")
            self.may_lapse |= {call.tool_use_id for call in self._calls()}

    @rule(point=st.sampled_from(["deciding", "decided"]), pick=st.randoms(use_true_random=False))
    def the_web_dies_in_a_decision(self, point: str, pick: Any) -> None:
        call = self._pick(pick, Status.PENDING)
        if call is None:
            return
        with self.world.at(point, die), contextlib.suppress(Crash, Refusal):
            decisions.decide(call.pk, self.world.remy, ruling(call))
        call.refresh_from_db()
        if call.status == Status.APPROVED:
            self._is_approved(call)

    # --- What must hold --------------------------------------------------------------------------------
    @invariant()
    def each_move_is_one_of_the_lifecycle_s(self) -> None:
        for call in self._calls():
            before = self.was.get(call.tool_use_id)
            if before is not None and before != call.status:
                assert call.status in _reachable(Status(before)), (before, call.status)
                if before == Status.UNKNOWN:
                    assert call.tool_use_id in self.settled, "only people say what became of it"
                    self.settled.discard(call.tool_use_id)
            self.was[call.tool_use_id] = call.status

    @invariant()
    def no_effect_is_doubled(self) -> None:
        mine = {key: count for key, count in self.world.effects.items() if key in self.was}
        assert all(count == 1 for count in mine.values()), mine

    @invariant()
    def effects_are_as_the_ledger_says(self) -> None:
        for call in self._calls():
            happened = self.world.effects[call.tool_use_id]
            if call.status in REFUSED | {Status.PENDING, Status.APPROVED}:
                assert not happened, (call.status, call.tool)
            if call.status == Status.SUCCEEDED:
                assert happened, "it says that it was done"

    @invariant()
    def nothing_asked_runs_without_approval(self) -> None:
        for call in self._calls():
            if call.tool == "note" and self.world.effects[call.tool_use_id]:
                trusted = call.trust_id is not None
                assert trusted or call.tool_use_id in self.approved

    @invariant()
    def a_good_approval_is_used(self) -> None:
        """Nothing lapses or expires by itself: only what ran out of time, or met a policy that blocks."""
        for call in self._calls():
            if call.status == Status.LAPSED:
                assert call.tool_use_id in self.may_lapse, (call.why, call.fault)
            if call.status == Status.EXPIRED:
                assert call.tool_use_id in self.may_expire

    @invariant()
    def waiting_runs_hold_nothing(self) -> None:
        assert not Run.objects.filter(
            session__in=self.sessions, status=RunStatus.WAITING, lease_until__isnull=False
        ).exists()

    @invariant()
    def a_run_that_waits_has_something_to_wait_for(self) -> None:
        for run in Run.objects.filter(session__in=self.sessions, status=RunStatus.WAITING):
            waits = ToolCall.objects.filter(run=str(run.pk), status__in=(Status.PENDING, Status.UNKNOWN))
            assert waits.exists(), "nobody would ever wake it"

    def teardown(self) -> None:
        """Everything comes to an end, and the audit trail verifies."""
        ToolPolicy.objects.filter(name="stop everything").delete()
        for _ in range(20):
            self.lease_runs_out()
            self.work()
            for call in self._calls():
                if call.status == Status.PENDING:
                    ToolCall.objects.filter(pk=call.pk).update(expires_at=Now() - PAST)
                    self.may_expire.add(call.tool_use_id)
                elif call.status == Status.UNKNOWN:
                    done = self.world.effects[call.tool_use_id]
                    outcome = Outcome.HAPPENED if done else Outcome.GIVE_UP
                    self.settled.add(call.tool_use_id)
                    settlements.settle(
                        call.pk, self.world.rita, Settlement(outcome, call.version, call.digest, "I looked.")
                    )
                elif call.status == Status.STARTED:  # by a worker that died, in a run that was stopped
                    ToolCall.objects.filter(pk=call.pk).update(started_at=Now() - timedelta(hours=1))
            self.sweep()
        assert not Run.objects.filter(session__in=self.sessions, status__in=ACTIVE).exists()
        self.each_move_is_one_of_the_lifecycle_s()
        self.effects_are_as_the_ledger_says()
        self.a_good_approval_is_used()
        left = {call.status for call in self._calls()} & {Status.PENDING, Status.APPROVED, Status.STARTED}
        assert not left, "somebody would wait for it for ever"
        assert trail.verify()[1] is None

    def _calls(self) -> list[ToolCall]:
        keys = [session.key for session in self.sessions]
        return list(ToolCall.objects.filter(session__in=keys).order_by("pk"))

    def _pick(self, pick: Any, *statuses: Status) -> ToolCall | None:
        found = [call for call in self._calls() if call.status in statuses]
        return pick.choice(found) if found else None


def _reachable(status: Status) -> set[Status]:
    """What may come of a status in one step of the test, which may be several of the lifecycle's."""
    found: set[Status] = set()
    new = {status}
    while new:
        after = {one for each in new for one in (*NEXT.get(each, ()), *BACK.get(each, ()))}
        new = after - found
        found |= after
    return found


class World:
    """What the machine's rules need."""

    def __init__(self, alice: Any, rita: Any, remy: Any) -> None:
        self.alice, self.rita, self.remy = alice, rita, remy
        self.effects: Counter[str] = Counter()
        self._armed: tuple[str, Callable[[], None]] | None = None

    @contextlib.contextmanager
    def at(self, point: str, deed: Callable[[], None]) -> Iterator[None]:
        """When somebody comes to the point inside the block, this happens there, once."""
        self._armed = (point, deed)
        try:
            yield
        finally:
            self._armed = None

    def reach(self, point: str, key: str) -> None:
        if self._armed and self._armed[0] == point:
            deed = self._armed[1]
            self._armed = None
            deed()


@pytest.fixture
def world(monkeypatch, alice, rita, remy, add_tool):
    made = World(alice, rita, remy)
    for module in (driver, ledger, conversations, decisions):
        monkeypatch.setattr(module, "reach", made.reach)
    monkeypatch.setattr(providers, "build", lambda *args: Obedient())

    def note(key: str) -> str:
        """Note.

        Args:
            key: Which.
        """
        made.effects[key] += 1
        return "noted"

    def log(key: str) -> str:
        """Log.

        Args:
            key: Which.
        """
        made.effects[key] += 1
        return "logged"

    add_tool(note, effect="ask")
    add_tool(log)
    return made


@pytest.mark.timeout(600)
def test_the_lifecycle_is_as_the_reference_says(world):
    Lifecycle.world = world
    run_state_machine_as_test(
        Lifecycle,
        settings=settings(
            max_examples=int(os.environ.get("MODEL_CHECK", "10")),  # MODEL_CHECK=500 for a long one
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
