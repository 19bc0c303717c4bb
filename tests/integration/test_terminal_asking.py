"""What the terminal asks, and what becomes of the answers: in this process, with a person who types from a list."""

from __future__ import annotations

import io
import logging
import pwd
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command

from agents.actions import conversations
from agents.management.commands import chat as command
from agents.models import Agent, Run, Session
from agents.states import RunStatus
from agents.terminal import person as people
from agents.terminal.chat import WAITS, Chat, agent_named, session_of
from agents.terminal.deciding import Asking, mine
from agents.terminal.driving import ELSEWHERE, Follower
from agents.terminal.person import Person
from agents.terminal.screen import Leave, Screen
from agents.terminal.transcript import Transcript
from agents.terminal.waiting import Waiting
from approvals.actions import tokens
from approvals.models import ApiToken, AuditEntry, Decision, ToolCall, ToolPolicy
from approvals.permissions import CHAT_USERS, DEMO_PEOPLE
from approvals.policy import REVIEWERS
from approvals.states import Effect, Status
from tests.desk import (
    approve,
    asks,
    calls,
    chat,
    claim,
    deny,
    kinds,
    last_run,
    only_call,
    pass_by,
    pending,
    say,
    work,
)
from tests.fakes.model import Use


class Typist:
    """Somebody at the keyboard, who types what is on their list; a function on it is done before they go on."""

    def __init__(self) -> None:
        self.out = io.StringIO()
        self.list: list[str | Callable[[], object]] = []
        self.asked: list[str] = []
        self.screen = Screen(self.out, self._read)

    def will(self, *lines: str | Callable[[], object]) -> Typist:
        self.list += lines
        return self

    def _read(self, prompt: str) -> str:
        self.asked.append(prompt)
        self.out.write(prompt)
        while self.list:
            line = self.list.pop(0)
            if isinstance(line, str):
                self.out.write(f"{line}\n")
                return line
            line()
        raise EOFError

    @property
    def seen(self) -> str:
        return self.out.getvalue()


@pytest.fixture
def typist():
    return Typist()


@pytest.fixture
def policy(desk):
    """policy(**terms): of mail, which its own requester may decide here."""

    def change(**terms):
        found = ToolPolicy.objects.get(tool="send_email")
        for name, value in {"requester_may_decide": True, "requester_may_trust": True, **terms}.items():
            setattr(found, name, value)
        found.save()
        found.groups.set(Group.objects.filter(name__in=[CHAT_USERS, REVIEWERS]))

    return change


@pytest.fixture
def asked(model, alice, policy, typist):
    """asked(*lines, use=…, **terms): alice is asked about a call of hers, and types these lines."""

    def ask(*lines, use=None, **terms):
        policy(**terms)
        model.play(use or asks(), "Done.", loop=False)
        session = chat(alice)
        call = ToolCall.objects.select_related("requested_by").get(session=session.key)
        typist.will(*lines)
        made = Asking(typist.screen, call, Person(alice)).ask()
        call.refresh_from_db()
        return SimpleNamespace(call=call, made=made, session=session)

    return ask


def left(asked, *lines, **more):
    """The call as it is left by somebody who types these lines and goes."""
    with pytest.raises(Leave):
        asked(*lines, **more)
    return ToolCall.objects.get()


# --- Decisions ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("lines", "status"), [(["y"], Status.APPROVED), (["no", "Not now."], Status.DENIED), (["t"], "approved")]
)
def test_it_decides_what_was_shown(asked, lines, status):
    made = asked(*lines)
    assert made.made
    assert made.call.status == status
    decision = Decision.objects.get()
    assert (decision.by.username, decision.digest, decision.version) == ("alice", made.call.digest, 1)


@pytest.mark.parametrize("line", ["", " ", "yeah", "approve", "yes please", "1", "\x1b", "True"])
def test_what_is_no_clear_answer_decides_nothing(asked, line):
    assert left(asked, line).status == Status.PENDING


def test_somebody_who_goes_has_decided_nothing(asked):
    assert left(asked, "n").status == Status.PENDING  # gone at the question for the reason


def test_who_was_faster_counts(asked, typist, rita):
    made = asked(lambda: deny(ToolCall.objects.get(), rita), "y")
    assert (made.made, made.call.status) == (False, Status.DENIED)
    assert "rita denied this before you." in typist.seen


def test_a_call_that_changed_is_not_approved_unseen(asked, typist, rita):
    def edit():
        call = ToolCall.objects.get()
        approve(call, rita, arguments={**call.arguments, "to": "all@example.com"})

    made = asked(edit, "y", quorum=2)
    assert (made.made, made.call.status, made.call.approvals) == (False, Status.PENDING, 1)
    assert "The call is not what this page showed" in typist.seen


def test_a_call_that_expired_is_said_to_be(asked, typist):
    made = asked(lambda: pass_by(ToolCall.objects.all(), "expires_at"), "y")
    assert (made.made, made.call.status) == (False, Status.PENDING)
    assert "the call has expired and will not run" in typist.seen


def test_it_says_how_many_more_it_takes(asked, typist, alice):
    made = asked("y", quorum=2)
    assert made.call.approvals == 1
    assert "It takes 2 people to approve this." in typist.seen
    assert "Your approval counts. One more has to approve." in typist.seen
    assert mine(alice, made.call) == "You have approved this."
    assert "(y/n, ? for help): " in typist.asked


def test_who_may_not_decide_any_more_does_not(asked, typist, alice):
    """The terminal has been open for long: rights are those of the moment."""
    alice.groups.add(Group.objects.get(name=REVIEWERS))

    def narrow():
        ToolCall.objects.update(groups=f"|{REVIEWERS}|")
        assert mine(alice, ToolCall.objects.get()) == ""  # as the terminal found before it asked
        alice.groups.remove(Group.objects.get(name=REVIEWERS))

    made = asked(narrow, "y")
    assert (made.made, made.call.status) == (False, Status.PENDING)
    assert "Only reviewers may decide this call." in typist.seen


def test_who_may_not_sign_in_any_more_does_nothing(asked, alice):
    with pytest.raises(CommandError, match="alice may not chat here any more"):
        asked(lambda: User.objects.filter(pk=alice.pk).update(is_active=False), "y")
    assert ToolCall.objects.get().status == Status.PENDING


def test_a_token_that_was_revoked_decides_and_sends_nothing(typist, alice, agent):
    key = tokens.create(alice, ["chat", "review"])
    tokens.revoke(ApiToken.objects.get(user=alice), "admin")
    typist.will("Hello.")
    with pytest.raises(CommandError, match="any more"):
        Chat(typist.screen, Person(alice, True, key), None, agent).talk()
    assert not Session.objects.exists()


def test_a_word_has_to_be_typed(asked, typist):
    made = asked("y", "confirm", "y", "send it", confirm="send it")
    assert made.call.status == Status.APPROVED
    assert typist.asked.count("Type “send it” to approve: ") == 2
    assert "Nothing was decided." in typist.seen


def test_a_reason_is_asked_for_where_the_policy_wants_one(asked):
    made = asked("y", "", "y", "Agreed on Monday.", justify=True)
    assert made.call.decision().comment == "Agreed on Monday."


def test_what_cannot_be_trusted_is_not(asked, typist):
    call = left(asked, "t", effect=Effect.ALWAYS_ASK)
    assert call.status == Status.PENDING
    assert "cannot be trusted" in typist.seen
    assert "(y/n, ? for help): " in typist.asked


def test_trust_says_what_it_covers(asked, typist):
    asked("t", trust_max_uses=3)
    covers = (
        "do not ask again for send_email in this chat, whatever its arguments, for 8 hours, 3 calls at most"
    )
    assert covers in typist.seen


def test_ones_own_call_is_trusted_only_where_that_is_allowed(asked, typist):
    assert left(asked, "t", requester_may_trust=False).status == Status.PENDING
    assert "(y/n, ? for help): " in typist.asked


# --- What is shown -----------------------------------------------------------------------------------------
def test_arguments_cannot_pass_for_the_prompt(asked, typist):
    body = "Hi.\n(y/n/t, ? for help): y\nApproved.\x1b[8m\nto: safe@example.com"
    left(asked, use=asks(body=body))
    lines = typist.seen.splitlines()
    assert [line for line in lines if "Approved." in line] == ["│   Approved.‹U+001B›[8m"]
    assert [line for line in lines if "safe@" in line] == ["│   to: safe@example.com"]
    assert "! 1 invisible or odd character (U+001B)." in typist.seen


def test_all_of_the_arguments_are_shown(asked, typist):
    body = "\n".join(f"line {n} of it" for n in range(500))
    left(asked, use=asks(body=body))
    assert all(f"│   line {n} of it\n" in typist.seen for n in range(500))


def test_secrets_are_masked_until_somebody_asks(asked, typist):
    key = "ghp_" + "a1B2" * 10
    left(asked, "s", use=asks(body=f"The key is {key}"))
    before, _, after = typist.seen.partition("s\n")
    assert key not in before
    assert "characters, hidden" in before
    assert key in after
    assert "secret.revealed" in kinds()


def test_what_is_too_long_can_only_be_denied(asked, typist):
    call = left(asked, "y", use=asks(body="word " * 13_500))
    assert call.status == Status.PENDING
    assert "the call can only be denied" in typist.seen
    assert "(n, ? for help): " in typist.asked


# --- evaluate ----------------------------------------------------------------------------------------------
def test_evaluate_says_what_approves(asked, typist, settings):
    settings.NOD_EVALUATE = "tests.operator_hooks.only_confirm"
    made = asked("y", "yes", "confirm")
    assert made.call.status == Status.APPROVED
    assert typist.asked == ["(n, or what Nod was set up to take for a yes; ? for help): "] * 3


def test_an_evaluate_that_fails_decides_nothing(asked, typist, settings):
    settings.NOD_EVALUATE = "tests.operator_hooks.fails"
    assert left(asked, "y").status == Status.PENDING
    assert "ValueError: no ‹U+001B›[31msuch‹U+001B›[0m thing. Nothing was decided." in typist.seen


# --- Waiting -----------------------------------------------------------------------------------------------
@pytest.fixture
def waiting(model, alice, typist, settings, monkeypatch):
    """waiting(session): its run is settled with alice at the terminal; she looks again at once."""

    def settle(session, decides=True, meanwhile=lambda: None):
        clock = SimpleNamespace(sleep=lambda seconds: meanwhile())
        monkeypatch.setattr("agents.terminal.waiting.time", clock)
        Waiting(typist.screen, Person(alice, decides), session, last_run(session)).settle()

    return settle


def test_others_decide_what_is_theirs(waiting, model, alice, rita, typist):
    model.play(asks(), "Done.")
    session = chat(alice)
    waiting(session, meanwhile=lambda: deny(pending(session), rita, "Not this."))
    assert typist.asked == []
    assert "send_email waits for rita or remy. Only reviewers may decide this call." in typist.seen
    assert "send_email: Denied by rita. Not this." in typist.seen


def test_a_call_that_expires_is_told_of_without_a_worker(waiting, model, alice, typist):
    model.play(asks(), "Done.")
    session = chat(alice)
    pass_by(ToolCall.objects.all(), "expires_at")
    waiting(session)
    assert "send_email: Expired. Nobody decided in time. It did not run." in typist.seen


def test_a_token_without_review_decides_nothing(waiting, model, alice, rita, policy, typist):
    policy()
    model.play(asks(), "Done.")
    session = chat(alice)
    waiting(session, decides=False, meanwhile=lambda: approve(pending(session), rita))
    assert typist.asked == []
    assert "lacks the scope review" in typist.seen


def test_who_waits_may_leave(waiting, model, alice):
    def leave():
        raise KeyboardInterrupt

    model.play(asks(), "Done.")
    session = chat(alice)
    with pytest.raises(Leave):
        waiting(session, meanwhile=leave)
    assert pending(session).status == Status.PENDING


@pytest.mark.parametrize(("said", "answer"), [("2", "No"), ("3", "3"), ("Maybe.", "Maybe."), ("0", "0")])
def test_questions_of_the_agent_are_asked(waiting, model, alice, typist, said, answer):
    use = Use("handoff_to_user", {"message": "Really\x1b[2J?", "choices": ["Yes", "No"]})
    model.play(use, "I see.")
    session = chat(alice)
    typist.will("", said)
    waiting(session)
    assert session.questions.get().answer == answer
    assert "Really‹U+001B›[2J?" in typist.seen
    assert "  2) No" in typist.seen
    assert "The answer is empty" in typist.seen


def test_an_outcome_that_nobody_knows_is_shown(waiting, model, alice, policy, typist):
    model.play(asks(), "Done.")
    session = chat(alice)
    ToolCall.objects.update(status=Status.UNKNOWN)

    def end():
        Run.objects.update(status=RunStatus.STOPPED)

    waiting(session, meanwhile=end)
    assert "send_email: Outcome unknown." in typist.seen
    assert f"/approvals/{only_call(session).pk}/" in typist.seen


# --- Following -----------------------------------------------------------------------------------------------
def test_it_shows_what_a_worker_was_faster_to_do(transactional_db, model, alice, typist):
    model.play("It is fine.")
    session = say(alice, "How is it?")
    run = last_run(session)
    follower = Follower(run, Transcript(typist.screen, {}))
    work()
    follower.follow()
    assert run.status == RunStatus.DONE
    assert typist.seen == "  It is fine.\n"


def test_it_follows_a_run_that_a_worker_has(model, alice, typist, monkeypatch):
    run = claim(last_run(say(alice, "How is it?")))
    monkeypatch.setattr("agents.terminal.driving.Drive", None)  # nobody takes what another has
    monkeypatch.setattr("agents.terminal.driving.TRY_EVERY", float("inf"))
    monkeypatch.setattr("agents.terminal.driving.PATIENCE", -1)
    said = {"role": "assistant", "content": [{"text": "It is fine."}]}

    def ends():
        conversations.append(run.session, run, [said], after=1)
        Run.objects.update(status=RunStatus.DONE, draft="")

    steps = [lambda: Run.objects.update(draft="It is "), ends]
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: steps.pop(0)())
    monkeypatch.setattr("agents.terminal.driving.time", clock)
    Follower(run, Transcript(typist.screen, {})).follow()
    assert typist.seen == f"{ELSEWHERE}\n  It is fine.\n"
    assert steps == []


# --- The whole command, where nobody sits at it ----------------------------------------------------------
@pytest.fixture
def piped(transactional_db, desk, monkeypatch, capsys):
    """piped("lines", *args): (exit code, what it printed)."""

    def run(text, *args):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        monkeypatch.setattr(command, "_redis_answers", lambda: True)
        monkeypatch.setattr(logging.getLogger(), "handlers", [])
        with pytest.raises(SystemExit) as left:
            call_command("chat", *args)
        return left.value.code, capsys.readouterr().out

    return run


def test_a_pipe_never_decides(piped, policy, alice):
    policy()
    code, out = piped("email dev@example.com about the launch\ny\n", "--as", "alice")
    assert code == WAITS
    assert "send_email waits for a person. It was not approved." in out
    session = Session.objects.get()
    assert f"--resume {session.pk}" in out
    assert pending(session).status == Status.PENDING
    assert session.runs.count() == 1  # the y was no message either
    assert "\x1b" not in out
    code, out = piped("y\n", "--as", "alice", "--resume")
    assert (code, pending(session).status) == (WAITS, Status.PENDING)


def test_a_pipe_gets_its_answers(piped, alice):
    code, out = piped("What is the weather in Brno?\n\nWhat is the weather in Oslo?\n", "--as", "alice")
    assert code == 0
    assert out.index("°C in Brno") < out.index("°C in Oslo")
    assert Session.objects.get().runs.count() == 2
    assert [entry.data for entry in AuditEntry.objects.filter(kind="person.signed_in")] == [
        {"by": "terminal"}
    ]


def test_what_went_wrong_is_one_line(typist, alice, agent):
    """An agent elsewhere says it in its own words, which must not pass for a question of Nod's."""
    run = Run(status=RunStatus.FAILED, error='Sorry.\nTool "a" requires human approval.\n(y/n): ')
    Chat(typist.screen, Person(alice), None, agent)._tell_end(run)
    assert typist.seen == 'Sorry. Tool "a" requires human approval. (y/n):\n'


def test_a_run_that_fails_is_an_exit_code(piped, alice):
    Agent.objects.update(parameters={"delay_ms": "long"})
    code, out = piped("Hello.\n", "--as", "alice")
    assert code == 1
    assert "parameters are wrong" in out


# --- Who one is, and which chat --------------------------------------------------------------------------
def no_password(prompt):
    raise AssertionError("nobody is to be asked for a password")


def test_demo_people_need_no_password(alice):
    assert people.sign_in("alice", None, no_password) == Person(alice, True)


@pytest.fixture
def carol(desk, settings):
    """Not of the demo."""
    found = User.objects.create_user("carol", password="a good one")
    found.groups.add(Group.objects.get(name=CHAT_USERS))
    return found


def test_others_do(carol):
    assert people.sign_in("carol", None, lambda prompt: "a good one").user == carol
    tried = []

    def wrong(prompt):
        tried.append(prompt)
        return "nod"

    with pytest.raises(CommandError, match="not the password"):
        people.sign_in("carol", None, wrong)
    assert tried == ["Password of carol: "] * people.TRIES
    assert kinds().count("person.sign_in_failed") == people.TRIES


def test_too_many_wrong_passwords_lock_out(carol, settings):
    settings.AXES_FAILURE_LIMIT = 2
    with pytest.raises(CommandError):
        people.sign_in("carol", None, lambda prompt: "nod")
    with pytest.raises(CommandError, match="fifteen minutes"):
        people.sign_in("carol", None, lambda prompt: "a good one")


def test_who_has_no_password_comes_with_a_token(carol, settings):
    carol.set_unusable_password()
    carol.save()
    with pytest.raises(CommandError, match="NOD_TOKEN"):
        people.sign_in("carol", None, no_password)
    for scopes, decides in ((["chat"], False), (["chat", "review"], True)):
        settings.NOD_TOKEN = tokens.create(carol, scopes)
        assert people.sign_in("", None, no_password) == Person(carol, decides)
    with pytest.raises(CommandError, match="carol's, not alice's"):
        people.sign_in("alice", None, no_password)
    settings.NOD_TOKEN = tokens.create(carol, ["review"])
    with pytest.raises(CommandError, match="manage.py token"):
        people.sign_in("", None, no_password)


def test_it_takes_the_name_of_the_system_account(alice, monkeypatch):
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name="alice"))
    assert people.sign_in("", None, no_password).user == alice
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name="www-data"))
    assert people.sign_in("", lambda: "alice", no_password).user == alice
    with pytest.raises(CommandError, match="--as USER"):
        people.sign_in("", None, no_password)


def test_it_lets_in_only_who_may_chat(desk, settings):
    with pytest.raises(CommandError, match="rita is not in the group of chat users"):
        people.sign_in("rita", None, no_password)
    with pytest.raises(CommandError, match="no active person named 'nobody'"):
        people.sign_in("nobody", None, no_password)
    settings.DEMO = False
    assert User.objects.filter(groups__name=DEMO_PEOPLE, username="alice").exists()
    with pytest.raises(CommandError, match="no active person named 'alice'"):
        people.sign_in("alice", None, no_password)


def test_it_finds_agents_and_chats(alice, bob, agent):
    assert agent_named("") == agent
    Agent.objects.create(slug="other", name="Other")
    with pytest.raises(
        CommandError, match="Which agent\\? Choose one: --agent SLUG. Agents: assistant, other."
    ):
        agent_named("")
    with pytest.raises(CommandError, match="no agent “nope”"):
        agent_named("nope")
    with pytest.raises(CommandError, match="no chat yet"):
        session_of(Person(alice), "")
    session = conversations.begin(alice, "assistant")
    assert session_of(Person(alice), "") == session_of(Person(alice), str(session.pk)) == session
    for person, wanted in ((bob, str(session.pk)), (alice, "newest")):
        with pytest.raises(CommandError, match="no such chat"):
            session_of(Person(person), wanted)


def test_an_agent_is_no_part_of_a_chat_that_goes_on(db):
    with pytest.raises(CommandError, match="Leave it out"):
        call_command("chat", "--agent", "assistant", "--resume")


def test_a_message_that_cannot_be_sent_is_kept(model, alice, agent, typist, monkeypatch):
    kept = []
    session = say(alice)
    model.play("Hello.")
    typist.will("One more thing.")
    monkeypatch.setattr(Chat, "_resume", lambda self, session: None)
    monkeypatch.setattr(Chat, "_follow", lambda self, run: kept.append(run))
    Chat(typist.screen, Person(alice), session, agent, kept.append).talk()
    assert kept == ["One more thing.", last_run(session)]
    assert "Your message was not sent." in typist.seen
    assert len(calls(session)) == 0
