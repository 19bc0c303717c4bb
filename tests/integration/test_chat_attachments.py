"""Text files go with a message into the workspace; nothing leaves it, nothing is overwritten, no typed text is lost."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection
from django.urls import reverse

from agents.actions import attachments, conversations
from agents.actions.attachments import Attachment
from agents.models import Message, Session
from agents.tools.workspace import root
from approvals.errors import InvalidInput
from tests import desk
from tests.desk import chat, work
from tests.fakes.model import Use


@pytest.fixture
def as_alice(client, alice):
    client.force_login(alice)
    return client


@pytest.fixture
def session(model, alice):
    model.play("Hello.")
    return chat(alice)


def file(name="notes.md", data=b"One\n"):
    return SimpleUploadedFile(name, data)


def send(client, session, *files, text="Read this"):
    return client.post(reverse("agents:post", args=[session.pk]), {"text": text, "files": files})


def page(client, session):
    return client.get(reverse("agents:session", args=[session.pk])).content.decode()


def there():
    return sorted(str(path.relative_to(root())) for path in root().rglob("attached/**/*") if path.is_file())


def test_it_stores_names_and_shows(as_alice, session, model):
    assert send(as_alice, session, file(), file("a b.csv")).status_code == 302
    said = Message.objects.get(session=session, seq=3)
    folder = f"attached/{session.pk.hex[-12:]}"
    assert said.files == [f"{folder}/notes.md", f"{folder}/a-b.csv"]
    assert said.content == [
        {"text": "Read this"}, {"text": f"Attached files: {folder}/notes.md, {folder}/a-b.csv"}
    ]  # fmt: skip
    html = page(as_alice, session)
    assert (
        '<li class="chip" data-value>notes.md</li>' in html
        and f"{folder}/" not in html
        and "Attached files:" not in html
    )
    model.play(Use("read_file", {"path": said.files[0]}), "Thank you.")
    work()
    assert model.told() == ["One\n"]


def test_other_chats_do_not_get_it(as_alice, session, model, alice, bob):
    send(as_alice, session, file(data=b"Salaries"))
    [path] = there()
    model.play("Thanks.")
    work()
    for user in (bob, alice):
        model.play(
            Use("list_files", {}),
            Use("list_files", {"folder": "attached"}),
            Use("read_file", {"path": path}),
            "So.",
        )
        results = [call.result for call in desk.calls(chat(user, "What did others attach?"))]
        told = [block["text"] for result in results for block in result]
        assert "notes.txt" in told[0] and "attached" not in told[0]
        assert told[1] == "There are no files."
        assert told[2] == f"The tool failed: {path} belongs to another chat."


def test_it_reads_what_it_takes(as_alice, session, model):
    send(as_alice, session, file(data=b"x" * attachments.LARGEST))
    [path] = there()
    model.play(Use("read_file", {"path": path}), "Long.")
    work()
    assert model.told() == ["x" * attachments.LARGEST]


def test_a_new_chat_takes_files_and_the_demo_reads_them(as_alice):
    as_alice.post("/chat/", {"agent": "assistant", "text": "What does it say?", "files": [file()]})
    work()
    session = Session.objects.get()
    [call] = session.messages.get(seq=2).tool_uses()
    assert (call["name"], call["input"]) == ("read_file", {"path": there()[0]})
    assert any("One" in message.text for message in session.messages.filter(seq=4))


def test_nothing_is_overwritten(as_alice, session, model):
    send(as_alice, session, file(data=b"1"), file(data=b"2"))
    work_off(session, model)
    send(as_alice, session, file(data=b"3"))
    names = {path.rpartition("/")[2]: (root() / path).read_text() for path in there()}
    assert names == {"notes.md": "1", "notes-2.md": "2", "notes-3.md": "3"}


def work_off(session, model):
    model.play("Thanks.")
    work()
    assert not session.runs.filter(status="queued").exists()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd.txt"),
        ("C:\\Users\\a\\notes.txt", "notes.txt"),
        (".bashrc", "bashrc.txt"),
        ("..", "file.txt"),
        ("", "file.txt"),
        ("a\u202egpj.exe", "agpj.exe"),
        ("x, y; rm -rf.txt", "x-y-rm--rf.txt"),
        ("Größe.md", "Größe.md"),
        ("<b>.html", "b.html"),
        ("x" * 300 + ".md", "x" * 80 + ".md"),
        ("é" * 300, "é" * 80 + ".txt"),
        ("a\nb\0c.txt", "a-bc.txt"),
    ],
)
def test_names_are_names(name, kept):
    assert attachments.clean(name) == kept


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([Attachment("big.txt", b"x" * (attachments.LARGEST + 1))], "big.txt is larger than 256 kB"),
        ([Attachment("cat.jpg", b"\xff\xd8")], "cat.jpg is not a text file"),
        ([Attachment("nul.txt", b"a\0b")], "nul.txt is not a text file"),
        ([Attachment("a.txt", b"a")] * 6, "5 is the most"),
    ],
)
def test_what_it_does_not_take(session, files, sentence):
    with pytest.raises(InvalidInput, match=sentence), attachments.stored(session, files):
        pass
    assert there() == []


def test_a_refused_file_loses_no_text_and_stores_nothing(as_alice, session):
    response = send(as_alice, session, file(), file("cat.jpg", b"\xff"), text="My long words")
    assert response.status_code == 422
    html = response.content.decode()
    assert "cat.jpg is not a text file" in html and "My long words</textarea>" in html
    assert there() == [] and session.messages.count() == 2
    response = as_alice.post(
        "/chat/", {"agent": "assistant", "text": "New words", "files": [file("x", b"\xff")]}
    )
    assert response.status_code == 422 and "New words</textarea>" in response.content.decode()
    assert Session.objects.count() == 1


def test_a_message_that_is_refused_leaves_no_files(as_alice, session):
    send(as_alice, session, file())
    assert len(there()) == 1
    assert send(as_alice, session, file("more.md"), text="Impatient").status_code == 409
    assert send(as_alice, session, file("more.md"), text=" ").status_code == 422
    assert len(there()) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("new", [True, False])
def test_a_commit_that_fails_leaves_no_files(as_alice, alice, session, monkeypatch, new):
    def fail():
        raise OperationalError("no commit")

    monkeypatch.setattr(connection, "commit", fail)
    with pytest.raises(OperationalError):
        if new:
            conversations.open_with(alice, "assistant", "Read this", [Attachment("a.txt", b"a")])
        else:
            conversations.post(session, "Read this", files=[Attachment("a.txt", b"a")])
    monkeypatch.undo()
    assert there() == [] and Session.objects.count() == 1 and session.messages.count() == 2


def test_no_link_leads_out_of_the_workspace(as_alice, session, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    root().mkdir(parents=True, exist_ok=True)
    (root() / "attached").symlink_to(outside)
    assert send(as_alice, session, file()).status_code == 422
    assert list(outside.iterdir()) == []


def test_a_link_inside_is_not_followed(as_alice, session):
    folder = root() / "attached" / session.pk.hex[-12:]
    folder.mkdir(parents=True)
    (root() / "notes.txt").write_text("kept")
    (folder / "notes.md").symlink_to(root() / "notes.txt")
    send(as_alice, session, file(data=b"new"))
    assert (root() / "notes.txt").read_text() == "kept"
    assert (folder / "notes-2.md").read_text() == "new"


def test_words_that_look_like_a_list_of_files_are_words(as_alice, session):
    send(as_alice, session, file(), text="Attached files: none, really")
    assert "Attached files: none, really</div>" in page(as_alice, session)


def test_strangers_attach_nothing(client, bob, session):
    client.force_login(bob)
    assert send(client, session, file()).status_code == 404
    assert there() == []


# --- Things to try ------------------------------------------------------------------------------------


def test_the_demo_offers_things_to_try(as_alice):
    html = as_alice.get("/chat/").content.decode()
    assert html.count("data-example=") == 4
    assert 'href="?text=Ask%20me%20which%20report%20to%20read"' in html


def test_an_example_fills_the_field_without_scripts_and_is_text(as_alice):
    html = as_alice.get("/chat/?text=</textarea><script>").content.decode()
    assert "&lt;/textarea&gt;&lt;script&gt;</textarea>" in html


def test_a_real_model_is_offered_no_scripted_examples(as_alice, agent):
    agent.provider = "bedrock"
    agent.save()
    assert "data-example" not in as_alice.get("/chat/").content.decode()


def test_every_example_does_something(alice):
    from agents.presentation import EXAMPLES

    for example in EXAMPLES:
        session = chat(alice, example)
        assert session.questions.exists() or session.messages.get(seq=2).tool_uses(), example


def test_the_wait_of_a_chat_is_marked_in_the_list(as_alice, alice):
    session = desk.chat(alice, "Ask me which report to read")
    html = as_alice.get("/chat/").content.decode()
    assert f'id="s-{session.pk}"' in html and "Waiting: " in html
