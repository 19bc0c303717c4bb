"""A worker with the rights of docs/worker-role.sql does its work, and cannot widen them."""

import re
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, User
from django.core import mail
from django.db import ProgrammingError, connection, transaction
from django.db.models import F

from agents import ledger
from agents.actions import answers
from agents.actions.catalogue import register_local
from agents.models import Message, Question, Run
from agents.states import QuestionStatus, RunStatus
from approvals.actions import announcing, trail, undoing
from approvals.models import ApiToken, AuditEntry, Decision, Tool, ToolCall, ToolPolicy, TrustGrant
from approvals.notice_models import Announcement, NoticePreference, Postbox, PushSubscription
from approvals.states import Channel, Status
from tests.desk import (
    MAIL,
    approve,
    asks,
    calls,
    chat,
    deny,
    last_run,
    pass_by,
    pending,
    say,
    statuses,
    sweep,
    trust,
    work,
)
from tests.fakes.model import Use

SQL = Path(__file__).resolve().parents[2] / "docs" / "worker-role.sql"


@pytest.fixture
def worker(db):
    """`with worker():` the database takes what is asked as coming from a worker."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no roles")
    statements = re.sub("--.*", "", SQL.read_text()).replace(":role", "nod_test_worker")
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE nod_test_worker")
        cursor.execute(statements)

    @contextmanager
    def as_worker():
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE nod_test_worker")
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET ROLE")

    return as_worker


def test_it_asks_starts_and_records(worker, model, alice, rita):
    model.play([Use("send_email", MAIL), Use("get_weather", {"city": "Brno"})], "Done.")
    session = say(alice)
    with worker():
        work()
    assert sorted(statuses(session)) == [Status.PENDING, Status.SUCCEEDED]
    approve(pending(session), rita)
    with worker():
        work()
        sweep()
    assert len(mail.outbox) == 1
    assert last_run(session).status == RunStatus.DONE
    assert trail.verify()[1] is None


def test_it_asks_its_user_and_cancels_with_the_run(worker, model, alice):
    use = Use("handoff_to_user", {"message": "Which one?"})
    model.play(use, "Thank you.", use)
    session = say(alice)
    with worker():
        work()
    answers.answer(session, session.questions.get().pk, alice, "Blue")
    with worker():
        work()
    assert model.told() == ["The user answered: Blue"]
    say(alice, "Once more.", session)
    with worker():
        work()
        assert last_run(session).status == RunStatus.WAITING
        Run.objects.filter(pk=last_run(session).pk).update(status=RunStatus.STOPPED, open_ends=True)
        sweep()
    assert session.questions.filter(status=QuestionStatus.CANCELLED).count() == 1


def test_it_uses_trust_and_hears_of_denials(worker, model, alice, rita):
    model.play(Use("send_email", MAIL), "Done.", Use("send_email", MAIL), "Done.")
    session = chat(alice)
    trust(pending(session), rita)
    with worker():
        work()
    say(alice, "Once more.", session)
    with worker():
        work()
    assert len(mail.outbox) == 2
    model.play(Use("send_email", {**MAIL, "to": "b@example.com"}), "Well then.")
    other = chat(alice)
    deny(pending(other), rita)
    with worker():
        work()
    assert statuses(other) == [Status.DENIED]


def test_it_hears_of_a_denial_that_came_in_the_place_of_an_approval(worker, model, alice, rita, monkeypatch):
    """The worker has read the call with the first decision, and reads it anew."""
    model.play(asks(), "Well then.")
    session = chat(alice)
    call = approve(pending(session), rita)

    def undo_and_deny(point, key):
        if point == "starting":
            with connection.cursor() as cursor:
                cursor.execute("RESET ROLE")
                undoing.undo(call.pk, rita, call.version)
                call.refresh_from_db()
                deny(call, rita, "On second thought.")
                cursor.execute("SET ROLE nod_test_worker")

    monkeypatch.setattr(ledger, "reach", undo_and_deny)
    with worker():
        work()
    assert statuses(session) == [Status.DENIED]
    assert "On second thought." in model.told()[0]


def test_it_takes_over_and_sweeps(worker, model, alice, rita):
    model.play([Use("send_email", MAIL), Use("send_email", {**MAIL, "to": "b@example.com"})], "Done.")
    session = chat(alice)
    first, second = calls(session)
    pass_by(ToolCall.objects.filter(pk=second.pk), "expires_at")
    approve(first, rita)
    with worker():
        sweep()
        work()
    assert statuses(session) == [Status.SUCCEEDED, Status.EXPIRED]
    session = say(alice)
    Run.objects.filter(session=session).update(status=RunStatus.RUNNING, attempts=9)
    pass_by(Run.objects.filter(session=session), "lease_until")
    with worker():
        sweep()
        work()


def test_it_starts_where_the_catalogue_is_up_to_date(worker, desk):
    with worker():
        register_local()


@pytest.mark.parametrize(
    "change",
    [
        lambda: ToolPolicy.objects.update(effect="allow"),
        lambda: ToolPolicy.objects.create(name="All", tool="*", effect="allow"),
        lambda: ToolPolicy.objects.all().delete(),
        lambda: Tool.objects.update(looked_at="x"),
        lambda: TrustGrant.objects.update(max_uses=None),
        lambda: TrustGrant.objects.update(uses=F("uses") - 1),
        lambda: ToolCall.objects.update(groups="|mine|"),
        lambda: TrustGrant.objects.create(
            session="s",
            tool="t",
            provider="p",
            definition="d",
            granted_by_id=1,
            expires_at="2999-01-01T00:00Z",
        ),
        lambda: Decision.objects.update(choice="approve"),
        lambda: Decision.objects.create(
            call_id=ToolCall.objects.filter(status=Status.PENDING).get().pk,
            by_id=1,
            requested_by_id=2,
            choice="approve",
            digest="",
            version=1,
        ),
        lambda: Question.objects.update(answer="Yes"),
        lambda: Message.objects.update(superseded=True),
        lambda: ToolCall.objects.update(arguments={"to": "evil@example.com"}),
        lambda: ToolCall.objects.update(digest="0" * 64),
        lambda: ToolCall.objects.update(terms={}),
        lambda: ToolCall.objects.filter(status=Status.PENDING).delete(),
        lambda: AuditEntry.objects.update(actor="nobody"),
        lambda: User.objects.update(is_superuser=True),
        lambda: list(User.objects.all()),
        lambda: Group.objects.create(name="mine"),
        lambda: User.groups.through.objects.create(user_id=1, group_id=1),
        lambda: list(ApiToken.objects.all()),
        lambda: NoticePreference.objects.create(user_id=1),
        lambda: PushSubscription.objects.create(user_id=1, endpoint="https://example.com/x"),
        lambda: PushSubscription.objects.update(endpoint="https://example.com/x"),
    ],
)
def test_it_cannot_widen_its_rights(worker, model, alice, rita, change):
    model.play([Use("send_email", MAIL), Use("send_email", {**MAIL, "to": "b@example.com"})], "Done.")
    first, _ = calls(chat(alice))
    trust(first, rita)
    TrustGrant.objects.update(uses=1)
    refused = pytest.raises(ProgrammingError, match="permission denied|never changed")
    with worker(), refused, transaction.atomic():
        change()


def test_it_writes_to_people(worker, model, alice):
    ToolPolicy.objects.filter(tool="send_email").update(notify="email,push")
    model.play(asks(), "Done.")
    session = say(alice)
    with worker():
        work()
    pass_by(ToolCall.objects.filter(pk=pending(session).pk), "announce_at")
    with worker():
        sweep()
        sweep()
    assert sorted(letter.to[0] for letter in mail.outbox) == ["remy@example.com", "rita@example.com"]
    Announcement.objects.update(told_at=None)
    ToolCall.objects.update(status=Status.CANCELLED)
    pass_by(Postbox.objects.all(), "free_at")
    with worker():
        assert list(announcing.parcels(Channel.EMAIL)) == []


def test_it_judges_conditions_on_who_asks(worker, model, alice):
    policy = ToolPolicy.objects.filter(tool="send_email")
    policy.update(
        effect="allow", when='user.name == "alice" && "chat users" in user.groups && now.getHours() < 24'
    )
    model.play(asks(), "Sent.")
    session = say(alice)
    with worker():
        work()
    assert (statuses(session), len(mail.outbox)) == ([Status.SUCCEEDED], 1)


def test_it_notes_the_tools_that_it_has(worker, desk):
    Tool.objects.update(last_seen="2026-01-01T00:00Z")
    with worker():
        register_local()
    assert all(tool.last_seen.month > 1 for tool in Tool.objects.all())
