"""Policies are kept in memory, and nobody can change them unnoticed."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from approvals.actions.verdicts import Request, examine
from approvals.models import PolicyMark, ToolPolicy
from approvals.states import Effect
from tests.desk import MAIL


@pytest.fixture
def verdict(alice):
    """verdict(): what the policies say of a mail."""
    request = Request(session="s", tool_use_id="1", tool="send_email", arguments=MAIL, requested_by=alice.pk)
    return lambda: examine(request).verdict


def test_they_are_read_once(verdict):
    verdict()
    with CaptureQueriesContext(connection) as queries:
        verdict()
    assert len(queries) == 1


def in_sql(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.parametrize(
    "change",
    [
        lambda: ToolPolicy.objects.filter(tool="send_email").update(effect="block"),
        lambda: ToolPolicy.objects.create(name="No", tool="*", effect="block"),
        lambda: ToolPolicy.objects.bulk_create([ToolPolicy(name="No", tool="*", effect="block")]),
        lambda: in_sql("UPDATE approvals_toolpolicy SET effect = 'block'"),
    ],
    ids=["update", "create", "bulk", "SQL"],
)
def test_whoever_changes_them_is_noticed(verdict, change):
    assert verdict().effect == Effect.ASK
    change()
    assert verdict().effect == Effect.BLOCK


def test_a_policy_that_is_gone_is_noticed(verdict):
    ToolPolicy.objects.create(name="No", tool="*", effect="block")
    assert verdict().effect == Effect.BLOCK
    in_sql("DELETE FROM approvals_toolpolicy WHERE name = 'No'")
    assert verdict().effect == Effect.ASK


def test_groups_and_their_names_are_noticed(verdict):
    group = Group.objects.create(name="finance")
    ToolPolicy.objects.get(tool="send_email").groups.add(group)
    assert verdict().terms.groups == ("finance",)
    Group.objects.filter(pk=group.pk).update(name="treasury")
    assert verdict().terms.groups == ("treasury",)
    ToolPolicy.objects.get(tool="send_email").groups.clear()
    assert verdict().terms.groups == ("reviewers",)


def test_what_was_rolled_back_is_forgotten(verdict):
    """Its mark is never met again, whatever is changed next."""
    assert verdict().effect == Effect.ASK
    with transaction.atomic():
        ToolPolicy.objects.create(name="Free", tool="send_*", effect="allow", when="true")
        ToolPolicy.objects.filter(tool="send_email").update(effect="allow")
        assert verdict().effect == Effect.ALLOW
        transaction.set_rollback(True)
    assert verdict().effect == Effect.ASK
    ToolPolicy.objects.filter(tool="get_weather").update(risk="low")
    assert verdict().effect == Effect.ASK


def test_without_a_mark_they_are_read_each_time(verdict):
    PolicyMark.objects.all().delete()
    assert verdict().effect == Effect.ASK
    with CaptureQueriesContext(connection) as queries:
        verdict()
    assert len(queries) == 2
