"""An agent asks its user: it pauses, is answered once, goes on with the answer; and nobody gains a right by it."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import close_old_connections
from django.urls import reverse

from agents.actions import answers, runs
from agents.errors import NotOpen
from agents.models import Question, Run
from agents.states import QuestionStatus, RunStatus
from approvals import permissions
from approvals.errors import InvalidInput, NotFound
from approvals.models import ToolCall, ToolPolicy
from approvals.states import Status
from tests import desk
from tests.desk import approve, asks, chat, deny, kinds, last_run, pending, statuses, sweep, work
from tests.fakes.model import Use

ASK = Use("handoff_to_user", {"message": "Which <one>?", "choices": ["Red", "Blue"]})


def question(session):
    return session.questions.get()


def answer(session, text="Blue", by=None):
    return answers.answer(session, question(session).pk, by or session.user, text)


@pytest.fixture
def session(model, alice):
    model.play(["Let me ask.", ASK], "Blue it is.")
    return chat(alice)


@pytest.fixture
def as_alice(client, alice):
    client.force_login(alice)
    return client


def test_it_waits_in_the_database_and_goes_on_with_the_answer(session, model):
    assert last_run(session).status == RunStatus.WAITING
    assert work() == 0
    answer(session)
    work()
    assert last_run(session).status == RunStatus.DONE
    assert model.told() == ["The user answered: Blue"]
    assert model.results[0]["status"] == "success"
    assert [message.text for message in session.messages.all()][-1] == "Blue it is."
    assert not ToolCall.objects.exists()
    told = [kind for kind in kinds(session=session.key) if kind.startswith("question")]
    assert told == ["question.asked", "question.answered"]


def test_the_first_answer_counts(session, model):
    answer(session, "Red")
    with pytest.raises(NotOpen, match="first answer"):
        answer(session, "Blue")
    work()
    with pytest.raises(NotOpen):
        answer(session, "Blue")
    assert model.told() == ["The user answered: Red"]
    assert kinds(session=session.key).count("question.answered") == 1


@pytest.mark.parametrize("text", ["", "  \n ", "x" * 20_001])
def test_it_takes_no_empty_or_endless_answer(session, text):
    with pytest.raises(InvalidInput):
        answer(session, text)
    assert question(session).status == QuestionStatus.OPEN


def test_nobody_answers_for_its_user(session, bob, rita, admin):
    for other in (bob, rita, admin):
        with pytest.raises(NotFound):
            answer(session, by=other)
    assert last_run(session).status == RunStatus.WAITING


def test_reviewers_see_nothing_to_decide(session, rita, client):
    assert not permissions.visible_calls(rita).exists()
    client.force_login(rita)
    assert "Which" not in client.get("/approvals/").content.decode()


def test_a_stop_cancels_it(session, model):
    runs.stop(last_run(session), "alice")
    assert question(session).status == QuestionStatus.CANCELLED
    with pytest.raises(NotOpen, match="does not wait"):
        answer(session)
    model.play("Well then.")
    chat(session.user, "Never mind.", session)
    assert model.told() == ["Cancelled: the run was stopped before the user answered."]


def test_what_a_crash_left_of_a_stop_the_sweeper_does(session, monkeypatch):
    monkeypatch.setattr(runs, "tie_up", lambda *args: None)
    runs.stop(last_run(session), "alice")
    monkeypatch.undo()
    assert question(session).status == QuestionStatus.OPEN
    sweep()
    assert question(session).status == QuestionStatus.CANCELLED


def test_a_worker_that_dies_after_the_answer_loses_nothing(session, model):
    answer(session)
    run = desk.claim(last_run(session))
    desk.die(run)
    Run.objects.filter(pk=run.pk).update(status=RunStatus.QUEUED)
    work()
    assert model.told() == ["The user answered: Blue"]


@pytest.mark.parametrize("first", ["answer", "decide"])
def test_it_goes_on_when_the_last_of_a_turn_is_settled(model, alice, rita, first):
    model.play([ASK, asks(), asks(to="b@example.com")], "Done.")
    session = chat(alice)
    call, other = desk.calls(session, status=Status.PENDING)
    steps = [lambda: answer(session), lambda: (approve(call, rita), deny(other, rita))]
    for step in steps if first == "answer" else reversed(steps):
        assert last_run(session).status == RunStatus.WAITING
        assert work() == 0
        step()
    work()
    assert statuses(session) == [Status.SUCCEEDED, Status.DENIED]
    told = model.told()
    assert told[0] == "The user answered: Blue"
    assert "Email sent" in told[1] and "Denied by rita" in told[2]


def test_an_answer_approves_nothing(model, alice):
    use = Use("handoff_to_user", {"message": "Shall I send it?", "choices": ["Approve", "Deny"]})
    model.play([use, asks()], "Waiting.")
    session = chat(alice)
    answer(session, "Approve")
    work()
    assert pending(session).decisions.count() == 0
    assert last_run(session).status == RunStatus.WAITING


def test_several_questions_wait_for_all_answers_and_too_many_are_refused(model, alice):
    uses = [Use("handoff_to_user", {"message": f"{n}?"}) for n in range(6)]
    model.play(uses, "Done.")
    session = chat(alice)
    assert session.questions.count() == 5
    for each in session.questions.all():
        assert last_run(session).status == RunStatus.WAITING
        answers.answer(session, each.pk, alice, "Yes")
    work()
    assert model.told()[5].startswith("Refused: too many questions")
    assert last_run(session).status == RunStatus.DONE


@pytest.mark.parametrize("effect", ["ask", "always_ask", "allow"])
def test_no_policy_lets_somebody_else_answer(model, alice, effect):
    ToolPolicy.objects.create(name="Any", tool="handoff_to_user", effect=effect)
    model.play([ASK], "Done.")
    session = chat(alice)
    assert question(session).status == QuestionStatus.OPEN
    assert not ToolCall.objects.exists()


def test_a_policy_that_blocks_it_blocks_it(model, alice):
    ToolPolicy.objects.create(name="Silence", tool="handoff_to_user", effect="block")
    model.play([ASK], "Done.")
    session = chat(alice)
    assert not Question.objects.exists()
    assert statuses(session) == [Status.BLOCKED]
    assert last_run(session).status == RunStatus.DONE


def test_it_hands_over_and_stops(model, alice):
    model.play([Use("handoff_to_user", {"message": "Over to you.", "breakout_of_loop": True})])
    session = chat(alice)
    assert last_run(session).status == RunStatus.DONE
    assert [message.role for message in session.messages.all()] == ["user", "assistant", "user"]
    model.play("Hello again.")
    chat(alice, "Here I am.", session)
    assert model.told() == ["Handed over to the user. They go on with a message when they like."]


def test_it_hands_over_only_when_the_rest_of_the_turn_is_done(model, alice, rita):
    model.play([Use("handoff_to_user", {"message": "Over.", "breakout_of_loop": True}), asks()])
    session = chat(alice)
    assert last_run(session).status == RunStatus.WAITING
    approve(pending(session), rita)
    work()
    assert last_run(session).status == RunStatus.DONE
    assert statuses(session) == [Status.SUCCEEDED]
    assert session.questions.get().status == QuestionStatus.HANDED_OVER


@pytest.mark.parametrize(
    "given", [{}, {"message": ""}, {"message": "x", "choices": "Red"}, {"message": "x", "to": "y"}]
)
def test_it_refuses_what_is_no_question(model, alice, given):
    model.play([Use("handoff_to_user", given)], "Oh.")
    session = chat(alice)
    assert model.told()[0].startswith("Invalid arguments")
    assert last_run(session).status == RunStatus.DONE


def test_the_demo_asks_and_reads_the_report_that_was_chosen(alice):
    session = chat(alice, "Ask me which report to read")
    assert question(session).choices == ["reports/2025-q3.txt", "reports/2025-q4.txt"]
    answer(session, "reports/2025-q4.txt")
    work()
    assert any("Revenue 1.4 M" in message.text for message in session.messages.all())


# --- The page -----------------------------------------------------------------------------------------


def page(client, session):
    return client.get(reverse("agents:session", args=[session.pk])).content.decode()


def send(client, session, **data):
    return client.post(reverse("agents:answer", args=[session.pk, question(session).pk]), data)


def test_the_chat_shows_the_question_and_then_the_answer(as_alice, session):
    html = page(as_alice, session)
    assert "Which &lt;one&gt;?" in html and 'name="choice" value="Blue"' in html
    assert "The agent goes on as soon as you answer." in html
    assert send(as_alice, session, choice="Blue").status_code == 302
    html = page(as_alice, session)
    assert "You answered</span> <span data-value>Blue</span>" in html and 'name="choice"' not in html


def test_a_refused_answer_is_not_lost(as_alice, session):
    response = send(as_alice, session, answer=" ")
    assert response.status_code == 422
    assert "The answer is empty." in response.content.decode()
    send(as_alice, session, choice="Red")
    late = send(as_alice, session, answer="Blue")
    assert late.status_code == 409
    assert "You answered</span> <span data-value>Red</span>" in late.content.decode()


def test_choices_and_answers_are_text(model, as_alice, alice):
    trick = '"><script>alert(1)</script>'
    model.play([Use("handoff_to_user", {"message": trick, "choices": [trick, "a\u202eb"]})], "Done.")
    session = chat(alice)
    html = page(as_alice, session)
    assert "<script>alert" not in html and "<mark>U+202E</mark>" in html
    send(as_alice, session, choice=trick)
    assert question(session).answer == trick
    assert "<script>alert" not in page(as_alice, session)
    Question.objects.update(answer="b\u202ec")
    assert "<span data-value>b<mark>U+202E</mark>c</span>" in page(as_alice, session)


def write(client, session, text="Blue", **fields):
    return client.post(reverse("agents:post", args=[session.pk]), {"text": text, **fields})


def test_what_is_sent_while_one_question_is_open_answers_it(as_alice, session, model):
    address = reverse("agents:session", args=[session.pk])
    page = as_alice.get(address).content.decode()
    assert f'name="question" value="{question(session).pk}"' in page
    assert "Write an answer…" in page
    with_file = write(
        as_alice, session, question=question(session).pk, files=SimpleUploadedFile("a.txt", b"x")
    )
    assert with_file.status_code == 422
    assert "Files go with a message" in with_file.content.decode()
    assert write(as_alice, session, "Green, please", question=question(session).pk).status_code == 302
    work()
    assert model.told() == ["The user answered: Green, please"]
    late = write(as_alice, session, "Red", question=question(session).pk)
    assert late.status_code == 409
    assert "The first answer counts." in late.content.decode()
    assert 'name="question" value=""' in as_alice.get(address).content.decode()
    assert session.messages.filter(role="user").count() == 2  # the first message, and the result


def test_it_says_what_waits_for_an_answer(model, as_alice, session, alice):
    unseen = write(as_alice, session, "Never mind")
    assert unseen.status_code == 409
    assert "has asked you something meanwhile" in unseen.content.decode()
    assert question(session).status == QuestionStatus.OPEN
    model.play([ASK, ASK], "Done.")
    two = chat(alice)
    page = as_alice.get(reverse("agents:session", args=[two.pk])).content.decode()
    assert 'name="question" value=""' in page
    assert "The agent asks you 2 things." in write(as_alice, two).content.decode()


@pytest.mark.parametrize("given", ["x", "01a2044d-b983-70a6-b775-b5f0c4e659e1"])
def test_a_question_that_is_not_there_is_refused(as_alice, session, given):
    assert write(as_alice, session, question=given).status_code == 404
    assert question(session).status == QuestionStatus.OPEN


def test_strangers_find_no_question(client, bob, session):
    client.force_login(bob)
    assert send(client, session, choice="Blue").status_code == 404
    assert question(session).status == QuestionStatus.OPEN


# --- The API ------------------------------------------------------------------------------------------


def test_a_token_client_answers(client, session, alice, bob, token, model):
    headers, path = token(alice, "chat"), f"/api/v1/sessions/{session.pk}"
    state = client.get(path, headers=headers).json()
    assert state["status"] == "waiting"
    [asked] = state["questions"]
    assert (asked["message"], asked["choices"], asked["status"]) == ("Which <one>?", ["Red", "Blue"], "open")
    body = {"question": asked["id"], "answer": "Red"}

    def post(who):
        return client.post(f"{path}/answers", body, content_type="application/json", headers=who)

    assert post(token(bob, "chat")).status_code == 404
    assert post(token(alice, "agent")).status_code == 403
    assert post(headers).json()["status"] == "answered"
    again = post(headers)
    assert (again.status_code, again.json()["code"]) == (409, "not_open")
    work()
    assert model.told() == ["The user answered: Red"]
    close_old_connections()
