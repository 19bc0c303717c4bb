"""Arguments as rows, and what deceives made visible."""

import time
from datetime import timedelta

import pytest

from approvals.deception import deceptive, warning
from approvals.presentation import mark, raw, rows, span, summary


@pytest.mark.parametrize(
    "text",
    [
        "plain text, with\nlines\tand tabs",
        "Grüße aus Brünn, naïve café, 5 € … – “quoted”",
        "Привет мир",
        "файл.txt",
        "使用Python的人",
        "emoji: 👩‍💻 ❤️ 👍🏽",
        "windows\r\nlines",
        "µm and 10²",
        "Việt Nam, \u05e9\u05b8\u05c1\u0591, \u0e01\u0e33\u0e49, a\u0301\u0302\u0303\u0304",
        "see ⓐ and ① below",
    ],
)
def test_it_leaves_honest_text_alone(text):
    assert "<mark>" not in mark(text)
    assert warning(text) == ""
    assert not deceptive(text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a\u202eb", "U+202E"),
        ("a\u2066b", "U+2066"),
        ("a\u200bb", "U+200B"),
        ("a\u200db", "U+200D"),
        ("a\u00adb", "U+00AD"),
        ("a\ufeffb", "U+FEFF"),
        ("a\u00a0b", "U+00A0"),
        ("a\u2003b", "U+2003"),
        ("a\u2028b", "U+2028"),
        ("a\x00b", "U+0000"),
        ("a\x1b[2Jb", "U+001B"),
        ("a\rb", "U+000D"),
        ("a\u3164b", "U+3164"),
        ("a\ufe0fb", "U+FE0F"),
        ("a\U000e0041b", "U+E0041"),
        ("a\ue000b", "U+E000"),
        ("a\x85b", "U+0085"),
        ("a\u0301\u0301\u0301\u0301\u0301", "U+0301"),
        ("a\u20dd\u20dd\u20dd\u20dd\u20dd", "U+20DD"),
    ],
)
def test_it_marks_what_cannot_be_seen(text, code):
    assert f"<mark>{code}</mark>" in mark(text)
    assert code in warning(text)
    assert deceptive({"deep": [{"er": text}]})
    assert deceptive({text: 1})


@pytest.mark.parametrize(
    "char", ["\u0430", "\u03bf", "\u0585", "\u13a0", "\U0001d41a", "\uff41", "\u24d0", "\U0001f150"]
)
def test_it_marks_letters_of_another_script_in_a_latin_word(char):
    text = f"ex{char}mple"
    assert f"<mark>U+{ord(char):04X} {char}</mark>" in mark(text)
    assert "1 look-alike character" in warning(text)


def test_it_says_what_a_look_alike_would_be_read_as():
    assert warning("launch-list@ex\u0430mple.com") == (
        "1 look-alike character: “\u0430” is Cyrillic. This is not “launch-list@example.com”."
    )


@pytest.mark.parametrize(
    ("address", "read"),
    [
        ("billing@micr\u1d0fs\u1d0fft.com", "billing@microsoft.com"),
        ("x@\u0261oogle.com", "x@google.com"),
        ("p\u0251ypal.com", "paypal.com"),
        ("paypa\u4e28.com", "paypal.com"),
        ("paypa\u3163.com", "paypal.com"),
        ("m\u0131crosoft.com", "microsoft.com"),
    ],
)
def test_it_marks_look_alikes_of_the_latin_script_and_of_scripts_that_mix_with_it(address, read):
    assert f"This is not “{read}”." in warning(address)


@pytest.mark.parametrize(
    "text", ["Sınıfın listesi ılık", "東京タワーに行く Tokyoー", "Ŋɔŋlɔ ɛ", "Straße, Łódź, año"]
)
def test_it_marks_no_letters_of_languages(text):
    assert not warning(text)


@pytest.mark.parametrize("hidden", ["\ud800", "\u202e", "\u200b"])
def test_what_it_says_holds_nothing_that_is_hidden(hidden):
    """The sentence itself is shown as it is."""
    assert hidden not in warning(f"\u0430pple{hidden}@x.com")


def test_it_finds_a_host_that_is_wholly_of_look_alikes():
    assert "5 look-alike characters" in warning("\u0430\u0440\u0440\u04cf\u0435.com")


def test_it_counts():
    sentence = warning("\u202ea\u200b b\u200b")
    assert "1 character that can turn the direction of text round (U+202E)." in sentence
    assert "2 invisible or odd characters (U+200B)." in sentence


def test_it_escapes_everything_round_a_mark():
    html = mark('<img src=x onerror="alert(1)">\u202e<b>')
    assert html == "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;<mark>U+202E</mark>&lt;b&gt;"


def test_it_shows_every_argument_typed():
    found = {
        str(row.name): row
        for row in rows(
            {
                "s": "x",
                "t": "a\nb",
                "n": 3,
                "b": True,
                "z": None,
                "l": ["x", 2],
                "o": {"k": "v"},
                "e": "",
                "m": [{}],
            }
        )
    }
    kinds = {name: row.kind for name, row in found.items()}
    assert kinds == {
        "s": "line",
        "t": "text",
        "n": "code",
        "b": "code",
        "z": "code",
        "l": "list",
        "o": "code",
        "e": "empty",
        "m": "code",
    }
    assert found["n"].hint == "number"
    assert found["b"].html == '<span class="tok-w">true</span>'
    assert found["l"].items == ["x", "2"]
    assert (
        '<span class="tok-k">&quot;k&quot;</span>: <span class="tok-s">&quot;v&quot;</span>'
        in found["o"].html
    )


def test_it_says_how_long_a_list_of_long_texts_is():
    [row] = rows({"l": ["x" * 100_000, "y" * 100_000]})
    assert row.size == "2 items, 200,000 characters"
    assert row.long
    assert "y" * 100_000 in row.items[1]


def test_subject_and_body_of_a_mail_are_text_however_short():
    mail = {"to": "a@example.com", "subject": "Hi", "body": "Yes.", "cc": "b@example.com"}
    kinds = {row.key: row.kind for row in rows(mail)}
    assert kinds == {"to": "line", "subject": "text", "body": "text", "cc": "line"}
    assert [row.kind for row in rows({"subject": "Hi", "body": "Yes."})] == ["line", "line"], "no mail"
    odd = {**mail, "subject": "", "body": ["Yes."]}
    assert [row.kind for row in rows(odd)] == ["line", "empty", "list", "line"]


def test_it_keeps_the_order_of_the_tool_and_hides_no_extra_argument():
    names = [row.name for row in rows({"body": "b", "extra": 1, "to": "t"}, ["to", "subject", "body"])]
    assert names == ["to", "body", "extra"]


def test_it_keeps_a_long_text_whole_and_says_how_long_it_is():
    [row] = rows({"body": "line\n" * 100 + "the end"})
    assert row.long
    assert row.size == "101 lines, 507 characters"
    assert row.html.endswith("the end")


def test_it_warns_of_names_and_nested_texts():
    [row] = rows({"pa\u200bth": {"k\u200b": ["v\u202e"]}})
    assert row.warning.startswith("In the name: 1 invisible")
    assert "turn the direction" in row.warning


def test_it_takes_arguments_that_are_no_object():
    [row] = rows(["a", "b"])
    assert row.name == "arguments"


def test_it_marks_raw_json_too():
    assert "<mark>U+202E</mark>" in raw({"a": "\u202e"})


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            {"body": "Hello,\n\nmany words", "subject": "Launch", "to": "dev@example.com"},
            "to dev@example.com · “Launch”",
        ),
        ({"paths": ["a.log", "b.log"]}, "a.log, b.log"),
        ({"paths": ["a.log", "b.log", "c.log"]}, "3 paths: a.log, …"),
        ({"amount": 3, "none": None}, "amount 3"),
        ({}, ""),
        ("text", '"text"'),
    ],
)
def test_it_sums_a_call_up(arguments, line):
    assert summary(arguments) == line


def test_it_keeps_the_line_short():
    assert len(summary({str(n): "x" * 500 for n in range(50)})) <= 110


@pytest.mark.parametrize(
    ("seconds", "short", "words"),
    [
        (0, "0 s", "0 seconds"),
        (1, "1 s", "1 second"),
        (61, "1 min", "1 minute"),
        (7200, "2 h", "2 hours"),
        (-5, "0 s", "0 seconds"),
    ],
)
def test_it_says_how_long(seconds, short, words):
    assert span(timedelta(seconds=seconds)) == short
    assert span(timedelta(seconds=seconds), words=True) == words


@pytest.mark.parametrize(
    "words", ["при вет text ", "exаmple.com ", "a\u202e", "\u3000", "а", "👩‍💻 ", "ーa/"]
)
def test_it_marks_as_much_as_may_be_approved_without_a_wait(words):
    began = time.process_time()
    [row] = rows({"body": words * (64_000 // len(words.encode()))})
    assert row.html
    assert time.process_time() - began < 2
