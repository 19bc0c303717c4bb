"""The audit trail: written with its change, chained, insert-only, and verified."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from approvals import audit, triggers
from approvals.actions import trail
from approvals.models import AuditEntry, AuditHead
from approvals.states import Status
from tests.desk import MAIL, approve, chat, kinds, only_call, pending, work
from tests.fakes.model import Use


def note(session="", kind="test.noted", **data):
    with audit.audited():
        audit.record(kind, "tester", session=session, **data)


def entries(**filters):
    return list(AuditEntry.objects.filter(**filters).order_by("seq"))


@pytest.fixture
def owner(db):
    """The database's owner, whom no trigger holds: the attacker that the chain is for."""
    triggers.expose_trail(connection)


@pytest.fixture
def noted(db):
    """Three chains of three entries each, written in turns."""
    for number in range(3):
        for session in ("", "s1", "s2"):
            note(session, number=number)
    return entries(kind="test.noted")


def first_bad():
    _, fault = trail.verify()
    return fault.seq if fault else None


# --- Written with its change -----------------------------------------------------------------------------
def test_it_is_genuine(noted):
    assert first_bad() is None
    assert {head.chain: head.position for head in AuditHead.objects.filter(chain__startswith="s")} == {
        "s1": 3,
        "s2": 3,
    }


def test_it_refuses_to_work_outside_a_transaction(transactional_db):
    with pytest.raises(transaction.TransactionManagementError):
        audit.record("test.noted", "tester")


def test_it_goes_with_its_change(noted):
    with pytest.raises(ZeroDivisionError), audit.audited():
        audit.record("test.noted", "tester", session="s1")
        raise ZeroDivisionError
    assert entries(kind="test.noted") == noted
    assert first_bad() is None


def test_a_part_that_is_rolled_back_leaves_nothing(noted):
    with audit.audited():
        audit.record("test.kept", "tester", session="s1")
        with pytest.raises(ZeroDivisionError), audit.audited():
            audit.record("test.dropped", "tester", session="s1")
            raise ZeroDivisionError
        audit.record("test.kept", "tester", session="s1")
    assert kinds(kind__in=("test.kept", "test.dropped")) == ["test.kept", "test.kept"]
    assert first_bad() is None


def test_without_the_audit_there_is_no_change(model, alice, rita, monkeypatch):
    model.play(Use("send_email", MAIL), "Done.")
    call = pending(chat(alice))

    def full(*args):
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(audit, "_append", full)
    with pytest.raises(DatabaseError):
        approve(call, rita)
    call.refresh_from_db()
    assert (call.status, call.decisions.count()) == (Status.PENDING, 0)


def test_a_whole_call_is_one_chain(model, alice, rita):
    model.play(Use("send_email", MAIL), "Done.")
    session = chat(alice)
    approve(pending(session), rita)
    work()
    call = only_call(session)
    chain = entries(session=session.key)
    assert [entry.prev for entry in chain] == ["", *(entry.hash for entry in chain[:-1])]
    shown = {entry.kind: entry.digest for entry in chain}
    assert {shown["call.pending"], shown["decision.made"], shown["call.started"]} == {call.digest}
    assert first_bad() is None


def test_parallel_writers_make_no_fork(transactional_db):
    """Eight at once in one chain, and in one of their own."""
    gate = threading.Barrier(8)

    def write(number):
        gate.wait()
        try:
            for turn in range(10):
                note("shared", by=number, turn=turn)
                note(f"own-{number}", turn=turn)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    chain = entries(session="shared")
    assert len(chain) == 80
    assert len({entry.prev for entry in chain}) == 80
    assert first_bad() is None


# --- What tampering leaves -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "change",
    [
        {"kind": "call.approved"},
        {"actor": "somebody else"},
        {"data": {"number": 7}},
        {"session": "s2"},
        {"digest": "0" * 64},
        {"at": "2020-01-01T00:00:00Z"},
        {"hash": "0" * 64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_it_finds_a_changed_entry(owner, noted, change):
    bad = next(entry for entry in noted if entry.session == "s1" and entry.data == {"number": 1})
    AuditEntry.objects.filter(pk=bad.pk).update(**change)
    assert first_bad() == bad.pk


def test_it_finds_a_deleted_entry(owner, noted):
    first, second, third = (entry for entry in noted if entry.session == "s1")
    AuditEntry.objects.filter(pk=second.pk).delete()
    assert first_bad() == third.pk


def test_it_finds_an_inserted_entry(owner, noted):
    last = noted[-1]
    AuditEntry.objects.create(
        at=last.at, kind="decision.made", actor="rita", session="s2", prev=last.hash, hash=last.hash
    )
    assert first_bad() == last.pk + 1


def test_it_finds_entries_that_changed_places(owner, noted):
    first, second = [entry for entry in noted if entry.session == "s1"][:2]
    AuditEntry.objects.filter(pk=first.pk).update(seq=10**9)
    AuditEntry.objects.filter(pk=second.pk).update(seq=first.pk)
    AuditEntry.objects.filter(pk=10**9).update(seq=second.pk)
    assert first_bad() == first.pk


def test_it_finds_a_tail_that_was_cut(owner, noted):
    """Also when the head is set back: its seal cannot be."""
    *_, before, last = (entry for entry in noted if entry.session == "s1")
    AuditEntry.objects.filter(pk=last.pk).delete()
    assert first_bad() == before.pk
    AuditHead.objects.filter(chain="s1").update(position=2, hash=before.hash)
    assert first_bad() == before.pk


def test_it_keeps_the_evidence_of_a_tail_that_was_cut(owner, noted, caplog):
    """What is written next would seal the head anew."""
    *_, before, last = (entry for entry in noted if entry.session == "s1")
    AuditEntry.objects.filter(pk=last.pk).delete()
    AuditHead.objects.filter(chain="s1").update(position=2, hash=before.hash)
    note("s1")
    broken = entries(session="s1")[-2]
    assert broken.kind == "audit.broken"
    assert first_bad() == broken.pk
    assert "tampered with" in caplog.text


def test_it_finds_a_chain_that_is_gone(owner, noted):
    assert trail.checkpoint() == 2
    AuditEntry.objects.filter(session="s1").delete()
    AuditHead.objects.filter(chain="s1").delete()
    [checkpoint] = entries(kind="audit.checkpoint")
    assert first_bad() == checkpoint.pk


def test_it_finds_a_head_that_is_gone(owner, noted):
    AuditHead.objects.filter(chain="s1").delete()
    assert first_bad() == [entry for entry in noted if entry.session == "s1"][-1].pk


def test_it_finds_a_chain_that_starts_over(owner, noted):
    AuditHead.objects.filter(chain="s1").delete()
    note("s1")
    assert first_bad() == entries(session="s1")[-1].pk


# --- Keys ------------------------------------------------------------------------------------------------
def test_keys_can_be_changed(noted, settings):
    settings.AUDIT_KEYS = [b"new" * 20, *settings.AUDIT_KEYS]
    note("s1")
    assert first_bad() is None
    settings.AUDIT_KEYS = settings.AUDIT_KEYS[:1]
    _, fault = trail.verify()
    assert fault
    assert "AUDIT_KEYS" in fault.why


# --- Checkpoints -------------------------------------------------------------------------------------------
def test_a_checkpoint_covers_what_has_moved(noted, monkeypatch):
    assert trail.checkpoint() == 2
    assert trail.checkpoint() == 2, "what was numbered before the last one may be committed after it"
    note("s2")
    monkeypatch.setattr(trail, "EVERY", timedelta())
    assert trail.checkpoint() == 1
    assert list(entries(kind="audit.checkpoint")[-1].data["heads"]) == ["s2"]
    assert first_bad() is None


def test_checkpoints_cover_what_is_committed_late(transactional_db):
    """It was numbered before two checkpoints and is committed after both."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    numbered, go_on = threading.Event(), threading.Event()

    def slowly():
        try:
            with transaction.atomic():
                audit.record("test.noted", "tester", session="late")
                numbered.set()
                assert go_on.wait(20)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(slowly)
        assert numbered.wait(20)
        for session in ("s1", "s2"):
            note(session)
            trail.checkpoint()
        go_on.set()
        written.result(20)
    trail.checkpoint()
    assert "late" in entries(kind="audit.checkpoint")[-1].data["heads"]
    assert first_bad() is None


def test_checkpoints_come_one_after_the_other(transactional_db):
    """One that read the heads earlier and wrote them down later would look like tampering, for ever."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    note("s1")

    def another():
        try:
            return trail.checkpoint()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            audit.hold("")
            late = pool.submit(another)
            with pytest.raises(TimeoutError):
                late.result(0.3)
            note("s1")
        assert late.result(20) == 1
    assert entries(kind="audit.checkpoint")[-1].data["heads"]["s1"][0] == 2
    assert first_bad() is None


def test_an_export_waits_for_who_writes_and_they_do_not_wait_for_it(transactional_db):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")

    def export():
        try:
            return list(trail.export())
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            audit.hold("")
            exporting = pool.submit(export)
            with pytest.raises(TimeoutError):
                exporting.result(0.3)
            audit.record("test.noted", "tester")
        lines = exporting.result(20)
    assert [line["kind"] for line in lines[-2:]] == ["test.noted", "audit.exported"]


def test_a_checkpoint_with_nothing_to_write_down_is_genuine(db):
    assert trail.checkpoint() == 0
    assert first_bad() is None


def test_checkpoints_come_at_intervals(noted):
    assert trail.checkpoint_if_due() == 2
    note("s1")
    assert trail.checkpoint_if_due() == 0


def test_an_idle_desk_only_reads(noted, monkeypatch):
    """Each worker looks every few seconds."""
    monkeypatch.setattr(trail, "EVERY", timedelta())
    trail.checkpoint()
    with CaptureQueriesContext(connection) as asked:
        assert trail.checkpoint_if_due() == 0
    assert all(each["sql"].startswith("SELECT") for each in asked)


def test_a_checkpoint_is_written_in_parts(db, monkeypatch):
    monkeypatch.setattr(trail, "BATCH", 2)
    for number in range(5):
        note(f"s{number}")
    assert trail.checkpoint() == 5
    assert [len(entry.data["heads"]) for entry in entries(kind="audit.checkpoint")] == [2, 2, 1]
    assert first_bad() is None


# --- Export --------------------------------------------------------------------------------------------------
@pytest.fixture
def exported(noted, capsys):
    call_command("audit", "export")
    return capsys.readouterr().out.splitlines()


def verify_file(tmp_path, lines, capsys):
    """(exit code, what was printed)"""
    file = tmp_path / "export.jsonl"
    file.write_text("\n".join(lines) + "\n")
    try:
        call_command("audit", "verify", str(file))
    except SystemExit as exit:
        return exit.code, capsys.readouterr().err
    return 0, capsys.readouterr().out


def test_it_exports_the_fields_of_the_contract(exported):
    names = ["seq", "at", "kind", "actor", "session", "call", "tool", "digest", "data", "prev", "hash"]
    assert all(list(json.loads(line)) == names for line in exported)


def test_an_export_verifies_by_itself(exported, tmp_path, capsys, db):
    assert verify_file(tmp_path, exported, capsys)[0] == 0


@pytest.mark.parametrize(
    "tamper",
    [
        lambda lines: [line.replace('"number":1', '"number":8') for line in lines],
        lambda lines: lines[:4] + lines[5:],
        lambda lines: lines[1:],
        lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
        lambda lines: lines[:-1],
        lambda lines: lines[:-3],
        lambda lines: [line for line in lines if '"session":"s1"' not in line],
        lambda lines: [*lines[:2], lines[1], *lines[2:]],
        lambda lines: [*lines[:2], "nonsense", *lines[2:]],
        lambda lines: [*lines[:2], '{"seq": "2"}', *lines[2:]],
        lambda lines: [*lines[:2], "5", *lines[2:]],
        lambda lines: [*lines[:2], lines[2].replace("{", '{"more":1,', 1), *lines[3:]],
        lambda lines: [],
    ],
    ids=[
        "changed",
        "deleted",
        "first-deleted",
        "reordered",
        "cut",
        "cut-more",
        "chain-dropped",
        "doubled",
        "garbage",
        "half",
        "number",
        "more",
        "empty",
    ],
)
def test_it_finds_tampering_in_an_export(exported, tmp_path, capsys, tamper, db):
    code, printed = verify_file(tmp_path, tamper(exported), capsys)
    assert code == 1
    assert "First bad entry: " in printed


def test_it_finds_a_cut_of_what_came_during_the_export(noted, monkeypatch, tmp_path, capsys):
    """Something is written between the first and the last statement of an export."""
    settle = trail.settle_numbers

    def just_before():
        audit._store([audit.entry("test.late", "tester", session="s1")])
        settle()

    monkeypatch.setattr(trail, "settle_numbers", just_before)
    call_command("audit", "export")
    lines = capsys.readouterr().out.splitlines()
    assert verify_file(tmp_path, lines, capsys)[0] == 0
    cut = [line for line in lines if "test.late" not in line]
    assert len(cut) == len(lines) - 1
    assert verify_file(tmp_path, cut, capsys)[0] == 1


def test_it_says_that_a_file_is_not_there(db):
    with pytest.raises(Exception, match="can't be read"):
        call_command("audit", "verify", "/nowhere/at-all")


def test_the_database_verifies(noted, capsys):
    call_command("audit", "verify")
    assert "all genuine" in capsys.readouterr().out


def test_the_command_names_the_first_bad_entry(owner, noted, capsys):
    AuditEntry.objects.filter(pk=noted[4].pk).update(actor="nobody")
    with pytest.raises(SystemExit) as exit:
        call_command("audit", "verify")
    assert exit.value.code == 1
    assert f"First bad entry: {noted[4].pk}." in capsys.readouterr().err


# --- Insert-only -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE approvals_auditentry SET actor = 'nobody'",
        "DELETE FROM approvals_auditentry",
        "DELETE FROM approvals_auditentry WHERE kind = 'test.noted'",
        """INSERT INTO approvals_auditentry SELECT * FROM approvals_auditentry WHERE kind = 'test.noted'
        ON CONFLICT (seq) DO UPDATE SET actor = 'nobody'""",
    ],
)
def test_the_database_refuses_to_change_it(noted, statement):
    with (
        pytest.raises(DatabaseError, match="never changed"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert entries(kind="test.noted") == noted


def test_sqlite_refuses_to_replace_it(noted):
    """That deletes, though no trigger for DELETE hears of it."""
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL has no REPLACE")
    with (
        pytest.raises(DatabaseError, match="never changed"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("REPLACE INTO approvals_auditentry SELECT * FROM approvals_auditentry")
    assert entries(kind="test.noted") == noted


def test_postgresql_refuses_to_empty_it(noted):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no TRUNCATE")
    with (
        pytest.raises(DatabaseError, match="never changed"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("TRUNCATE approvals_auditentry")


def test_a_migrate_sets_the_triggers_again(owner, noted):
    """SQLite drops them with each table that a migration makes anew."""
    call_command("migrate", verbosity=0)
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        AuditEntry.objects.update(actor="nobody")
