"""What looks like a secret is masked, and what does not is left alone."""

import time

import pytest

from approvals.presentation import plain, raw, rows, summary
from approvals.secrecy import hide, hide_in, mask, secrets_in

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
LINE = "MIIEowIBAAKCAQEA" * 4
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{LINE}\n{LINE}\nIBAAKC==\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    "name",
    ["password", "Password", "db_password", "secret", "clientSecret", "API-KEY", "apiKey", "api_key", "token"]
    + ["accessToken", "Authorization", "aws_secret_access_key", "credentials", "cookie", "private key"],
)
def test_a_name_tells(name):
    assert hide(name, "x y") == ("•••• 3 characters, hidden", 1)
    assert hide("headers", {"deep": [{name: "x y"}]})[1] == 1


@pytest.mark.parametrize(
    "name", ["token_count", "max_tokens", "password_policy", "keyboard", "secretary", "key", "to", "body"]
)
def test_other_names_do_not(name):
    assert hide(name, "x y") == ("x y", 0)


@pytest.mark.parametrize(
    "secret",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "a1B2" * 9,
        "sk-proj-" + "a1B2" * 9,
        "sk_live_" + "a1B2" * 9,
        "xoxb-1234567890-abcdef",
        "AIza" + "a1B2c" * 7,
        JWT,
        PEM,
        PEM.replace("\n", "\r\n"),
        PEM.replace("\n", "\\n"),
        PEM.replace("\n", " "),
        PEM.replace("\n", "\n  > "),
        PEM.replace(
            "-\nM", "-\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF0123456789ABCDEF\n\nM"
        ),
        f"-----BEGIN PRIVATE KEY-----\n{LINE}\n{LINE}",
        f"-----BEGIN PRIVATE KEY-----{LINE}-----END PRIVATE KEY-----",
    ],
)
def test_a_shape_tells_inside_a_text(secret):
    shown, count = hide("body", f"Use {secret} for it.")
    assert shown == f"Use •••• {len(secret)} characters, hidden for it."
    assert count == 1


def test_a_bearer_string_is_hidden_behind_its_word():
    assert hide("h", "Authorization: Bearer abcdefghijklmnop1234")[0] == (
        "Authorization: Bearer •••• 20 characters, hidden"
    )


@pytest.mark.parametrize(
    "text",
    ["the bearer of this letter", "sk-learn and rk-9", "commit 0123456789abcdef0123456789abcdef01234567"]
    + [
        "https://example.com/a/b",
        "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----",
        "AKIA is a prefix",
    ],
)
def test_other_shapes_do_not(text):
    assert hide("body", text) == (text, 0)


BEGIN = "-----BEGIN PRIVATE KEY-----"


@pytest.mark.parametrize(
    "words",
    [
        "please wire 10000 to mallory",
        "please\nwire\nto\nmallory",
        "pleasewiretomallory",
        "Proc-Type: wire it",
    ],
)
@pytest.mark.parametrize("end", ["", "\n-----END PRIVATE KEY-----"])
def test_what_only_begins_like_a_key_hides_no_words(words, end):
    text = f"Hi\n{BEGIN}\n{words}{end}"
    assert hide("body", text) == (text, 0)


def test_of_a_key_only_its_own_lines_are_hidden():
    shown, count = hide("body", f"Hi\n{BEGIN}\n{LINE}\nplease wire it\n{LINE}\n-----END PRIVATE KEY-----")
    assert count == 1
    assert shown.startswith("Hi\n" + mask(f"{BEGIN}\n{LINE}") + "\nplease wire it\n")


def test_a_key_that_is_cut_is_hidden_to_its_end():
    for length in range(PEM.index(LINE) + 40, len(PEM)):
        assert "IBAA" not in hide("body", PEM[:length])[0]


def test_what_stands_around_secrets_is_seen():
    """A name masks what is written in a structure, not what it is made of."""
    shown, count = hide("cookies", {"session": "abc", "more": [{"path": "/", "secure": True}, None]})
    assert shown == {"session": mask("abc"), "more": [{"path": mask("/"), "secure": True}, None]}
    assert count == 2


def test_arguments_that_are_no_object_hold_secrets_too():
    assert secrets_in([PEM, {"token": "t"}]) == {"arguments": 2}
    assert secrets_in(["a"]) == {}
    assert [row.hidden for row in rows([PEM])] == [1]


def test_it_hides_whatever_is_in_a_secret():
    shown, count = hide("credentials", {"user": "u", "pin": 1234, "on": True, "none": None, "": ["a", ""]})
    assert count == 3
    assert shown["on"] is True
    assert "1234" not in str(shown)


def test_it_shows_what_it_is_told_to():
    arguments = {"password": "p", "token": "t", "n": 1}
    assert hide_in(arguments, frozenset(["token"])) == {**arguments, "password": "•••• 1 character, hidden"}
    assert secrets_in(arguments) == {"password": 1, "token": 1}


def test_rows_summary_and_raw_json_mask():
    arguments = {"user": "rita", "password": "hunter2 is it", "body": f"key {PEM}", "h": {"token": "tttt"}}
    everything = [str(row.html) + row.warning for row in rows(arguments)]
    for text in (*everything, summary(arguments), raw(arguments), plain(arguments)):
        for secret in ("hunter2", "MIIEow", "tttt"):
            assert secret not in text
    assert [row.hidden for row in rows(arguments)] == [0, 1, 1, 1]


def test_a_row_is_shown_on_demand():
    [row] = rows({"password": "hunter2"}, shown=frozenset(["password"]))
    assert (row.html, row.shown, row.hidden) == ("hunter2", True, 0)


def test_it_says_that_what_is_hidden_could_deceive_and_not_what_it_is():
    [row] = rows({"password": "p\u0430ypal.com"})
    assert row.warning == "What is hidden holds characters that could deceive."


@pytest.mark.parametrize(
    "text",
    ["eyJ-", "-----BEGIN PRIVATE KEY-----", "sk-", "xox-a.", "Bearer ", "-----BEGIN ", "eyJaaaaaaaa."]
    + [f"{BEGIN} ", f"{BEGIN}{LINE} \n", f"{BEGIN}\nDEK-Info: A,", " " * 400_000, BEGIN + "a \n" * 100_000],
)
def test_it_takes_time_in_proportion_to_the_text(text):
    began = time.process_time()
    hide("body", text * (400_000 // len(text) or 1))
    assert time.process_time() - began < 2
