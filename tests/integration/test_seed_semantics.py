"""The seed's handler page, line by line, through the public path: a policy file, a chat, decisions over the API."""

from __future__ import annotations

import io

import pytest
from django.core import mail
from django.core.management import call_command
from django.test import Client

from approvals.answers import choice_of
from approvals.models import ToolCall, ToolPolicy
from approvals.states import Choice, Status
from tests.desk import asks, calls, chat, only_call, statuses, work
from tests.fakes.model import Use

MAIL = asks()
DELETE = Use("delete_files", {"paths": ["old.txt"]})
READ = Use("list_files", {})
RUN, ASK = "it runs", "it asks"
NO_TRUST = "not_trustable"


@pytest.fixture
def allow(desk, tmp_path):
    """allow("*", "!delete_files"): the handler's list, imported as a file."""

    def replace(*tools):
        file = tmp_path / "policies.yaml"
        file.write_text("allowed_tools: [" + ", ".join(f'"{tool}"' for tool in tools) + "]\n")
        call_command("policies", "import", str(file), stdout=io.StringIO(), stderr=io.StringIO())

    return replace


@pytest.fixture
def decide(client: Client, rita, token):
    """decide(call, answer): what the person typed, as the terminal reads it, goes to the API."""

    def send(call: ToolCall, answer, **more):
        call.refresh_from_db()
        choice = choice_of(answer, trustable=call.trustable, word=call.term("confirm"))
        body = {"decision": choice, "version": call.version, "digest": call.digest, **more}
        if choice == Choice.DENY:
            body["comment"] = "No."
        if call.term("confirm"):
            body["confirm"] = answer
        response = client.post(
            f"/api/v1/calls/{call.pk}/decisions",
            body,
            content_type="application/json",
            headers=token(rita, "review"),
        )
        work()
        return response

    return send


# allowed_tools, the call, what becomes of it, whether the question could be trusted
LINES = [
    ([], MAIL, ASK, True),
    ([], READ, ASK, True),
    (["*"], MAIL, RUN, None),
    (["*"], DELETE, RUN, None),
    (["send_email"], MAIL, RUN, None),
    (["send_email"], DELETE, ASK, True),
    (["*", "!delete_files"], DELETE, ASK, False),
    (["*", "!delete_files"], MAIL, RUN, None),
    (["!delete_files", "*"], DELETE, ASK, False),  # its order makes no difference
    (["delete_files", "!delete_files"], DELETE, ASK, False),  # a ! wins over the same name
    (["!send_email"], MAIL, ASK, False),
    (["send_*"], MAIL, RUN, None),  # the seed knows exact names alone; here patterns are patterns
    (["*", "!send_*"], MAIL, ASK, False),  # in the seed this lets mail out without a word
]


@pytest.mark.parametrize(("tools", "use", "becomes", "trustable"), LINES)
def test_it_runs_or_asks_as_the_list_says(model, alice, allow, tools, use, becomes, trustable):
    allow(*tools)
    model.play(use, "Done.")
    call = only_call(chat(alice))
    assert (call.status == Status.PENDING) is (becomes == ASK)
    assert (call.started_at is not None) is (becomes == RUN)
    if trustable is not None:
        assert call.trustable is trustable


@pytest.mark.parametrize("answer", [True, "y", "Y", "yes", " YES ", "Yes\n"])
def test_these_approve(model, alice, allow, decide, answer):
    allow()
    model.play(MAIL, "Done.")
    session = chat(alice)
    assert decide(only_call(session), answer).status_code == 200
    assert (statuses(session), len(mail.outbox)) == ([Status.SUCCEEDED], 1)


@pytest.mark.parametrize("answer", [False, None, "", "n", "no", "yess", "y es", "ok", "true", 1, ["y"], "да"])
def test_everything_else_denies(model, alice, allow, decide, answer):
    allow()
    model.play(MAIL, "Fine.")
    session = chat(alice)
    decide(only_call(session), answer)
    assert (statuses(session), mail.outbox) == ([Status.DENIED], [])


@pytest.mark.parametrize("answer", ["t", "T", " trust ", "TRUST", "trust\n"])
def test_these_trust_and_are_remembered(model, alice, allow, decide, answer):
    allow()
    model.play(MAIL, "Done.", asks(subject="Next"), "Done.", DELETE, "Hm.")
    session = chat(alice)
    decide(only_call(session), answer)
    chat(alice, "The next one.", session)
    assert statuses(session) == [Status.SUCCEEDED, Status.SUCCEEDED]
    chat(alice, "Another tool.", session)
    assert statuses(session)[-1] == Status.PENDING


def test_trust_ends_with_the_session(model, alice, allow, decide):
    allow()
    model.play(MAIL, "Done.", MAIL)
    decide(only_call(chat(alice)), "t")
    assert statuses(chat(alice)) == [Status.PENDING]


@pytest.mark.parametrize("answer", ["t", "T", " trust "])
def test_what_is_negated_is_never_trusted(model, alice, allow, decide, client, rita, token, answer):
    """Where the question offers no trust, its word is no yes."""
    allow("*", "!send_email")
    model.play(MAIL, "Fine.", MAIL)
    session = chat(alice)
    call = only_call(session)
    body = {"decision": "trust", "version": call.version, "digest": call.digest}
    refused = client.post(
        f"/api/v1/calls/{call.pk}/decisions",
        body,
        content_type="application/json",
        headers=token(rita, "review"),
    )
    assert (refused.status_code, refused.json()["code"]) == (422, NO_TRUST)
    decide(call, answer)
    assert statuses(session) == [Status.DENIED]


def test_what_was_trusted_and_is_negated_later_asks(model, alice, allow, decide):
    allow()
    model.play(MAIL, "Done.", MAIL)
    session = chat(alice)
    decide(only_call(session), "t")
    allow("*", "!send_email")
    chat(alice, "Again.", session)
    assert statuses(session)[-1] == Status.PENDING


@pytest.mark.parametrize(
    ("answer", "becomes"), [("confirm", Status.SUCCEEDED), ("Confirm", Status.DENIED), ("y", Status.DENIED)]
)
def test_a_word_of_ones_own_takes_the_place_of_yes(model, alice, allow, decide, answer, becomes):
    """The seed's custom `evaluate`."""
    allow("*", "!send_email")
    ToolPolicy.objects.filter(tool="send_email").update(confirm="confirm")
    model.play(MAIL, "Done.")
    session = chat(alice)
    decide(only_call(session), answer)
    assert statuses(session) == [becomes]


def test_an_error_in_the_classifier_asks(model, alice, allow):
    """The seed's classifier is a condition here."""
    allow("send_email")
    ToolPolicy.objects.update(when="args.nothing == 1")
    model.play(MAIL, "Hm.")
    assert statuses(chat(alice)) == [Status.PENDING]


def test_a_classifier_allows_what_it_is_for(model, alice, allow):
    allow("send_email")
    ToolPolicy.objects.update(when='args.to.endsWith("@example.com")')
    model.play([asks(to="a@example.com"), asks(to="a@elsewhere.org")], "Done.")
    assert statuses(chat(alice)) == [Status.SUCCEEDED, Status.PENDING]


def test_several_calls_of_a_turn_are_answered_one_by_one(model, alice, allow, decide):
    """In the seed the one that was denied runs, since its sibling was trusted in the same answer."""
    allow("list_files")
    model.play([asks(subject="One"), asks(subject="Two"), READ, DELETE], "Done.")
    session = chat(alice)
    listed, one, two, deleted = calls(session)  # what nobody is asked for has run already
    assert (listed.tool, listed.status) == ("list_files", Status.SUCCEEDED)
    decide(two, "n")
    decide(one, "t")
    assert mail.outbox == []  # the turn goes on once all of it is decided
    decide(deleted, "y")
    assert [sent.subject for sent in mail.outbox] == ["One"]
    assert [call.status for call in calls(session, tool="send_email")] == [Status.SUCCEEDED, Status.DENIED]
    assert only_call(session, tool="delete_files").started_at
