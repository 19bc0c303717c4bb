"""What an edit changes, as a person reads it."""

import re
import time

import pytest

from approvals.differences import changes, compared


def sides(html):
    """The old text and the new one, read back from a difference."""
    old = re.sub(r"<ins>.*?</ins>", "", html, flags=re.DOTALL)
    new = re.sub(r"<del>.*?</del>", "", html, flags=re.DOTALL)
    return tuple(re.sub(r"</?(?:ins|del)>", "", side) for side in (old, new))


def test_it_strikes_the_old_words_and_marks_the_new():
    assert (
        compared("Meet me on Monday.", "Meet me on Friday.")
        == "Meet me on<del> Monday</del><ins> Friday</ins>."
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "all new"),
        ("all gone", ""),
        ("a\nb\nc\n", "a\nB\nc\nd\n"),
        ("one  two\tthree", "one two  three"),
        ("word " * 300, "word " * 299 + "other"),
        ("x" * 5000, "y" * 5000),
        ("line\n" * 5000, "line\n" * 4999),
        ("a, b; c", "a; b, c"),
    ],
)
def test_both_sides_are_whole(before, after):
    assert sides(compared(before, after)) == (before, after)


def test_what_deceives_is_marked_in_the_new_text_and_in_the_old():
    html = compared("to p\u0430ypal.com \u202ex", "to pay\u200bp\u0430l.com x")
    assert "<mark>U+200B</mark>" in html
    assert html.count("<mark>U+0430 \u0430</mark>") == 2
    assert "\u202e" not in html


def test_a_letter_is_a_look_alike_by_the_whole_word():
    """The part that differs is one letter, which alone would pass."""
    assert "<mark>U+0430 \u0430</mark>" in compared("x_a", "x_\u0430")


def test_it_escapes():
    assert compared("<b>", "<i>") == "&lt;<del>b</del><ins>i</ins>&gt;"


def test_it_tells_each_argument_that_differs():
    found = changes(
        {"to": "a", "n": 1, "gone": True, "same": 1}, {"to": "b", "n": 2, "same": 1.0, "more": [1]}
    )
    assert [(each.name, each.note) for each in found] == [
        ("to", "changed"),
        ("n", "changed"),
        ("more", "added"),
        ("gone", "left out"),
    ]


def test_lists_of_texts_are_compared_line_by_line():
    [change] = changes({"paths": ["a.log", "b.log"]}, {"paths": ["a.log", "c.log"]})
    assert change.html == "a.log\n<del>b</del><ins>c</ins>.log"


def test_what_is_hidden_stays_hidden():
    [change] = changes({"password": "correct horse"}, {"password": "battery staple"})
    assert "horse" not in change.html
    assert "staple" not in change.html
    assert "another value" in changes({"password": "aaaa"}, {"password": "bbbb"})[0].html


def test_it_takes_no_longer_for_texts_that_are_made_to():
    began = time.process_time()
    compared("a b " * 8000, "b a b " * 8000)
    compared("a\nb\n" * 8000, "b\nb\na\n" * 8000)
    compared(" " * 60_000, " " * 59_999 + "x")
    assert time.process_time() - began < 3
