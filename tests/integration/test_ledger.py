"""The ledger: rows and audit entries that commit together, exactly as they were digested."""

import json
from contextlib import suppress

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from approvals import audit
from approvals.actions import calls as call_actions
from approvals.actions import tools
from approvals.actions.verdicts import Judged, Request, examine
from approvals.definitions import Definition
from approvals.digest import call_digest, canonical
from approvals.errors import InvalidArguments, LostClaim, NotFound, Refusal
from approvals.models import AuditEntry, AuditHead, Tool, ToolCall, ToolPolicy
from approvals.states import NEXT, Effect, Fault, Status
from tests.desk import MAIL, approve, chat, deny, kinds, no_audit, pending
from tests.fakes.model import Use


@pytest.fixture
def request_for(alice):
    def make(tool="send_email", arguments=MAIL, **changes):
        return Request(
            **{"session": "s1", "tool_use_id": "u1", "tool": tool, "arguments": arguments,
               "requested_by": alice.pk, "agent": "assistant", **changes}
        )  # fmt: skip

    return make


@pytest.fixture
def asked(request_for):
    with transaction.atomic():
        call_actions.ask([examine(request_for())])
    return ToolCall.objects.get()


def raw(call, column):
    with connection.cursor() as cursor:
        table = "approvals_toolcall"
        cursor.execute(f"SELECT {column} FROM {table} WHERE tool_use_id = %s", [call.tool_use_id])  # noqa: S608
        return cursor.fetchone()[0]


# --- What is stored ----------------------------------------------------------------------------------------
def test_it_stores_byte_for_byte_what_was_digested(asked):
    assert raw(asked, "arguments") == canonical(MAIL).decode()
    digest = call_digest(
        session="s1",
        tool="send_email",
        definition=asked.definition,
        arguments=json.loads(raw(asked, "arguments")),
    )
    assert digest == asked.digest == AuditEntry.objects.get(kind="call.pending").digest


json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@hypothesis(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments=st.dictionaries(st.text(max_size=5), json_value, max_size=4))
def test_it_stores_any_arguments_exactly_or_refuses_them(request_for, arguments):
    with transaction.atomic():
        with suppress(InvalidArguments):
            call_actions.ask([examine(request_for(arguments=arguments))])
            stored = ToolCall.objects.get()
            assert canonical(stored.arguments) == canonical(arguments)
            assert stored.digest == call_digest(
                session="s1", tool="send_email", definition=stored.definition, arguments=stored.arguments
            )
        transaction.set_rollback(True)


def test_it_freezes_the_terms(asked):
    assert asked.terms == {
        "groups": ["reviewers"],
        "quorum": 1,
        "requester_may_decide": False,
        "requester_may_trust": False,
        "confirm": "",
        "justify": False,
        "notify": "",
        "open_for": 86400.0,
        "executable_for": 900.0,
        "trust_expires_in": 28800.0,
        "trust_max_uses": None,
    }


def test_it_takes_an_id_once_a_session(asked, request_for):
    with pytest.raises(IntegrityError), transaction.atomic():
        call_actions.ask([examine(request_for())])
    with transaction.atomic():
        call_actions.ask([examine(request_for(session="s2"))])
    assert ToolCall.objects.count() == 2


def test_it_knows_only_tools_of_the_catalogue(request_for):
    with pytest.raises(NotFound):
        examine(request_for(tool="rm_rf"))


def test_it_limits_the_arguments(request_for):
    with pytest.raises(InvalidArguments):
        examine(request_for(arguments={"body": "x" * 1_000_001}))


def test_it_returns_the_verdict_when_it_is_no_longer_allow(request_for):
    with transaction.atomic():
        assert isinstance(call_actions.start_new(request_for(), 1), Judged)
    assert not ToolCall.objects.exists()


# --- Steps -------------------------------------------------------------------------------------------------
def test_it_starts_an_approved_call_once(asked, rita, request_for):
    approve(asked, rita)
    call = ToolCall.objects.get()
    with transaction.atomic():
        assert call_actions.start_approved(call, request_for(), 1).status == Status.STARTED
    stale = ToolCall.objects.get()
    stale.status = Status.APPROVED
    with transaction.atomic():
        assert call_actions.start_approved(stale, request_for(), 2).epoch == 1
    assert kinds().count("call.started") == 1


@pytest.mark.parametrize(("succeeded", "status"), [(True, Status.SUCCEEDED), (False, Status.FAILED)])
def test_it_records_what_came_of_it_once(asked, rita, request_for, succeeded, status):
    approve(asked, rita)
    with transaction.atomic():
        call = call_actions.start_approved(ToolCall.objects.get(), request_for(), 1)
    call_actions.record(call, succeeded=succeeded, result=[{"text": "NUL \0 and \ud800"}])
    call.refresh_from_db()
    assert (call.status, call.result) == (status, [{"text": "NUL \0 and \ud800"}])
    assert call.finished_at
    with pytest.raises(LostClaim):
        call_actions.record(call, succeeded=True, result=[])
    assert not call_actions.mark_unknown(call, Fault.WORKER_DIED)
    assert kinds()[-1] == f"call.{status}"


def test_it_records_nothing_for_another_epoch(asked, rita, request_for):
    approve(asked, rita)
    with transaction.atomic():
        call = call_actions.start_approved(ToolCall.objects.get(), request_for(), 2)
    call.epoch = 1
    with pytest.raises(LostClaim):
        call_actions.record(call, succeeded=True, result=[])
    assert not call_actions.mark_unknown(call, Fault.WORKER_DIED)
    assert ToolCall.objects.get().status == Status.STARTED


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.APPROVED}))
def test_it_starts_nothing_that_is_not_approved(asked, rita, request_for, status):
    approve(asked, rita)
    ToolCall.objects.update(status=status)
    with transaction.atomic():
        assert call_actions.start_approved(ToolCall.objects.get(), request_for(), 1).status == status
    assert ToolCall.objects.get().status == status
    assert ToolCall.objects.get().epoch == 0
    assert "call.started" not in kinds()


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.PENDING, Status.APPROVED}))
def test_it_cancels_only_what_has_not_started(asked, status):
    ToolCall.objects.update(status=status)
    assert call_actions.cancel(ToolCall.objects.all(), "alice") == 0
    assert ToolCall.objects.get().status == status


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.PENDING}))
def test_it_decides_only_what_is_pending(asked, rita, status):
    ToolCall.objects.update(status=status)
    with pytest.raises(Refusal) as caught:
        approve(asked, rita)
    assert caught.value.http_status == 409
    assert ToolCall.objects.get().status == status


def test_it_takes_only_steps_of_the_lifecycle(model, alice, rita):
    """Every kind that follows another in the audit trail is a step that states.py knows."""
    model.play(
        [Use("send_email", MAIL), Use("get_weather", {}), Use("delete_files", {"paths": ["tmp/old.log"]})],
        "Done.",
    )
    session = chat(alice)
    approve(ToolCall.objects.get(tool="send_email"), rita)
    deny(pending(session), rita)
    from tests.desk import work

    work()
    for call in ToolCall.objects.all():
        walked = [kind.removeprefix("call.") for kind in kinds(call=str(call.pk)) if kind.startswith("call.")]
        steps = [Status(word) for word in walked if word in Status.values]
        assert walked[0] == "requested"
        assert all(after in NEXT[before] for before, after in zip(steps, steps[1:], strict=False))
        assert steps[-1] == call.status


def test_it_starts_nothing_of_a_tool_that_was_taken_out_of_the_catalogue(asked, rita, request_for):
    approve(asked, rita)
    Tool.objects.filter(name=asked.tool).delete()
    with transaction.atomic():
        call = call_actions.start_approved(ToolCall.objects.get(), request_for(), 1)
    assert (call.status, call.fault) == (Status.LAPSED, Fault.DEFINITION)
    assert kinds()[-1] == "call.lapsed"


# --- Audit -------------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_it_refuses_an_audit_entry_outside_a_transaction(transactional_db):
    with pytest.raises(transaction.TransactionManagementError):
        audit.record("call.started", "agent")
    assert not AuditEntry.objects.filter(kind="call.started").exists()


def test_it_keeps_the_order_of_entries(asked):
    assert kinds()[-2:] == ["call.requested", "call.pending"]
    entry = AuditEntry.objects.get(kind="call.requested")
    assert entry.data["arguments"] == MAIL


def test_it_changes_nothing_that_it_cannot_write_down(asked, rita, request_for):
    approve(asked, rita)
    call = ToolCall.objects.get()

    def steps():
        yield lambda: call_actions.start_approved(ToolCall.objects.get(), request_for(), 1)
        yield lambda: call_actions.cancel(ToolCall.objects.all(), "alice")
        yield lambda: call_actions.ask([examine(request_for(tool_use_id="u2"))])
        yield lambda: call_actions.start_new(
            request_for("get_weather", {"city": "Brno"}, tool_use_id="u3"), 1
        )

    with connection.execute_wrapper(no_audit):
        for step in steps():
            with pytest.raises(OSError, match="full"), transaction.atomic():
                step()
    [after] = ToolCall.objects.all()
    assert (after.pk, after.status, after.version) == (call.pk, Status.APPROVED, call.version)


def test_a_change_whose_audit_failed_is_undone_though_somebody_catches_it(asked):
    with connection.execute_wrapper(no_audit), transaction.atomic():
        ToolCall.objects.update(why="changed")
        with suppress(OSError):
            audit.record("call.started", "agent", call=asked)
    assert not ToolCall.objects.filter(why="changed").exists()


def test_it_stores_many_entries_at_once(asked):
    before = AuditEntry.objects.latest("seq").hash
    with audit.audited():
        audit.write(
            *(audit.entry("call.started", "agent", call=asked, number=number) for number in range(250))
        )
    added = AuditEntry.objects.filter(kind="call.started").order_by("seq")
    assert [entry.data["number"] for entry in added] == list(range(250))
    assert [entry.prev for entry in added] == [before, *(entry.hash for entry in added)][:-1]
    assert AuditHead.objects.get(chain="s1").position == AuditEntry.objects.filter(session="s1").count()


# --- The catalogue -----------------------------------------------------------------------------------------
def test_it_registers_once(desk):
    before = AuditEntry.objects.count()
    tool = Tool.objects.get(name="send_email")
    same = Definition(tool.name, tool.description, tool.schema, risk=tool.risk, timeout=tool.timeout)
    tools.register(same, looked_at=True)
    assert AuditEntry.objects.count() == before


def test_it_asks_for_a_definition_that_came_from_elsewhere(desk, request_for):
    definition = Definition("pay_invoice", "Pay.", {"type": "object"}, provider="remote")
    ToolPolicy.objects.create(name="All", tool="*", effect="allow")
    tool = tools.register(definition, looked_at=False)
    request = request_for("pay_invoice", {})
    assert examine(request).verdict.effect == Effect.ASK
    tools.look_at(tool, "admin")
    assert examine(request).verdict.effect == Effect.ALLOW
    tools.register(
        Definition("pay_invoice", "Pay twice.", {"type": "object"}, provider="remote"), looked_at=False
    )
    assert examine(request).verdict.effect == Effect.ASK
    assert kinds(kind="tool.changed", tool="pay_invoice") == ["tool.changed"] * 3


def test_it_looks_at_what_is_shown_only(desk):
    """The definition changed while an administrator was reading the old one."""
    shown = tools.register(Definition("pay", "Pay.", {"type": "object"}), looked_at=False)
    tools.register(Definition("pay", "Pay all.", {"type": "object"}), looked_at=False)
    tools.look_at(shown, "admin")
    assert not Tool.objects.get(name="pay").known
    assert "looked_at" not in AuditEntry.objects.filter(tool="pay").latest("seq").data
