"""Arguments of a megabyte, where lists and chats show them: what a page costs does not grow with them."""

from unittest.mock import Mock

import pytest
from django.test import Client
from django.urls import reverse

from approvals import secrecy
from approvals.presentation import BEGINNING, summary
from approvals.sizes import MOST_APPROVED, fills_a_page
from tests import desk

MANY = {f"argument {number}": "words" for number in range(10_000)}


@pytest.mark.parametrize(("much", "refused"), [({"body": "words " * 150_000}, False), ({"more": MANY}, True)])
def test_a_chat_shows_the_beginning(model, alice, much, refused):
    model.play([desk.asks(**much)], "Done.")
    session = desk.chat(alice, "Send it.")
    assert bool(desk.calls(session)) is not refused
    as_alice = Client()
    as_alice.force_login(alice)
    html = as_alice.get(reverse("agents:session", args=[session.pk])).content.decode()
    assert f"The first {BEGINNING:,} of" in html
    assert len(html) < 4 * BEGINNING


def test_what_fits_is_shown_as_rows():
    assert not fills_a_page({"a": "x" * (MOST_APPROVED - 8)})
    assert fills_a_page({"a": "x" * (MOST_APPROVED - 7)})
    assert fills_a_page({"a": float("nan"), "b": ["\ud800"] * MOST_APPROVED}), "whatever a model made"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"items": ["item"] * 50_000}, "50,000 items: item, …"),
        (
            {"items": [{"password": "abc"}] * 50_000},
            "50,000 items: {'password': '•••• 3 characters, hidden…, …",
        ),
        ({"inside": MANY}, 'inside {"argument 0": "words", "argument 1": "…'),
        ({"inside": [[MANY, MANY]]}, "1 inside: [{'argument 0': 'words', 'argument 1':…, …"),
        (["item"] * 50_000, '["item", "item"'),
    ],
)
def test_a_line_is_made_from_the_beginning(monkeypatch, arguments, line):
    tells = Mock(wraps=secrecy._tells)
    monkeypatch.setattr(secrecy, "_tells", tells)
    assert summary(arguments).startswith(line)
    assert tells.call_count < 200


# --- Secrets in it ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("body", ["words", "words " * 20_000])
def test_a_chat_shows_no_secret(model, alice, body):
    key = f"sk-{'swordfish' * 3}"
    model.play([desk.asks(body=f"{key} {body}", password="pike")], "Done.")
    session = desk.chat(alice, "Send it.")
    as_alice = Client()
    as_alice.force_login(alice)
    html = as_alice.get(reverse("agents:session", args=[session.pk])).content.decode()
    assert "•••• 30 characters, hidden" in html
    assert "swordfish" not in html and "pike" not in html


@pytest.mark.parametrize(
    "arguments",
    [
        {"password": "swordfish"},
        {"to": f"sk-{'swordfish' * 3}"},
        {"inside": {"token": "swordfish"}},
        {"items": [{"password": "swordfish"}]},
    ],
)
def test_a_line_holds_no_secret(arguments):
    assert "swordfish" not in summary(arguments)
    assert "hid" in summary(arguments)


def test_a_line_holds_no_half_of_a_secret_either():
    first = f"sk-{'a1B2' * 497}"
    assert summary({"code": f"{first} sk-{'swordfish' * 3}"}) == "“•••• 1,991 characters, hidden”"
