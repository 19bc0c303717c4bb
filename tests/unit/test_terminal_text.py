"""What a terminal is written: wrapped in its columns, nothing left out, nothing that steers it."""

from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.runtimes.port import Said, Text
from agents.terminal.screen import Flow, Leave, Screen
from agents.terminal.transcript import Transcript
from agents.terminal.wrapping import columns, wrapped
from approvals.visible import one_line, visible

HOSTILE = "a\x1b[2J\x07\x9b1m\u202eb\u200bс\r\x00\x7f\u2028\U000e0041"


class Narrow(Screen):
    """So many columns, whatever the window."""

    columns = 24


def flowed(text, size=3):
    out = io.StringIO()
    flow = Flow(Narrow(out, None))
    for at in range(0, len(text), size):
        flow.add(text[at : at + size])
    flow.end()
    return out.getvalue()


# --- Visible -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\nlines", "plain\nlines"),
        ("a\tb", "a    b"),
        ("line\r\nend", "line\nend"),
        ("over\rwritten", "over‹U+000D›written"),
        ("\x1b[31mred", "‹U+001B›[31mred"),
        ("\x9b2J", "‹U+009B›2J"),
        ("pay\u202elap", "pay‹U+202E›lap"),
        ("раypal", "‹U+0440 р›‹U+0430 а›ypal"),
        ("日本語 Grüße 👩‍💻", "日本語 Grüße 👩‍💻"),
    ],
)
def test_it_shows_what_could_deceive(text, shown):
    assert visible(text) == shown


@given(st.text())
def test_no_control_character_is_left(text):
    assert not [char for char in visible(text) if unicodedata.category(char) == "Cc" and char != "\n"]
    assert "\n" not in one_line(text)


# --- Wrapping ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three", ["one two ", "three"]),
        ("twelve-letters", ["twelve-let", "ters"]),
        ("日本語日本語日本語", ["日本語日本", "語日本語"]),
        ("a\n\nb", ["a", "", "b"]),
        ("", [""]),
    ],
)
def test_it_wraps_in_columns(text, lines):
    assert wrapped(text, 10) == lines


def test_it_puts_something_before_each_line():
    assert wrapped("one two\nthree", 7, "> ", "| ") == ["> one ", "| two", "| three"]


@given(st.text(), st.integers(20, 60))
def test_it_leaves_nothing_out_and_fits(text, width):
    shown = visible(text)
    lines = wrapped(shown, width, "  ", "    ")
    assert all(columns(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(shown.split())


# --- As it comes -------------------------------------------------------------------------------------------
def test_it_wraps_what_comes_in_pieces():
    assert flowed(
        "The quick brown fox jumps over it."
    ) == "  The quick brown fox \n  jumps over it.\n".replace(" \n", "\n")


def test_it_keeps_lines_and_indents():
    assert flowed("a:\n\n  - b\r\n  - c\n") == "  a:\n\n    - b\n    - c\n"


@given(st.text(), st.integers(1, 7))
def test_no_piece_is_lost_or_steers(text, size):
    shown = flowed(text + HOSTILE, size)
    assert not [char for char in shown if unicodedata.category(char) == "Cc" and char != "\n"]
    assert all(columns(line) <= 24 for line in shown.split("\n"))


def test_it_shows_a_long_word_that_has_no_end_yet():
    out = io.StringIO()
    Flow(Narrow(out, None)).add("日" * 60)
    assert "日" * 11 in out.getvalue()


# --- The agent's side --------------------------------------------------------------------------------------
@pytest.fixture
def shown():
    out = io.StringIO()
    return Transcript(Screen(out, None), {}), out


def message(*blocks, role="assistant"):
    return {"role": role, "content": list(blocks)}


def test_it_shows_each_word_once(shown):
    transcript, out = shown
    for event in (Text("I will "), Text("look."), Said(message({"text": "I will look."}))):
        transcript.hear(event)
    assert out.getvalue() == "  I will look.\n"


def test_it_shows_what_a_worker_wrote_meanwhile(shown):
    transcript, out = shown
    transcript.draft("I will ")
    transcript.draft("I will look")
    transcript.said(message({"text": "I will look."}))
    transcript.draft("I will look.")  # is still there, until the next one is saved
    transcript.said(message({"text": "Done."}))
    assert out.getvalue() == "  I will look.\n  Done.\n"


def test_it_shows_calls_and_results(shown):
    transcript, out = shown
    use = {"toolUseId": "1", "name": "get_weather", "input": {"city": "Brno\x1b[2J"}}
    result = {"toolUseId": "1", "status": "success", "content": [{"text": "12 °C\n\x1b]0;x\x07"}]}
    transcript.said(message({"toolUse": use}))
    transcript.said(message({"toolResult": result}, role="user"))
    assert out.getvalue() == (
        "  • get_weather: “Brno‹U+001B›[2J”\n  ✓ get_weather: 12 °C ‹U+001B›]0;x‹U+0007›\n"
    )


def test_it_is_quiet_once_it_was_stopped(shown):
    transcript, out = shown
    transcript.hear(Text("I will "))
    transcript.hush()
    for event in (Text("look."), Said(message({"text": "I will look."}))):
        transcript.hear(event)
    assert out.getvalue() == "  I will\n"


# --- The screen --------------------------------------------------------------------------------------------
def test_only_the_screen_itself_colours():
    out = io.StringIO()
    Screen(out, None, colour=True).line("\x1b[31mred", "dim")
    assert out.getvalue() == "\x1b[2m‹U+001B›[31mred\x1b[0m\n"


@pytest.mark.parametrize("gone", [EOFError, KeyboardInterrupt])
def test_whoever_leaves_has_not_answered(gone):
    def read(prompt):
        raise gone

    with pytest.raises(Leave):
        Screen(io.StringIO(), read).ask("? ")
    with pytest.raises(Leave):
        Screen(io.StringIO(), None).ask("? ")
