"""NOD_ASK, NOD_EVALUATE, NOD_EVALUATE_TRUST: the operator's own functions, in threads of a worker as in real life."""

from __future__ import annotations

import json
import logging
import queue
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from celery import current_app
from django.contrib.auth.models import User

from agents import asking, tasks, wakeups
from approvals import hooks
from approvals.actions import tokens
from approvals.examples import ask_over_http
from approvals.hooks import Answer
from approvals.models import Decision, ToolCall, ToolPolicy, TrustGrant
from approvals.states import Status
from tests import operator_hooks
from tests.desk import MAIL, approve, asks, chat, kinds, pending, work


@pytest.fixture(autouse=True)
def hook(settings):
    """hook(*answers): NOD_ASK gives these, one a call."""
    settings.NOD_ASK = "tests.operator_hooks.ask"
    operator_hooks.given.clear()
    operator_hooks.late.clear()
    yield lambda *answers: operator_hooks.answers.__setitem__(slice(None), answers)
    operator_hooks.late.set()


@pytest.fixture
def session(transactional_db, model, alice, monkeypatch):
    """A chat whose agent waits for a mail to be allowed."""
    monkeypatch.setattr(wakeups, "ask", lambda call_id: None)  # the tests begin when they like
    model.play(asks(), "Done.", asks(), "Done again.")
    return chat(alice)


def give(call):
    """What the Celery task begins, to its end."""
    thread = asking.begin(str(call.pk))
    assert thread is not None
    thread.join(20)
    assert not thread.is_alive()
    call.refresh_from_db()
    return call


def told(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "nod.hook"]


# --- What the function gets, and what its answer does ----------------------------------------------------
def test_it_is_given_the_call_in_the_words_of_the_seed(session, hook):
    hook(None)
    call = give(pending(session))
    [asked] = operator_hooks.given
    assert asked.prompt.startswith(
        'Tool "send_email" requires human approval. Input: {"body": "On Thursday."'
    )
    assert (asked.tool, asked.arguments, asked.digest, asked.version) == (
        "send_email",
        MAIL,
        call.digest,
        call.version,
    )
    assert (asked.session, asked.requested_by, asked.risk) == (session.key, "alice", "medium")
    assert asked.url.endswith(f"/approvals/{call.pk}/")
    assert call.status == Status.PENDING  # nobody answered


@pytest.mark.parametrize("response", [True, "y", " YES "])
def test_an_answer_is_the_decision_of_a_person(session, hook, response):
    hook(Answer(response, "rita", "Fine."))
    call = give(pending(session))
    assert call.status == Status.APPROVED
    made = Decision.objects.get(call=call)
    assert (made.by.username, made.comment, made.digest) == ("rita", "Fine.", call.digest)
    assert "hook.answered" in kinds(call=str(call.pk))
    work()
    call.refresh_from_db()
    assert call.status == Status.SUCCEEDED


@pytest.mark.parametrize("response", ["n", "maybe", 1, ["y"], False])
def test_everything_else_denies(session, hook, response):
    hook(Answer(response, "rita"))
    call = give(pending(session))
    assert call.status == Status.DENIED
    assert Decision.objects.get(call=call).comment == f"The answer was “{response}”."


def test_trust_is_remembered_for_the_session(session, hook, alice):
    hook(Answer("t", "rita", trust_for=timedelta(hours=1), trust_uses=5))
    give(pending(session))
    assert TrustGrant.objects.get().max_uses == 5
    work()
    chat(alice, "And again.", session)
    assert [call.status for call in ToolCall.objects.all()] == [Status.SUCCEEDED] * 2
    assert len(operator_hooks.given) == 1


def test_the_word_of_a_policy_has_to_be_the_answer(transactional_db, model, alice, hook, monkeypatch):
    monkeypatch.setattr(wakeups, "ask", lambda call_id: None)
    ToolPolicy.objects.filter(tool="send_email").update(confirm="send it")
    model.play([asks(), asks(subject="Two"), asks(subject="Three")], "Done.")
    session = chat(alice)
    hook(Answer("y", "rita"), Answer("send it", "rita"), Answer("y", "rita", confirm="send it"))
    found = [give(call).status for call in ToolCall.objects.filter(session=session.key).order_by("pk")]
    assert found == [Status.DENIED, Status.APPROVED, Status.APPROVED]


def test_it_may_be_async(session, settings):
    settings.NOD_ASK = "tests.operator_hooks.ask_async"
    assert give(pending(session)).status == Status.APPROVED


# --- What counts for nothing -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer("y", ""), "does not say who decided"),
        (Answer("y", "nobody"), "no active person named 'nobody'"),
        (Answer("y", "alice"), "Only reviewers"),
        (Answer("y", "remy"), "programs do not decide"),
        ("y", "gave str, not an Answer"),
        (OSError("the chat\x1b[2J is away"), "OSError: the chat‹U+001B›[2J is away"),
    ],
)
def test_it_waits_on_where_no_person_answers(session, hook, caplog, settings, answer, why):
    settings.DEBUG = False
    tokens.create(User.objects.get(username="remy"), ["review", "agent"])
    hook(answer)
    call = give(pending(session))
    assert call.status == Status.PENDING
    assert not Decision.objects.exists()
    [line] = told(caplog)
    assert why in line
    assert all(record.exc_info is None for record in caplog.records if record.name == "nod.hook")


@pytest.mark.parametrize("response", [None, ""])
def test_no_response_is_no_answer(session, hook, response):
    hook(Answer(response, "rita"))
    assert give(pending(session)).status == Status.PENDING


def test_an_answer_that_comes_too_late_counts_for_nothing(session, settings, caplog):
    settings.NOD_ASK, settings.NOD_ASK_TIMEOUT = "tests.operator_hooks.slow", timedelta(milliseconds=50)
    call = give(pending(session))
    free = asking._places._value
    operator_hooks.late.set()
    assert call.status == Status.PENDING
    assert "no answer from NOD_ASK" in told(caplog)[0]
    assert free == asking.MOST - 1  # whoever hangs keeps a place, so that they do not become more and more


def test_the_first_decision_counts(session, hook, caplog, rita):
    def meanwhile(response):
        approve(pending(session), rita)
        return True

    hook(Answer("n", "remy"))
    operator_hooks.given.clear()
    call = pending(session)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hooks, "evaluate", lambda: meanwhile)
        give(call)
    assert call.status == Status.APPROVED
    assert "rita approved this before you." in told(caplog)[0]


def test_each_call_is_given_out_once(session, hook):
    hook(None)
    call = give(pending(session))
    give(call)
    assert len(operator_hooks.given) == 1
    assert asking.sweep() == 0


def test_the_sweeper_finds_what_no_message_told_of(session, hook, monkeypatch):
    begun = []

    def begin(call_id):
        begun.append(call_id)
        return threading.current_thread()

    monkeypatch.setattr(asking, "begin", begin)
    assert asking.sweep() == 1
    assert begun == [str(pending(session).pk)]


def test_the_task_holds_no_worker(session, hook, settings):
    settings.NOD_ASK = "tests.operator_hooks.slow"
    tasks.ask(str(pending(session).pk))  # comes back at once, or the test ends here
    [thread] = [thread for thread in threading.enumerate() if thread.name == "nod-hook"]
    operator_hooks.late.set()
    thread.join(20)
    assert pending_no_more(session)


def pending_no_more(session):
    return not ToolCall.objects.filter(session=session.key, status=Status.PENDING).exists()


def test_workers_hear_of_a_call_once_it_is_stored(transactional_db, model, alice, monkeypatch, settings):
    heard = []
    monkeypatch.setattr(wakeups, "ask", lambda call_id: heard.append(ToolCall.objects.get(pk=call_id).status))
    model.play(asks())
    chat(alice)
    assert heard == [Status.PENDING]
    settings.NOD_ASK = ""
    model.play(asks())
    chat(alice)
    assert len(heard) == 1


def test_its_message_names_a_task_that_there_is(monkeypatch):
    sent: queue.Queue[tuple[str, tuple[str]]] = queue.Queue()
    monkeypatch.setattr(current_app, "send_task", lambda name, ids, **options: sent.put((name, ids)))
    wakeups.ask("a call")
    wakeups.wake("a run")
    with wakeups.kept():
        wakeups.wake("a run that is taken here")
        wakeups.ask("another call")
    found = [sent.get(timeout=10) for _ in range(3)]
    assert [ids for _, ids in found] == [("a call",), ("a run",), ("another call",)]
    assert {name for name, _ in found} <= set(current_app.tasks)


# --- evaluate, evaluate_trust ----------------------------------------------------------------------------
def test_evaluate_decides_what_approves(session, hook, settings):
    settings.NOD_EVALUATE = "tests.operator_hooks.only_confirm"
    hook(Answer("Confirm", "rita"))
    assert give(pending(session)).status == Status.APPROVED


def test_evaluate_takes_the_place_of_yes(session, hook, settings):
    settings.NOD_EVALUATE = "tests.operator_hooks.only_confirm"
    hook(Answer("yes", "rita"))
    assert give(pending(session)).status == Status.DENIED


def test_evaluate_trust_decides_what_trusts(session, hook, settings):
    settings.NOD_EVALUATE_TRUST = "tests.operator_hooks.only_forever"
    hook(Answer("forever", "rita"))
    assert give(pending(session)).status == Status.APPROVED
    assert TrustGrant.objects.exists()


@pytest.mark.parametrize(("name", "status"), [("always", Status.DENIED), ("fails", Status.PENDING)])
@pytest.mark.filterwarnings("ignore:coroutine 'always' was never awaited")
def test_an_evaluate_that_is_wrong_approves_nothing(session, hook, settings, caplog, name, status):
    settings.NOD_EVALUATE, settings.DEBUG = f"tests.operator_hooks.{name}", False
    hook(Answer("y", "rita"))
    assert give(pending(session)).status == status
    assert all("\x1b" not in line for line in told(caplog))


# --- The example: over HTTP, to a real server ------------------------------------------------------------
class Bot(BaseHTTPRequestHandler):
    """Asks its people; here it replies at once."""

    reply: dict[str, object] | None = {}
    signs = True
    got: list[dict[str, object]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["X-Nod-Signature"] == ask_over_http.signature(body)
        asked = json.loads(body)
        self.got.append(asked)
        about = {name: asked[name] for name in ("id", "digest")}
        said = b"" if self.reply is None else json.dumps(about | self.reply).encode()
        self.send_response(204 if self.reply is None else 200)
        if self.signs:
            self.send_header("X-Nod-Signature", ask_over_http.signature(said))
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def bot(settings, monkeypatch):
    settings.NOD_ASK = "approvals.examples.ask_over_http.ask"
    Bot.got, Bot.signs = [], True
    with HTTPServer(("127.0.0.1", 0), Bot) as server:
        monkeypatch.setenv("NOD_ASK_URL", f"http://127.0.0.1:{server.server_port}/nod")
        monkeypatch.setenv("NOD_ASK_SECRET", "agreed on")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Bot
        server.shutdown()
        thread.join()


def test_a_bot_answers_over_http(session, bot):
    bot.reply = {"response": "yes", "decided_by": "remy", "comment": "Asked in the channel."}
    call = give(pending(session))
    assert call.status == Status.APPROVED
    assert Decision.objects.get(call=call).by.username == "remy"
    assert bot.got[0]["arguments"] == MAIL
    assert "requires human approval" in str(bot.got[0]["prompt"])


@pytest.mark.parametrize(
    ("reply", "signs", "line"),
    [
        (None, True, ""),
        ({"response": "y"}, True, "lacks response, decided_by, id or digest"),
        ({"response": "y", "decided_by": "rita", "digest": "0" * 64}, True, "about another call"),
        (
            {"response": "y", "decided_by": "rita", "id": "another"},
            True,
            "about another call",
        ),
        ({"response": "y", "decided_by": "rita"}, False, "has no right X-Nod-Signature"),
    ],
)
def test_a_bot_that_does_not_answer_leaves_it_waiting(session, bot, caplog, settings, reply, signs, line):
    settings.DEBUG = False
    bot.reply, bot.signs = reply, signs
    assert give(pending(session)).status == Status.PENDING
    assert line in "".join(told(caplog))
    assert bool(told(caplog)) == bool(line)


# --- The settings ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("nowhere.ask", "No module named 'nowhere'"),
        ("tests.operator_hooks.nothing", "nothing"),
        ("ask", "doesn't look like a module path"),
        ("tests.operator_hooks.number", "is no function"),
    ],
)
@pytest.mark.parametrize("name", hooks.NAMES)
def test_a_wrong_path_stops_the_start_with_one_line(settings, name, path, why):
    setattr(settings, name, path)
    with pytest.raises(hooks.BadHook) as caught:
        hooks.check()
    assert str(caught.value).startswith(f"{name}={path} is ")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_check_finds_what_is_there(settings):
    settings.NOD_EVALUATE = settings.NOD_EVALUATE_TRUST = "tests.operator_hooks.only_confirm"
    hooks.check()
    assert logging.getLogger("nod.hook")
