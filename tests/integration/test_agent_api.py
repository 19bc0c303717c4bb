"""Agents that run elsewhere: they ask, claim and report over the API, and nothing runs twice or unasked."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from approvals.actions import outside_tools, tokens
from approvals.actions import trust as trust_actions
from approvals.actions.doubts import doubts
from approvals.actions.tokens import hashed
from approvals.actions.tools import look_at, register
from approvals.definitions import Definition
from approvals.models import ApiToken, AuditEntry, Decision, Tool, ToolCall, ToolPolicy, TrustGrant
from approvals.policy_files import Entry
from approvals.states import ELSEWHERE, Effect, Fault, Outcome, Status
from tests.desk import MAIL, approve, asks, chat, deny, kinds, only_call, pass_by, settle, sweep, trust
from tests.integration.test_api import NOBODY, Api, problem

INVOICE = {"number": "R-17", "amount": 120.5}
DEFINITION = {
    "description": "Pay an invoice.",
    "schema": {
        "type": "object",
        "properties": {"number": {"type": "string"}, "amount": {"type": "number"}},
        "required": ["number", "amount"],
    },
}


class Outside(Api):
    """An agent elsewhere, with a token of its person's."""

    keys = 0

    def ask(self, tool="send_email", arguments=None, **more):
        Outside.keys += 1
        body = {
            "session": "s",
            "tool": tool,
            "arguments": MAIL if arguments is None else arguments,
            "idempotency_key": f"k{Outside.keys}",
        }
        return self.post("calls", body | more)

    def asked(self, *args, **more):
        response = self.ask(*args, **more)
        assert response.status_code == 201, response.content
        return ToolCall.objects.get(pk=response.json()["id"])

    def claim(self, call, **more):
        digest = ToolCall.objects.get(pk=call.pk).digest
        return self.post(f"calls/{call.pk}/claim", {"digest": digest} | more)

    def claimed(self, call, **more):
        response = self.claim(call, **more)
        assert response.status_code == 200, response.content
        return response.json()["lease"]

    def report(self, call, lease, status="succeeded", result="Done."):
        return self.post(f"calls/{call.pk}/outcome", {"lease": lease, "status": status, "result": result})


@pytest.fixture
def outside(token):
    """outside(alice): an agent of hers."""
    return lambda user: Outside(token(user, "agent"))


@pytest.fixture
def agent(outside, alice):
    return outside(alice)


def expire():
    pass_by(ToolCall.objects, "expires_at")
    sweep()


def fresh(call):
    return ToolCall.objects.get(pk=call.pk)


# --- Asking ------------------------------------------------------------------------------------------------
def test_it_asks_claims_and_reports(agent, alice, rita):
    shown = agent.ask(agent="bookkeeper", reason="They wait for it.").json()
    assert (shown["status"], shown["requested_by"], shown["agent"]) == ("pending", "alice", "bookkeeper")
    call = ToolCall.objects.get(pk=shown["id"])
    assert (call.run, call.said, call.session) == ("", "They wait for it.", f"agent/{alice.pk}/s")
    approve(call, rita)
    claimed = agent.claim(call).json()
    assert (claimed["arguments"], claimed["idempotency_key"]) == (MAIL, call.pk.hex)
    assert fresh(call).status == Status.STARTED
    done = agent.report(call, claimed["lease"], result="Sent.").json()
    assert (done["status"], done["result"]) == ("succeeded", [{"text": "Sent."}])
    assert kinds(call=str(call.pk)) == [
        "call.requested", "call.pending", "decision.made", "call.approved", "call.started", "call.succeeded",
    ]  # fmt: skip
    digests = set(AuditEntry.objects.filter(call=str(call.pk)).values_list("digest", flat=True))
    assert digests == {call.digest}


def test_what_is_allowed_is_claimed_at_once(agent):
    call = agent.asked("get_weather", {})
    assert call.status == Status.ALLOWED
    agent.report(call, agent.claimed(call), result={"sky": "blue"})
    assert fresh(call).result == [{"json": {"sky": "blue"}}]
    assert kinds(call=str(call.pk)) == ["call.requested", "call.allowed", "call.started", "call.succeeded"]


def test_what_is_blocked_never_runs(agent):
    ToolPolicy.objects.create(name="No mail", tool="send_email", effect=Effect.BLOCK)
    call = agent.asked()
    assert call.status == Status.BLOCKED
    assert problem(agent.claim(call), 409, "not_approved")["call_status"] == "blocked"


def test_what_is_allowed_lapses_where_nobody_takes_it_up(agent):
    call = agent.asked("get_weather", {})
    pass_by(ToolCall.objects.filter(pk=call.pk), "executable_until")
    problem(agent.claim(call), 409, "lapsed")
    assert fresh(call).fault == Fault.TOO_LATE
    call = agent.asked("get_weather", {})
    pass_by(ToolCall.objects.filter(pk=call.pk), "executable_until")
    sweep()
    assert fresh(call).status == Status.LAPSED


def test_a_tool_that_nobody_knows_asks(agent, admin, alice):
    ToolPolicy.objects.create(name="Everything", tool="*", effect=Effect.ALLOW)
    call = agent.asked("pay_invoice", INVOICE, definition=DEFINITION)
    tool = Tool.objects.get(name="pay_invoice")
    assert (call.status, call.risk, tool.provider, tool.owner) == ("pending", "high", ELSEWHERE, alice)
    assert call.definition == tool.definition
    look_at(tool, "admin")
    assert agent.asked("pay_invoice", INVOICE, definition=DEFINITION).status == Status.ALLOWED
    changed = DEFINITION | {"description": "Pay anything."}
    assert agent.asked("pay_invoice", INVOICE, definition=changed).status == Status.PENDING
    assert kinds(tool="pay_invoice", kind="tool.changed") == ["tool.changed"] * 3


def test_a_definition_is_known_by_its_digest(agent):
    """Not by what Python takes for equal."""
    agent.asked("odd", {}, definition={"schema": {"default": 1}})
    first = Tool.objects.get(name="odd").definition
    agent.asked("odd", {}, definition={"schema": {"default": True}})
    assert Tool.objects.get(name="odd").definition != first


def test_nod_s_own_tool_takes_its_name_back(agent):
    agent.asked("read_mail", {}, definition=DEFINITION)
    register(Definition("read_mail", "Read mail.", {}), looked_at=True)
    tool = Tool.objects.get(name="read_mail")
    assert (tool.provider, tool.owner, tool.known) == ("local", None, True)
    problem(agent.ask("read_mail", {}, definition=DEFINITION), 409, "definition_changed")


def test_a_policy_for_an_agent_elsewhere_is_not_doubted(agent):
    agent.asked(agent="bookkeeper")
    entry = Entry(name="Books", tool="send_email", effect=Effect.ASK, agent="bookkeeper", provider=ELSEWHERE)
    assert doubts(entry) == []
    [doubt] = doubts(replace(entry, agent="bookkeper"))
    assert "There is no agent" in doubt


def test_a_changed_definition_ends_what_was_approved(agent, rita):
    call = agent.asked("pay_invoice", INVOICE, definition=DEFINITION)
    approve(call, rita)
    agent.asked("pay_invoice", INVOICE, definition=DEFINITION | {"description": "Pay anything."})
    problem(agent.claim(call), 409, "lapsed")
    assert fresh(call).fault == Fault.DEFINITION


@pytest.mark.parametrize("tool", ["send_email", "pay_invoice"])
def test_nobody_changes_a_tool_that_is_not_theirs(agent, outside, bob, tool):
    agent.asked("pay_invoice", INVOICE, definition=DEFINITION)
    before = list(Tool.objects.order_by("pk").values())
    problem(outside(bob).ask(tool, INVOICE, definition={"description": "Mine."}), 409, "definition_changed")
    assert list(Tool.objects.order_by("pk").values()) == before
    assert outside(bob).ask("pay_invoice", INVOICE, definition=DEFINITION).status_code == 201


def test_models_cannot_fill_the_catalogue(agent, monkeypatch):
    monkeypatch.setattr(outside_tools, "MOST", 1)
    agent.asked("one", {})
    problem(agent.ask("two", {}), 409, "too_many_tools")


def test_the_arguments_of_nod_s_own_tools_have_to_fit(agent):
    problem(agent.ask(arguments={"to": 5}), 422, "invalid_arguments")
    assert not ToolCall.objects.exists()


def test_the_same_key_is_the_same_call(agent, rita):
    body = {"idempotency_key": "k", "reason": "Once.", "agent": "a"}
    first, second = (agent.ask(**body) for _ in range(2))
    assert first.json() == second.json()
    call = ToolCall.objects.get()
    approve(call, rita, arguments={**MAIL, "subject": "Later"})
    again = agent.ask(**body).json()
    assert (again["id"], again["status"], again["arguments"]["subject"]) == (
        str(call.pk), "approved", "Later",
    )  # fmt: skip


OTHERS: list[dict[str, Any]] = [
    {"arguments": {**MAIL, "to": "eve@example.com"}},
    {"tool": "delete_files", "arguments": {"paths": ["a"]}},
    {"agent": "another"},
    {"reason": "Another."},
    {"definition": DEFINITION},
]


def test_the_same_key_is_no_other_call(agent):
    first = agent.ask(idempotency_key="k").json()
    for other in OTHERS:
        body = problem(agent.ask(**{"idempotency_key": "k", **other}), 409, "idempotency_conflict")
        assert body["call"] == first["id"]
    assert ToolCall.objects.count() == 1


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"session": ""}, "invalid_input"),
    ({"session": "a b"}, "invalid_input"),
    ({"session": "é"}, "invalid_input"),
    ({"session": "\u202egnp"}, "invalid_input"),
    ({"session": "x" * 81}, "invalid_input"),
    ({"session": None}, "invalid_input"),
    ({"idempotency_key": ""}, "invalid_input"),
    ({"idempotency_key": "k\n"}, "invalid_input"),
    ({"idempotency_key": "k" * 201}, "invalid_input"),
    ({"agent": "<b>boss</b>"}, "invalid_input"),
    ({"agent": "\u202ebot"}, "invalid_input"),
    ({"agent": "a" * 101}, "invalid_input"),
    ({"reason": "x" * 4001}, "invalid_input"),
    ({"tool": ""}, "invalid_input"),
    ({"tool": "send_*"}, "invalid_input"),
    ({"tool": "рay"}, "invalid_input"),
    ({"tool": "a" * 101}, "invalid_input"),
    ({"tool": "\0"}, "invalid_input"),
    ({"arguments": [1]}, "invalid_input"),
    ({"arguments": {"n": 2**60}}, "invalid_arguments"),
    ({"arguments": {"x": "\ud800"}}, "invalid_arguments"),
    ({"arguments": {"x": "y" * 1_000_001}}, "invalid_arguments"),
    ({"definition": {"schema": {"type": "string"}}}, "invalid_input"),
    ({"definition": {"schema": {"type": "nonsense"}}}, "invalid_input"),
    ({"definition": {"schema": {"description": "x" * 33_000}}}, "invalid_input"),
    ({"definition": {"schema": {"default": 2**60}}}, "invalid_input"),
    ({"definition": {"description": "\0"}}, "invalid_input"),
    ({"definition": {"description": "x" * 8001}}, "invalid_input"),
]


def test_it_refuses_what_it_cannot_keep(agent):
    tools = Tool.objects.count()
    for more, code in REFUSED:
        problem(agent.ask(**{"tool": "pay_invoice", "arguments": {}, **more}), 422, code)
    assert not ToolCall.objects.exists()
    assert Tool.objects.count() <= tools + 1, "the tool of arguments that do not fit"


def test_only_so_many_wait_at_once(agent, settings):
    settings.PENDING_A_SESSION, settings.PENDING_A_TOKEN_OWNER = 1, 2
    assert [agent.asked(session=name).status for name in "aab"] == ["pending", "blocked", "pending"]
    problem(agent.ask(session="c"), 429, "too_many")


def test_what_was_denied_often_is_not_asked_again(agent, remy):
    for _ in range(3):
        deny(agent.asked(), remy)
    assert agent.asked().status == Status.BLOCKED


# --- Whose it is -------------------------------------------------------------------------------------------
def test_the_scope_agent_never_decides(outside, agent, remy, rita):
    """Not even where its owner is a reviewer of the call."""
    call = agent.asked()
    reviewer = outside(rita)
    body = {"decision": "approve", "version": 1, "digest": call.digest}
    for path in ("decisions", "undo", "settlement"):
        problem(reviewer.post(f"calls/{call.pk}/{path}", body), 403, "missing_scope")
    assert not Decision.objects.exists()
    assert fresh(call).status == Status.PENDING


def test_nobody_decides_for_their_own_agent(token, outside, rita):
    call = outside(rita).asked()
    body = {"decision": "approve", "version": 1, "digest": call.digest}
    reviewer = Api(token(rita, "agent", "review"))
    problem(reviewer.post(f"calls/{call.pk}/decisions", body), 403, "self_approval")


def test_the_calls_of_others_are_not_there(agent, outside, bob, rita, model, alice):
    call, stranger = agent.asked(), outside(bob)
    approve(call, rita)
    for response in (
        stranger.get(f"calls/{call.pk}"),
        stranger.claim(call),
        stranger.report(call, "x" * 20),
        stranger.post(f"calls/{call.pk}/cancel"),
        agent.post(f"calls/{NOBODY}/claim", {"digest": call.digest}),
    ):
        problem(response, 404, "not_found")
    assert fresh(call).status == Status.APPROVED


def test_the_calls_of_chats_are_not_for_agents_elsewhere(agent, alice, rita, model):
    """A worker runs these."""
    model.play([asks()])
    call = only_call(chat(alice))
    approve(call, rita)
    problem(agent.claim(call), 404, "not_found")
    problem(agent.post(f"calls/{call.pk}/cancel"), 404, "not_found")
    assert fresh(call).status == Status.APPROVED


def test_sessions_of_two_people_never_meet(agent, outside, bob, rita, alice):
    trust(agent.asked(session="s"), rita)
    assert agent.asked(session="s").status == Status.ALLOWED
    for session in ("s", f"agent/{alice.pk}/s", f"../{alice.pk}/s"):
        assert outside(bob).asked(session=session).status == Status.PENDING


def test_a_chat_s_session_is_out_of_reach(agent, model, alice, rita):
    model.play([asks()], "Done.")
    session = chat(alice)
    trust(only_call(session), rita)
    assert agent.asked(session=session.key).status == Status.PENDING
    shown = Api(agent.headers).get(f"sessions/{session.key}")
    problem(shown, 403, "missing_scope")


def test_a_session_may_be_named_as_it_is_shown(agent, rita):
    trust(agent.asked(session="s"), rita)
    shown = agent.ask(session="s").json()["session"]
    assert agent.asked(session=shown).status == Status.ALLOWED
    assert set(ToolCall.objects.values_list("session", flat=True)) == {shown}


def test_an_ended_token_ends_its_agent(agent, rita):
    call = agent.asked()
    approve(call, rita)
    ApiToken.objects.update(revoked_at=Now())
    problem(agent.claim(call), 401, "unauthenticated")


# --- Claiming ----------------------------------------------------------------------------------------------
def test_one_claim_wins(agent, rita):
    call = agent.asked()
    approve(call, rita)
    agent.claimed(call)
    assert problem(agent.claim(call), 409, "claimed")["call_status"] == "started"
    assert kinds(call=str(call.pk), kind="call.started") == ["call.started"]


def test_a_claim_whose_answer_was_lost_can_be_sent_again(agent, rita):
    call, lease = agent.asked(), "a" * 30
    approve(call, rita)
    first, second = (agent.claim(call, lease=lease) for _ in range(2))
    assert first.json() == second.json()
    assert kinds(call=str(call.pk), kind="call.started") == ["call.started"]
    problem(agent.claim(call, lease="b" * 30), 409, "claimed")
    assert agent.report(call, lease).status_code == 200
    problem(agent.claim(call, lease=lease), 409, "claimed")


@pytest.mark.parametrize(
    "more",
    [
        {"lease": "short"},
        {"lease": "a" * 101},
        {"lease": "\u202e" * 20},
        {"lease_for": 0},
        {"lease_for": 1e9},
    ],
)
def test_it_refuses_a_lease_that_is_none(agent, rita, more):
    call = agent.asked()
    approve(call, rita)
    problem(agent.claim(call, **more), 422, "invalid_input")
    assert fresh(call).status == Status.APPROVED


def test_a_claim_is_on_what_was_approved(agent, rita):
    call = agent.asked()
    approve(call, rita)
    for digest in ("", "0" * 64, "\0", "x"):
        problem(agent.post(f"calls/{call.pk}/claim", {"digest": digest}), 409, "changed")
    assert fresh(call).status == Status.APPROVED


def test_what_runs_is_what_the_reviewer_made_of_it(agent, rita):
    call, edited = agent.asked(), {**MAIL, "to": "other@example.com"}
    approve(call, rita, arguments=edited)
    problem(agent.post(f"calls/{call.pk}/claim", {"digest": call.digest}), 409, "changed")
    assert agent.claim(call).json()["arguments"] == edited


@pytest.mark.parametrize(
    ("happens", "status"),
    [
        (lambda call, remy: None, "pending"),
        (lambda call, remy: deny(call, remy), "denied"),
        (lambda call, remy: expire(), "expired"),
    ],
    ids=["pending", "denied", "expired"],
)
def test_what_is_not_approved_is_not_claimed(agent, remy, happens, status):
    call = agent.asked()
    happens(call, remy)
    assert problem(agent.claim(call), 409, "not_approved")["call_status"] == status


def test_an_approval_that_was_not_used_lapses(agent, rita):
    call = agent.asked()
    approve(call, rita)
    pass_by(ToolCall.objects, "executable_until")
    problem(agent.claim(call), 409, "lapsed")
    assert (fresh(call).status, fresh(call).fault) == (Status.LAPSED, Fault.TOO_LATE)


def test_a_policy_that_blocks_by_now_wins(agent, rita):
    asked, allowed = agent.asked(), agent.asked("get_weather", {})
    approve(asked, rita)
    ToolPolicy.objects.create(name="Nothing", tool="*", effect=Effect.BLOCK)
    for call in (asked, allowed):
        problem(agent.claim(call), 409, "lapsed")
        assert fresh(call).fault == Fault.BLOCKED


def test_what_is_asked_for_by_now_is_not_allowed_any_more(agent):
    call = agent.asked("get_weather", {})
    ToolPolicy.objects.filter(tool="get_weather").update(effect=Effect.ASK)
    problem(agent.claim(call), 409, "lapsed")
    assert fresh(call).status == Status.LAPSED


def test_a_row_that_was_forged_does_not_run(agent, rita):
    call = agent.asked()
    approve(call, rita)
    ToolCall.objects.filter(pk=call.pk).update(arguments={**MAIL, "to": "eve@example.com"})
    problem(agent.claim(call), 409, "lapsed")
    other = agent.asked()
    ToolCall.objects.filter(pk=other.pk).update(
        status=Status.APPROVED, executable_until=Now() + timedelta(hours=1)
    )
    problem(agent.claim(other), 409, "lapsed")
    ToolCall.objects.filter(pk=other.pk).update(status=Status.ALLOWED)
    problem(agent.claim(other), 409, "lapsed")


# --- Trust -------------------------------------------------------------------------------------------------
def test_trust_counts_its_uses(agent, rita):
    trust(agent.asked(), rita, trust_uses=1)
    used = agent.asked()
    assert (used.status, used.trust) == (Status.ALLOWED, TrustGrant.objects.get())
    assert agent.asked(arguments={**MAIL, "subject": "More"}).status == Status.PENDING
    agent.claimed(used)
    assert kinds(call=str(used.pk)) == ["call.requested", "call.allowed", "trust.used", "call.started"]


@pytest.mark.parametrize("ends", ["revoked", "expired"])
def test_trust_that_ends_starts_nothing(agent, rita, ends):
    first = agent.asked()
    trust(first, rita)
    call, [grant] = agent.asked(), TrustGrant.objects.all()
    assert call.status == Status.ALLOWED
    if ends == "revoked":
        trust_actions.revoke(grant.pk, grant.session, rita)
    else:
        pass_by(TrustGrant.objects, "expires_at")
    problem(agent.claim(call), 409, "lapsed")
    assert fresh(call).fault == Fault.REVOKED
    claimed = agent.claim(first)
    assert claimed.status_code == (409 if ends == "revoked" else 200), "it was approved by itself"


def test_a_decision_can_be_undone_until_it_is_claimed(agent, token, rita):
    call = agent.asked()
    approve(call, rita)
    reviewer = Api(token(rita, "review"))
    assert reviewer.post(f"calls/{call.pk}/undo", {"version": 2}).json()["status"] == "pending"
    problem(agent.claim(call), 409, "not_approved")
    approve(fresh(call), rita)
    agent.claimed(call)
    problem(reviewer.post(f"calls/{call.pk}/undo", {"version": 4}), 409, "too_late")


# --- Outcomes ----------------------------------------------------------------------------------------------
@pytest.fixture
def started(agent, rita):
    call = agent.asked()
    approve(call, rita)
    return call


RESULTS: list[tuple[Any, Any]] = [
    ("Done.", [{"text": "Done."}]),
    (None, []),
    ({"a": 1}, [{"json": {"a": 1}}]),
    ([1, 2], [{"json": {"items": [1, 2]}}]),
    (5, [{"json": {"items": 5}}]),
    ([{"text": "a"}, {"json": {}}], [{"text": "a"}, {"json": {}}]),
    ([{"text": 5}], [{"json": {"items": [{"text": 5}]}}]),
    ("\ud800\0", [{"text": "\ufffd\ufffd"}]),
]


def test_it_keeps_any_result(agent):
    for given, stored in RESULTS:
        call = agent.asked("get_weather", {})
        shown = agent.report(call, agent.claimed(call), "failed", given).json()
        assert (shown["status"], shown["result"]) == ("failed", stored)


def test_what_it_cannot_keep_loses_nothing(agent, started, monkeypatch):
    monkeypatch.setattr("approvals.digest.DEEPEST", 2)
    lease = agent.claimed(started)
    too_much: list[Any] = ["x" * 300_000, [[[]]] * 5, float("nan")]
    for given in too_much:
        problem(agent.report(started, lease, result=given), 422, "invalid_input")
    assert agent.report(started, lease, result="Done.").status_code == 200


def test_the_first_outcome_stays(agent, started):
    lease = agent.claimed(started)
    first, second = (agent.report(started, lease) for _ in range(2))
    assert first.json() == second.json()
    problem(agent.report(started, lease, "failed"), 409, "lost_lease")
    problem(agent.report(started, lease, result="Another."), 409, "lost_lease")
    assert kinds(call=str(started.pk), kind="call.succeeded") == ["call.succeeded"]


def test_it_takes_the_lease(agent, started):
    problem(agent.report(started, "x" * 30), 409, "lost_lease")
    agent.claimed(started)
    for lease in ("", "x" * 30, "\0"):
        problem(agent.report(started, lease), 409, "lost_lease")
    assert fresh(started).status == Status.STARTED


def test_half_a_character_is_no_lease(agent, started):
    """As JSON can have it, and NOD_TOKEN in the environment."""
    agent.claimed(started)
    problem(agent.report(started, "\ud800" * 30), 409, "lost_lease")
    assert tokens.find("nod_\udcff") is None


def test_only_the_hash_of_a_lease_is_kept(agent, started):
    lease = agent.claimed(started)
    agent.report(started, lease)
    assert fresh(started).lease == hashed(lease)
    rows = [list(model.objects.values()) for model in (ToolCall, AuditEntry)]
    assert lease not in json.dumps(rows, default=str)


def test_silence_leaves_the_outcome_unknown(agent, started, rita):
    lease = agent.claimed(started)
    sweep()
    assert fresh(started).status == Status.STARTED
    pass_by(ToolCall.objects, "lease_until")
    sweep()
    call = fresh(started)
    assert (call.status, call.fault) == (Status.UNKNOWN, Fault.SILENT)
    problem(agent.report(call, lease), 409, "lost_lease")
    problem(agent.claim(call), 409, "claimed")
    assert settle(call, rita, Outcome.HAPPENED).status == Status.SUCCEEDED


def test_a_lease_that_ended_is_no_leave_to_claim_again(agent, started):
    """Though no sweeper has come yet."""
    lease = agent.claimed(started)
    pass_by(ToolCall.objects, "lease_until")
    problem(agent.claim(started), 409, "claimed")
    assert agent.report(started, lease).status_code == 200


def test_what_did_not_happen_runs_again_with_another_claim(agent, started, rita, settings):
    settings.EFFECT_GRACE = -timedelta(hours=1)
    old = agent.claimed(started)
    pass_by(ToolCall.objects, "lease_until")
    sweep()
    call = settle(fresh(started), rita, Outcome.RUN_AGAIN)
    assert fresh(call).executable_until is not None
    lease = agent.claimed(call)
    problem(agent.report(call, old), 409, "lost_lease")
    assert agent.report(call, lease).status_code == 200


def test_nobody_takes_up_what_is_to_run_again(agent, started, rita, settings):
    settings.EFFECT_GRACE = -timedelta(hours=1)
    agent.claimed(started)
    pass_by(ToolCall.objects, "lease_until")
    sweep()
    call = settle(fresh(started), rita, Outcome.RUN_AGAIN)
    pass_by(ToolCall.objects, "executable_until")
    sweep()
    assert fresh(call).status == Status.LAPSED


def test_what_may_be_repeated_is_claimed_again(agent):
    Tool.objects.filter(name="get_weather").update(idempotent=True)
    call = agent.asked("get_weather", {})
    old = agent.claimed(call)
    problem(agent.claim(call), 409, "claimed")
    pass_by(ToolCall.objects, "lease_until")
    sweep()
    lease = agent.claimed(call)
    problem(agent.report(call, old), 409, "lost_lease")
    assert agent.report(call, lease).status_code == 200


def test_what_may_be_repeated_does_not_stay_open_for_ever(agent):
    Tool.objects.filter(name="get_weather").update(idempotent=True)
    call = agent.asked("get_weather", {})
    agent.claimed(call)
    ToolCall.objects.update(lease_until=Now() - timedelta(minutes=6))
    sweep()
    assert fresh(call).status == Status.UNKNOWN


# --- Withdrawing -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("stands", ["pending", "approved", "allowed"])
def test_it_withdraws(agent, rita, stands):
    call = agent.asked("get_weather", {}) if stands == "allowed" else agent.asked()
    if stands == "approved":
        approve(call, rita)
    shown = agent.post(f"calls/{call.pk}/cancel")
    assert (shown.status_code, shown.json()["status"]) == (200, "cancelled")
    assert agent.post(f"calls/{call.pk}/cancel").status_code == 200
    problem(agent.claim(call), 409, "not_approved")
    assert AuditEntry.objects.get(kind="call.cancelled").actor == "alice"


def test_what_has_started_is_not_withdrawn(agent, started):
    lease = agent.claimed(started)
    problem(agent.post(f"calls/{started.pk}/cancel"), 409, "too_late")
    assert agent.report(started, lease).status_code == 200
    problem(agent.post(f"calls/{started.pk}/cancel"), 409, "too_late")
