"""Sessions that earlier versions have paused are resumed, or say why not; nothing runs by mistake."""

import pytest
from django.core import mail

from agents.runtimes import port
from agents.states import RunStatus
from approvals.models import Tool
from approvals.states import Fault, Outcome, Status
from tests.desk import approve, calls, last_run, settle, work
from tests.golden.store import FOLDER, load

FILES = sorted(FOLDER.glob("*.json"))
VERSIONS = sorted({path.name.partition("-")[0] for path in FILES})


def finish(session, rita):
    """Everything is approved, and what nobody knows has happened."""
    for call in calls(session, status=Status.PENDING):
        approve(call, rita)
    for call in calls(session, status=Status.UNKNOWN):
        settle(call, rita, Outcome.HAPPENED)
    work()


def sent():
    return sorted((one.to[0], one.subject) for one in mail.outbox)


EXPECTED = {
    "waiting": ["waiting@example.com"],
    "siblings": ["b@example.com"],
    "approved": ["approved@example.com"],
    "edited": ["edited@example.com"],
    "unknown": [],
}


def test_there_are_golden_sessions_of_this_schema():
    assert f"v{port.SCHEMA}" in VERSIONS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_resumes(path, rita):
    session = load(path)
    finish(session, rita)
    assert last_run(session).status == RunStatus.DONE
    assert [to for to, _ in sent()] == EXPECTED[path.stem.partition("-")[2]]
    if "edited" in path.stem:
        assert sent() == [("edited@example.com", "Edited")]
    assert list(session.messages.values_list("role", flat=True))[-1] == "assistant"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_tool_that_changed_meanwhile_does_not_run(path, rita):
    session = load(path)
    Tool.objects.filter(name="send_email").update(definition="0" * 64)
    finish(session, rita)
    assert mail.outbox == []
    for call in calls(session, tool="send_email"):
        assert call.status in (Status.LAPSED, Status.DENIED, Status.SUCCEEDED)
        assert call.fault in ("", Fault.DEFINITION) or call.status == Status.SUCCEEDED
    assert last_run(session).status == RunStatus.DONE


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_session_of_a_newer_version_is_left_alone(path, rita):
    session = load(path)
    session.state = {**session.state, "schema": port.SCHEMA + 1}
    session.save()
    finish(session, rita)
    run = last_run(session)
    assert (run.status, run.error_code) == (RunStatus.FAILED, "newer_session")
    assert "newer version of Nod" in run.error
    assert mail.outbox == []
