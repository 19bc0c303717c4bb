"""Changing arguments in the browser before they run, without a browser."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from django.urls import reverse

from approvals.actions import decisions
from approvals.actions.edits import digest_of
from approvals.edit_forms import MOST_FIELDS, form_of, read
from approvals.errors import InvalidArguments
from approvals.models import AuditEntry, Decision, Tool, ToolCall
from approvals.presentation import key_of
from approvals.states import Status
from tests import desk
from tests.integration.test_queue_pages import MAIL, ask, page_of, text

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "notes": {"type": "string"},
        "count": {"type": "integer", "minimum": 1},
        "loud": {"type": "boolean"},
        "size": {"enum": ["small", "large", 3]},
        "paths": {"type": "array", "items": {"type": "string"}},
        "extra": {"type": "object"},
        "nick": {"type": "string"},
        "api_key": {"type": "string", "maxLength": 20},
    },
    "required": ["name", "paths"],
    "additionalProperties": False,
}
ARGUMENTS = {
    "name": "A",
    "notes": "one\r\ntwo",
    "count": 3,
    "loud": False,
    "size": "small",
    "paths": ["a b", "c"],
    "extra": {"k": [1, "x"]},
    "api_key": "swordfish",
}


@pytest.fixture
def as_rita(client, rita):
    client.force_login(rita)
    return client


@pytest.fixture
def call(alice):
    return ask(alice)


@pytest.fixture
def odd(alice):
    """A call of a tool with an argument of each kind."""
    Tool.objects.filter(name="send_email").update(schema=SCHEMA)
    return ask(alice, ARGUMENTS)


def sent(call, shown=(), **typed):
    """What a browser sends of the form, lines ended as browsers end them."""
    fields = {
        each.key: each.text for each in form_of(call, shown=frozenset(shown)).fields if each.kind != "hidden"
    }
    fields |= {key_of(name): value for name, value in typed.items()}
    return {key: re.sub(r"\r?\n", "\r\n", value) for key, value in fields.items()}


def edit(client, call, htmx=False, **typed):
    data = {"version": call.version, "digest": call.digest, **sent(call, **typed)}
    headers = {"HX-Request": "true", "HX-Target": "desk-detail"} if htmx else {}
    return client.post(reverse("approvals:edit", args=[call.pk]), data, headers=headers)


def hidden_fields(html, form):
    """What the hidden inputs of a form hold."""
    inside = re.search(rf'<form[^>]* id="{form}".*?</form>', html, re.DOTALL)
    assert inside, html
    pairs = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', inside[0])
    return {name: unescape(value) for name, value in pairs}


def approve(client, call, html, **more):
    return client.post(
        reverse("approvals:decide", args=[call.pk]), {**hidden_fields(html, "changed-form"), **more}
    )


# --- The form -----------------------------------------------------------------------------------------
def test_fields_are_typed_by_the_schema(odd):
    kinds = {each.name: each.kind for each in form_of(odd).fields}
    assert kinds == {
        "name": "line",
        "notes": "text",
        "count": "number",
        "loud": "yes-no",
        "size": "choice",
        "paths": "lines",
        "extra": "json",
        "nick": "line",
        "api_key": "hidden",
    }


def test_what_nobody_touched_is_exactly_what_it_was(odd):
    form, edited = read(odd, sent(odd))
    assert edited is None
    assert "Nothing is changed yet" in form.error
    form, edited = read(odd, sent(odd, name="B"))
    assert edited
    assert edited.changed == {"name": "B"}
    assert edited.arguments == {**ARGUMENTS, "name": "B"}
    assert edited.digest == digest_of(odd, edited.arguments)


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("notes", "one\ntwo\nthree", "one\r\ntwo\r\nthree"),
        ("count", " 12 ", 12),
        ("loud", "true", True),
        ("size", "3", 3),
        ("size", '"large"', "large"),
        ("paths", "a b\n\n d", ["a b", " d"]),
        ("extra", '{"k": null}', {"k": None}),
        ("nick", "N", "N"),
        ("name", "", ""),
    ],
)
def test_it_reads_what_was_typed(odd, name, typed, value):
    form, edited = read(odd, sent(odd, **{name: typed}))
    assert form.fits, [(each.name, each.error) for each in form.fields if each.error]
    assert edited
    assert edited.changed == {name: value}


@pytest.mark.parametrize(
    ("name", "typed", "words"),
    [
        ("count", "three", "has to be a number"),
        ("count", "1.5", "does not fit the tool"),
        ("count", "0", "less than the minimum"),
        ("count", "1" * 30, "no exact JSON form"),
        ("extra", "{", "This is no JSON"),
        ("extra", "NaN", "no number in JSON"),
        ("extra", "[" * 100_000, ""),
        ("extra", "[1]", "does not fit the tool"),
        ("loud", "maybe", "This is no JSON"),
        ("size", '"huge"', "is not one of"),
    ],
)
def test_each_error_stands_beside_its_field_and_nothing_typed_is_lost(odd, name, typed, words):
    form, edited = read(odd, sent(odd, **{name: typed, "nick": "kept"}))
    fields = {each.name: each for each in form.fields}
    assert edited is None
    assert words in fields[name].error
    assert fields[name].error
    assert fields[name].text == typed
    assert fields["nick"].text == "kept"
    assert not [each.name for each in form.fields if each.error and each.name != name]


def test_a_missing_argument_is_said_beside_its_field(alice):
    Tool.objects.filter(name="send_email").update(schema=SCHEMA)
    form, edited = read(ask(alice, {"name": "A"}), {key_of("nick"): "x"})
    assert edited is None
    assert [each.name for each in form.fields if each.error] == ["paths"]


def test_texts_that_a_form_would_not_give_back_are_json(alice):
    Tool.objects.filter(name="send_email").update(schema={"type": "object"})
    call = ask(alice, {"a": "x\0y", "b": "x\ry", "c": ["a\nb"], "d": [" "], "e": "\u202e"})
    assert [each.kind for each in form_of(call).fields] == ["json", "json", "json", "json", "line"]
    _, edited = read(call, sent(call, e="plain"))
    assert edited
    assert edited.arguments == {**call.arguments, "e": "plain"}


def test_any_name_of_an_argument_has_a_field(alice):
    Tool.objects.filter(name="send_email").update(schema={"type": "object"})
    names = ["a\nb", '"><img>', "", "\u202e"]
    call = ask(alice, dict.fromkeys(names, "x"))
    _, edited = read(call, sent(call, **{"a\nb": "y"}))
    assert edited
    assert edited.changed == {"a\nb": "y"}


# --- Look at the difference, then approve -----------------------------------------------------------------
def test_it_opens_without_scripts(as_rita, call):
    html = text(as_rita.get(f"{page_of(call)}?form=edit"))
    assert 'id="edit-form"' in html
    assert "Look at the difference" in html
    assert 'id="approve-form"' not in html
    assert "dev@example.com" in html


@pytest.mark.parametrize("htmx", [True, False])
def test_it_shows_the_difference_and_changes_nothing(as_rita, call, htmx):
    response = edit(as_rita, call, htmx=htmx, subject="Lunch")
    assert response.status_code == 200
    assert "<del>Launch</del><ins>Lunch</ins>" in text(response)
    assert "Approve as changed" in text(response)
    call.refresh_from_db()
    assert (call.status, call.version, call.arguments) == (Status.PENDING, 1, MAIL)
    assert not AuditEntry.objects.filter(kind__startswith="decision").exists()


def test_it_runs_what_was_looked_at(as_rita, call):
    html = text(edit(as_rita, call, subject="Lunch"))
    assert approve(as_rita, call, html).status_code == 302
    call.refresh_from_db()
    assert call.status == Status.APPROVED
    assert call.arguments == {**MAIL, "subject": "Lunch"}
    assert call.proposed == MAIL
    decision = Decision.objects.get()
    assert decision.digest == call.digest == hidden_fields(html, "changed-form")["becomes"]
    made = AuditEntry.objects.get(kind="decision.made")
    assert made.data["edited"] is True
    page = text(as_rita.get(page_of(call)))
    assert "<b>rita changed this.</b>" in page
    assert "<del>Launch</del><ins>Lunch</ins>" in page


def test_it_marks_what_deceives_in_the_new_text(as_rita, call):
    html = text(edit(as_rita, call, to="dev@ex\u0430mple.com"))
    assert "<mark>U+0430 \u0430</mark>" in html
    assert "This is not “dev@example.com”" in html


def test_it_goes_back_to_the_form_with_what_was_typed(as_rita, call):
    html = text(edit(as_rita, call, subject="Lunch"))
    data = {**hidden_fields(html, "changed-form"), "step": "back"}
    page = text(as_rita.post(reverse("approvals:edit", args=[call.pk]), data))
    assert 'id="edit-form"' in page
    assert 'value="Lunch"' in page


def test_an_error_keeps_the_form(as_rita, odd):
    response = edit(as_rita, odd, count="many", nick="<kept>")
    assert response.status_code == 422
    html = text(response)
    assert 'id="edit-form"' in html
    assert "has to be a number" in html
    assert 'value="&lt;kept&gt;"' in html


def test_the_word_is_asked_for_beside_the_difference(as_rita, alice):
    call = ask(alice, terms={"confirm": "send", "justify": True})
    html = text(edit(as_rita, call, subject="Lunch"))
    refused = approve(as_rita, call, html, confirm="sand", comment="Better so.")
    assert refused.status_code == 422
    assert "exactly so" in text(refused)
    assert "<del>Launch</del><ins>Lunch</ins>" in text(refused)
    assert "Better so." in text(refused)
    assert approve(as_rita, call, text(refused), confirm="send", comment="Better so.").status_code == 302
    call.refresh_from_db()
    assert call.arguments["subject"] == "Lunch"


@pytest.mark.parametrize(
    "fields",
    [{"changed": "{"}, {"changed": "[]"}, {"changed": '{"to": 3}'}, {"changed": '{"other": "x"}'}]
    + [{"changed": "[" * 100_000}, {"becomes": "0" * 64}, {"digest": "0" * 64}, {"version": "9"}],
)
def test_it_runs_nothing_else_than_what_was_shown(as_rita, call, fields):
    html = text(edit(as_rita, call, subject="Lunch"))
    response = approve(as_rita, call, html, **fields)
    assert response.status_code in (409, 422)
    call.refresh_from_db()
    assert (call.status, call.arguments) == (Status.PENDING, MAIL)


def test_a_default_that_came_after_the_look_is_not_run(as_rita, call):
    html = text(edit(as_rita, call, subject="Lunch"))
    schema = Tool.objects.get(name="send_email").schema
    schema["properties"]["bcc"] = {"type": "string", "default": "boss@example.com"}
    Tool.objects.filter(name="send_email").update(schema=schema)
    response = approve(as_rita, call, html)
    assert response.status_code == 409
    assert "tool has changed" in text(response)
    assert "boss@example.com" in text(response), "the difference is shown anew"


def test_an_edit_of_what_somebody_else_changed_meanwhile_is_refused(as_rita, alice, remy):
    call = ask(alice, quorum=2)
    decisions.decide(call.pk, remy, desk.ruling(call, arguments={**MAIL, "body": "Other."}))
    response = edit(as_rita, call, subject="Lunch")
    assert response.status_code == 409
    assert "not what this page showed" in text(response)
    assert 'value="Lunch"' in text(response), "what was typed is still there"


def test_the_one_who_edited_is_named_also_where_others_approve_after(as_rita, alice, remy):
    call = ask(alice, quorum=2)
    decisions.decide(call.pk, remy, desk.ruling(call, arguments={**MAIL, "body": "Other."}))
    html = text(as_rita.get(page_of(call)))
    assert "<b>remy changed this.</b>" in html
    call = ToolCall.objects.get(pk=call.pk)
    desk.approve(call, Decision.objects.get().by.__class__.objects.get(username="rita"))
    assert "<b>remy changed this.</b>" in text(as_rita.get(page_of(call)))


@pytest.mark.parametrize(("who", "status"), [(None, 302), ("alice", 403), ("rita", 200), ("admin", 403)])
def test_only_who_may_decide_edits(client, request, call, who, status):
    if who:
        client.force_login(request.getfixturevalue(who))
    assert edit(client, call, subject="Lunch").status_code == status
    assert client.get(reverse("approvals:edit", args=[call.pk])).status_code in (405, 302, 403)


def test_what_is_decided_is_edited_no_more(as_rita, call, remy):
    desk.deny(call, remy)
    response = edit(as_rita, call, subject="Lunch")
    assert response.status_code == 409
    assert "Approve as changed" not in text(response)


# --- More arguments than a form takes ---------------------------------------------------------------------
def test_as_many_arguments_as_a_form_takes_are_edited(as_rita, alice):
    Tool.objects.filter(name="send_email").update(schema={"type": "object"})
    call = ask(alice, {f"k{number}": "x" for number in range(MOST_FIELDS)})
    assert 'id="edit-link"' in text(as_rita.get(page_of(call)))
    assert "Approve as changed" in text(edit(as_rita, call, k0="y"))


@pytest.mark.parametrize("number", [MOST_FIELDS, 1100])
def test_more_arguments_than_a_form_takes_are_not_edited_and_it_says_so(as_rita, alice, number):
    """Of which the schema knows one that the call has left out."""
    Tool.objects.filter(name="send_email").update(schema={"type": "object", "properties": {"left": {}}})
    call = ask(alice, {f"k{each}": "x" for each in range(number)})
    for path in (page_of(call), f"{page_of(call)}?form=edit"):
        html = text(as_rita.get(path))
        assert "too many to change them in a form" in html
        assert 'id="edit-link"' not in html
        assert 'id="edit-form"' not in html
        assert 'id="approve-form"' in html
    data = {"version": call.version, "digest": call.digest, key_of("k0"): "y"}
    response = as_rita.post(reverse("approvals:edit", args=[call.pk]), data)
    assert response.status_code == 422
    assert "too many to change them in a form" in text(response)
    assert 'id="edit-form"' not in text(response)


# --- Secrets and edits --------------------------------------------------------------------------------------
def test_a_hidden_value_is_in_no_form_and_stays_as_it_is(as_rita, odd):
    assert "swordfish" not in text(as_rita.get(f"{page_of(odd)}?form=edit"))
    html = text(edit(as_rita, odd, name="B"))
    assert "swordfish" not in html
    assert json.loads(hidden_fields(html, "changed-form")["changed"]) == {"name": "B"}
    approve(as_rita, odd, html)
    odd.refresh_from_db()
    assert odd.arguments == {**ARGUMENTS, "name": "B"}
    assert "swordfish" not in text(as_rita.get(page_of(odd)))


def test_a_hidden_value_that_was_shown_can_be_changed(as_rita, odd):
    data = {**sent(odd, name="typed"), "argument": key_of("api_key"), "form": "edit"}
    html = text(as_rita.post(reverse("approvals:reveal", args=[odd.pk]), data))
    assert 'value="swordfish"' in html
    assert 'value="typed"' in html
    assert AuditEntry.objects.get(kind="secret.revealed").data == {"argument": "api_key"}
    html = text(edit(as_rita, odd, api_key="marlin"))
    assert "swordfish" not in html
    approve(as_rita, odd, html)
    odd.refresh_from_db()
    assert odd.arguments["api_key"] == "marlin"


def test_an_error_about_a_hidden_value_does_not_quote_it(as_rita, odd):
    html = text(edit(as_rita, odd, api_key="much-too-long-for-the-schema"))
    assert "This does not fit the tool." in html
    assert "is too long" not in html


ROOTS = [
    {"not": {"required": ["name"]}},
    {"oneOf": [{"required": ["nick"]}, {"required": ["bcc"]}]},
    {"anyOf": [{"properties": {"count": {"maximum": 2}}, "required": ["count"]}]},
    {"allOf": [{"maxProperties": 1}]},
    {"enum": [{}]},
]


@pytest.mark.parametrize("root", ROOTS)
def test_an_error_about_all_arguments_quotes_none_of_them(as_rita, odd, root):
    Tool.objects.filter(name="send_email").update(schema={**SCHEMA, **root})
    response = edit(as_rita, odd, name="B")
    assert response.status_code == 422
    assert "does not match " in text(response)
    assert "swordfish" not in text(response)
    sent = {"choice": "approve", "version": odd.version, "digest": odd.digest, "changed": '{"name": "B"}'}
    response = as_rita.post(reverse("approvals:decide", args=[odd.pk]), sent)
    assert response.status_code == 422
    assert "swordfish" not in text(response)


def test_an_error_about_all_arguments_says_which_name_it_is_about(as_rita, odd):
    schema = {**SCHEMA, "dependentRequired": {"name": ["nick"]}}
    Tool.objects.filter(name="send_email").update(schema=schema)
    assert "&#x27;nick&#x27; is a dependency of &#x27;name&#x27;" in text(edit(as_rita, odd, name="B"))


def test_an_error_about_a_hidden_value_that_was_there_before_does_not_quote_it(odd, rita):
    schema = {**SCHEMA, "properties": {**SCHEMA["properties"], "api_key": {"pattern": "^x"}}}
    Tool.objects.filter(name="send_email").update(schema=schema)
    with pytest.raises(InvalidArguments) as refused:
        desk.approve(odd, rita, arguments={**ARGUMENTS, "name": "B"})
    assert refused.value.message == "The arguments do not fit the tool. api_key: does not match pattern"


@pytest.mark.parametrize("typed", ["", "zz", '"marlin"'])
@pytest.mark.parametrize("choices", [["marlin"], ["marlin", "swordfish"]])
def test_whoever_types_over_a_hidden_choice_is_not_told_what_it_was(as_rita, odd, typed, choices):
    schema = {**SCHEMA, "properties": {**SCHEMA["properties"], "api_key": {"enum": choices}}}
    Tool.objects.filter(name="send_email").update(schema=schema)
    html = text(edit(as_rita, odd, api_key=typed, count="many"))
    assert 'id="edit-form"' in html
    assert "swordfish" not in html
    assert not AuditEntry.objects.filter(kind="secret.revealed").exists()
