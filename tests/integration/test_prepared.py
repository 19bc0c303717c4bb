"""approvals/prepared.py: statements that are compiled once do what the ORM's do."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import DurationField, Exists, F, OuterRef, UUIDField
from django.db.models.functions import Now
from django.db.models.sql.compiler import SQLCompiler
from django.test.utils import CaptureQueriesContext

from approvals.ids import uuid7
from approvals.models import Decision, Tool, ToolCall, ToolPolicy
from approvals.prepared import Insert, Select, Slot, Update
from approvals.states import Choice, Status
from tests.desk import MAIL, approve, asks, chat, pending

pytestmark = pytest.mark.django_db(transaction=True)
PK = Slot("pk", UUIDField())


@pytest.fixture
def call(alice, model):
    model.play([asks()], "Done.")
    return pending(chat(alice))


def same(found, expected):
    """The same row in the same types, column by column."""
    assert found == expected
    for field in expected._meta.concrete_fields:
        ours, theirs = getattr(found, field.attname), getattr(expected, field.attname)
        assert (type(ours), ours) == (type(theirs), theirs), field.name


def test_it_reads_what_the_orm_reads(call):
    same(Select(lambda: ToolCall.objects.filter(pk=PK)).first(pk=call.pk), ToolCall.objects.get(pk=call.pk))


def test_it_takes_a_key_in_any_form(call):
    by_key = Select(lambda: ToolCall.objects.filter(pk=PK))
    assert by_key.first(pk=str(call.pk)) == by_key.first(pk=call.pk) == call


def test_it_reads_other_values_each_time(call):
    by_key = Select(lambda: ToolCall.objects.filter(pk=PK))
    assert by_key.first(pk=uuid7()) is None
    assert by_key(pk=call.pk) == [call]
    assert by_key(pk=uuid7()) == []


def test_it_compiles_once(call, monkeypatch):
    by_key = Select(lambda: ToolCall.objects.filter(pk=PK))
    by_key(pk=call.pk)
    monkeypatch.delattr(SQLCompiler, "as_sql")
    with CaptureQueriesContext(connection) as queries:
        assert by_key(pk=call.pk) == [call]
    assert len(queries) == 1


def test_it_reads_related_rows(call, rita):
    approve(call, rita)
    found = Select(lambda: Decision.objects.select_related("by", "grant").defer("by__password")).first()
    with CaptureQueriesContext(connection) as queries:
        assert (found.by, found.by.username, found.grant) == (rita, "rita", None)
    assert not queries
    assert found.by.get_deferred_fields() == {"password"}


def test_it_reads_annotations(call):
    asked = ToolCall.objects.filter(tool=OuterRef("name"))
    tools = Select(lambda: Tool.objects.annotate(asked=Exists(asked)).order_by("name"))
    assert {tool.name for tool in tools() if tool.asked is True} == {"send_email"}


def test_it_reads_columns(call):
    columns = Select(lambda: ToolCall.objects.values_list("tool", "arguments"))
    assert [tuple(row) for row in columns()] == [("send_email", call.arguments)]
    assert Select(lambda: ToolCall.objects.values_list("arguments")).first() == call.arguments
    assert call.arguments == MAIL


def test_it_changes_what_the_orm_changes(call):
    change = Update(
        lambda: ToolCall.objects.filter(pk=PK, version=Slot("version")),
        version=F("version") + 1,
        result=Slot("result"),
        why=Slot("why"),
        executable_until=Now() + Slot("window", DurationField()),
        finished_at=None,
    )
    values = {"pk": call.pk, "result": [{"text": "ä\u202e"}], "why": "%s", "window": timedelta(hours=3)}
    assert change(**values, version=call.version) == 1
    assert change(**values, version=call.version) == 0
    after = ToolCall.objects.annotate(left=F("executable_until") - Now()).get(pk=call.pk)
    assert (after.version, after.result, after.why) == (call.version + 1, [{"text": "ä\u202e"}], "%s")
    assert timedelta(hours=2, minutes=59) < after.left <= timedelta(hours=3)


def test_it_sets_null(call):
    change = Update(lambda: ToolCall.objects.filter(pk=PK), result=Slot("result"))
    assert change(pk=call.pk, result=None) == 1
    assert ToolCall.objects.filter(pk=call.pk, result=None).exists()


def test_it_adds_what_the_orm_adds(call):
    add = Insert(ToolCall, expires_at=Now() + Slot("open_for", DurationField()))
    for use in ("u7", "u8"):
        copy = ToolCall.objects.get(pk=call.pk)
        copy.pk, copy.tool_use_id = uuid7(), use
        add.row(copy, open_for=timedelta(hours=3))
        found = ToolCall.objects.annotate(open=F("expires_at") - F("requested_at")).get(pk=copy.pk)
        assert abs(found.open - timedelta(hours=3)) < timedelta(seconds=1)
        copy.requested_at, copy.expires_at = found.requested_at, found.expires_at  # the database's own
        same(found, copy)


def test_it_fails_as_the_orm_does(call, rita):
    made = Decision(
        call=call, by=call.requested_by, requested_by=call.requested_by, choice=Choice.APPROVE, version=1
    )
    with pytest.raises(IntegrityError), transaction.atomic():
        try:
            Insert(Decision).row(made)
        finally:
            assert connection.needs_rollback
    assert not Decision.objects.exists()


def test_it_locks_within_a_transaction_alone(call):
    locked = Select(lambda: ToolCall.objects.select_for_update().filter(pk=PK))
    with transaction.atomic():
        assert locked(pk=call.pk) == [call]
    with pytest.raises(transaction.TransactionManagementError):
        locked(pk=call.pk)


def test_it_adds_nothing_that_django_computes_for_each_row():
    with pytest.raises(TypeError, match="updated_at"):
        Insert(ToolPolicy).row(ToolPolicy(name="new", tool="*"))


def test_it_takes_no_value_that_it_has_no_slot_for(call):
    with pytest.raises(TypeError, match="status"):
        Update(lambda: ToolCall.objects.filter(pk=PK), why="")(pk=call.pk, status=Status.DENIED)


def test_it_needs_each_value(call):
    with pytest.raises(KeyError, match="version"):
        Update(lambda: ToolCall.objects.filter(pk=PK, version=Slot("version")), status=Status.DENIED)(
            pk=call.pk
        )
    assert ToolCall.objects.get().status == Status.PENDING
