"""The five tools, called as an agent's run calls them."""

import os

import pytest
from django.core import mail

from agents.tools.delete_files import delete_files
from agents.tools.get_weather import get_weather
from agents.tools.list_files import list_files
from agents.tools.read_file import read_file
from agents.tools.registry import ToolError, session_is
from agents.tools.send_email import send_email
from agents.tools.workspace import DEMO_FILES, attached, resolve, root, seed_workspace


@pytest.fixture(autouse=True)
def workspace(settings, tmp_path):
    """A seeded workspace, and next to it a secret."""
    settings.WORKSPACE_DIR = tmp_path / "workspace"
    (tmp_path / "secret.txt").write_text("secret")
    seed_workspace()
    return settings.WORKSPACE_DIR


def refusal(tool, **arguments):
    with pytest.raises(ToolError) as caught:
        tool.run(arguments)
    assert str(caught.value).endswith("."), "a sentence"
    return str(caught.value)


def said(tool, **arguments) -> str:
    result = tool.run(arguments)
    assert isinstance(result, str)
    return result


def test_the_weather_is_the_same_every_time():
    assert said(get_weather, city="Brno") == said(get_weather, city=" brno ").replace("brno", "Brno")
    assert said(get_weather, city="Brno").endswith("°C in Brno")
    assert said(get_weather).endswith("°C here")
    assert "demo data" in get_weather.description


def test_it_lists_files():
    lines = said(list_files).splitlines()
    assert [line.split()[0] for line in lines] == sorted(DEMO_FILES)
    assert lines[-1] == "tmp/old.log (28 bytes)"
    assert said(list_files, folder="tmp") == "tmp/old.log (28 bytes)"
    assert said(list_files, folder=".") == said(list_files)


def test_it_lists_an_empty_folder(workspace):
    (workspace / "empty").mkdir()
    assert said(list_files, folder="empty") == "There are no files."


def test_it_lists_no_more_than_its_limit(workspace):
    for number in range(510):
        (workspace / "tmp" / f"{number}.txt").touch()
    lines = said(list_files).splitlines()
    assert len(lines) == 501
    assert "500" in lines[-1]


def test_it_cannot_list_what_is_not_there(settings, tmp_path):
    assert refusal(list_files, folder="nothing") == "There is no folder nothing."
    assert "folder" in refusal(list_files, folder="notes.txt")
    settings.WORKSPACE_DIR = tmp_path / "none"
    assert "workspace" in refusal(list_files)


def test_it_reads_a_file(workspace):
    assert said(read_file, path="reports/2025-q4.txt").startswith("Q4 2025")
    (workspace / "empty").touch()
    assert said(read_file, path="empty") == "(The file is empty.)"


def test_it_reads_no_more_than_its_limit(workspace):
    (workspace / "big").write_bytes(b"x" * 262_144)
    assert len(said(read_file, path="big")) == 262_144
    (workspace / "big").write_bytes(b"x" * 262_145)
    assert "262145 bytes" in refusal(read_file, path="big")


def test_it_reads_text_only(workspace):
    (workspace / "picture").write_bytes(b"\xff\xd8\xff")
    (workspace / "zeros").write_bytes(b"a\0b")
    assert "not a text file" in refusal(read_file, path="picture")
    assert "not a text file" in refusal(read_file, path="zeros")


def test_it_reads_files_only(workspace):
    os.mkfifo(workspace / "pipe")
    assert refusal(read_file, path="reports") == "reports is a folder, not a file."
    assert refusal(read_file, path="nothing.txt") == "There is no file nothing.txt."
    assert refusal(read_file, path="pipe") == "There is no file pipe."


def test_it_deletes_files(workspace):
    assert said(delete_files, paths=["tmp/old.log", "notes.txt"]) == "Deleted tmp/old.log, notes.txt."
    assert not (workspace / "tmp/old.log").exists()
    assert not (workspace / "notes.txt").exists()
    assert (workspace / "reports/2025-q3.txt").exists()


def test_it_deletes_a_file_once_that_is_named_twice():
    assert said(delete_files, paths=["notes.txt", "notes.txt"]) == "Deleted notes.txt."


@pytest.mark.parametrize("wrong", ["nothing.txt", "reports", "../secret.txt", "/etc/passwd", "", "."])
def test_it_deletes_nothing_when_one_path_is_wrong(workspace, wrong):
    assert "othing was deleted" in refusal(delete_files, paths=["notes.txt", wrong])
    assert (workspace / "notes.txt").exists()
    assert "othing was deleted" in refusal(delete_files, paths=[])


def test_it_deletes_a_link_and_not_what_it_leads_to(workspace):
    (workspace / "link").symlink_to("notes.txt")
    said(delete_files, paths=["link"])
    assert (workspace / "notes.txt").exists()
    assert not (workspace / "link").is_symlink()


def test_it_says_what_was_deleted_before_a_failure(workspace, monkeypatch):
    unlink = type(workspace).unlink

    def refuse(self, missing_ok=False):
        if self.name == "old.log":
            raise PermissionError(13, "Permission denied")
        unlink(self)

    monkeypatch.setattr(type(workspace), "unlink", refuse)
    assert "deleted before that: notes.txt" in refusal(delete_files, paths=["notes.txt", "tmp/old.log"])
    assert "nothing was deleted" in refusal(delete_files, paths=["tmp/old.log"])


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/etc/passwd", "absolute"),
        ("../secret.txt", ".."),
        ("tmp/../../secret.txt", ".."),
        ("reports/..", ".."),
        ("a\0b", "cannot be shown"),
        ("a\nb", "cannot be shown"),
        ("a\u202eb", "cannot be shown"),
        ("", "empty"),
        ("   ", "empty"),
        (".", "workspace itself"),
        ("./", "workspace itself"),
        ("x" * 256, "too long"),
    ],
)
def test_the_workspace_refuses_odd_paths(path, words):
    with pytest.raises(ToolError) as caught:
        resolve(path)
    assert words in str(caught.value)
    assert "\0" not in str(caught.value)


@pytest.mark.parametrize("target", ["../secret.txt", "/etc/passwd", ".."])
def test_the_workspace_refuses_links_that_lead_out(workspace, target):
    (workspace / "link").symlink_to(target)
    for path in ("link", "link/secret.txt"):
        with pytest.raises(ToolError, match="leads out"):
            resolve(path)


def test_the_workspace_takes_links_that_stay_inside(workspace):
    (workspace / "link").symlink_to("reports")
    assert said(read_file, path="link/2025-q3.txt").startswith("Q3")


def test_the_workspace_survives_links_in_a_circle(workspace):
    (workspace / "a").symlink_to("b")
    (workspace / "b").symlink_to("a")
    assert refusal(read_file, path="a") == "There is no file a."


def test_the_workspace_may_itself_be_reached_by_a_link(settings, workspace, tmp_path):
    (tmp_path / "door").symlink_to(workspace)
    settings.WORKSPACE_DIR = tmp_path / "door"
    assert root() == workspace
    assert said(read_file, path="notes.txt")


# --- What people attach -------------------------------------------------------------------------------

MINE, YOURS = "01a20626-2ad7-7b01-ac76-e6532c1b22f8", "01a20626-2ad7-7b01-ac76-0123456789ab"
THEIRS = attached(YOURS)


@pytest.fixture
def given(workspace):
    """Both chats have a file."""
    for session in (MINE, YOURS):
        (workspace / attached(session)).mkdir(parents=True)
        (workspace / attached(session) / "pay.txt").write_text(f"of {session}")
    return workspace


def test_a_chat_has_its_own_files_alone(given):
    with session_is(MINE):
        assert said(read_file, path=f"{attached(MINE)}/pay.txt") == f"of {MINE}"
        for folder in ("", "attached", attached(MINE)):
            listed = said(list_files, folder=folder)
            assert f"{attached(MINE)}/pay.txt" in listed and THEIRS not in listed
        assert "Deleted" in said(delete_files, paths=[f"{attached(MINE)}/pay.txt"])
    assert (given / THEIRS / "pay.txt").exists()


@pytest.mark.parametrize("session", [MINE, "", "attached", YOURS[:-1]])
@pytest.mark.parametrize(
    "path",
    [
        f"{THEIRS}/pay.txt",
        f"./{THEIRS}/pay.txt",
        f".//attached/./{YOURS[-12:]}//pay.txt",
        f"{THEIRS}/nothing.txt",
        "attached/nothing",
        THEIRS,
        "link",
        "folder/pay.txt",
        f"all/{YOURS[-12:]}/pay.txt",
        f"top/{THEIRS}/pay.txt",
        f"{attached(MINE)}/way/pay.txt",
    ],
)
def test_no_path_leads_to_those_of_another(given, session, path):
    (given / "link").symlink_to(f"{THEIRS}/pay.txt")
    (given / "folder").symlink_to(THEIRS)
    (given / "all").symlink_to("attached")
    (given / "top").symlink_to(".")
    (given / attached(MINE) / "way").symlink_to(given / THEIRS)
    with session_is(session):
        assert refusal(read_file, path=path) == f"{path} belongs to another chat."
        assert refusal(list_files, folder=path) == f"{path} belongs to another chat."
        assert "belongs to another chat. Nothing was deleted." in refusal(delete_files, paths=[path])
        for folder in ("", "all", "top", "attached"):
            assert f"{YOURS[-12:]}/pay.txt" not in said(list_files, folder=folder)
    assert (given / THEIRS / "pay.txt").exists()


def test_another_spelling_of_the_folder_is_the_same_folder(given, monkeypatch):
    """As on a file system that does not tell A from a."""
    (given / "ATTACHED").symlink_to("attached")
    real = os.path.realpath
    monkeypatch.setattr(
        os.path, "realpath", lambda path: str(path) if "ATTACHED" in str(path) else real(path)
    )
    with session_is(MINE):
        assert "another chat" in refusal(read_file, path=f"ATTACHED/{YOURS[-12:]}/pay.txt")
        assert "pay.txt" in said(list_files, folder=f"ATTACHED/{MINE[-12:]}")


def test_seeding_leaves_a_used_workspace_alone(workspace):
    assert seed_workspace() is False
    (workspace / "notes.txt").unlink()
    assert seed_workspace() is False
    assert not (workspace / "notes.txt").exists()


def test_it_sends_an_email(settings):
    settings.DEFAULT_FROM_EMAIL = "nod@example.com"
    answer = said(send_email, to="dev@example.com", subject="Launch", body="Hello,\n\nwhen?")
    assert answer == 'Email sent to dev@example.com with subject "Launch"'
    (sent,) = mail.outbox
    assert (sent.to, sent.subject, sent.body) == (["dev@example.com"], "Launch", "Hello,\n\nwhen?")
    assert sent.from_email == "nod@example.com"


def test_it_sends_an_email_to_several():
    answer = said(send_email, to="a@example.com, b@example.com", subject="Hi", body="")
    assert answer == 'Email sent to a@example.com, b@example.com with subject "Hi"'
    assert mail.outbox[0].to == ["a@example.com", "b@example.com"]


@pytest.mark.parametrize(
    ("to", "subject", "words"),
    [
        ("dev@example.com\nBcc: eve@example.com", "Hi", "one line"),
        ("dev@example.com", "Hi\r\nBcc: eve@example.com", "one line"),
        ("dev@example.com", "Hi\0", "one line"),
        ("dev", "Hi", "dev is not an e-mail address"),
        ("", "Hi", "not an e-mail address"),
        ("a@example.com,", "Hi", "not an e-mail address"),
        ("Eve <eve@example.com>", "Hi", "not an e-mail address"),
        ("a@example.com, nobody", "Hi", "nobody is not"),
    ],
)
def test_it_refuses_wrong_addresses_and_smuggled_headers(to, subject, words):
    text = refusal(send_email, to=to, subject=subject, body="x")
    assert words in text
    assert text.endswith("Nothing was sent.")
    assert mail.outbox == []


def test_it_says_when_the_server_refuses(monkeypatch):
    def refuse(*args, **kwargs):
        raise ConnectionRefusedError

    monkeypatch.setattr("agents.tools.send_email.send_mail", refuse)
    assert "Nothing was sent" in refusal(send_email, to="dev@example.com", subject="Hi", body="x")
