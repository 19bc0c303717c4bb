"""Mutants of the desk, the card and the chat (docs/desk.md, docs/card.md, docs/chat.md)."""

from __future__ import annotations

from tests.mutants.mutant import Mutant, tests_in

DECISIONS, TOGETHER = "approvals/actions/decisions.py", "approvals/actions/together.py"
PRESENTATION, LETTERS = "approvals/presentation.py", "approvals/letters.py"


def _in(name: str, *tests: str) -> tuple[str, ...]:
    return tests_in("integration", name, *tests)


DESK = (
    # --- Several at once -----------------------------------------------------------------------------------
    Mutant(
        "there is no trust in bulk",
        TOGETHER,
        "    if choice == Choice.TRUST:\n",
        "    if False:\n",
        _in("queue_list", "there_is_no_trust_in_bulk"),
    ),
    Mutant(
        "a bunch is decided as what its card showed, call by call",
        TOGETHER,
        "Ruling(choice, seen.version, seen.digest, ",
        'Ruling(choice, *ToolCall.objects.values_list("version", "digest").get(pk=seen.call), ',
        _in("queue_list", "what_changed_meanwhile_is_not_decided"),
    ),
    Mutant(
        "a bunch is of calls that are alike, as the server sees them",
        TOGETHER,
        "if len(waiting) > 1 and alike(waiting) is None:",
        "if False:",
        _in(
            "queue_list",
            "what_is_not_alike_is_not_decided_together",
            "what_takes_more_than_a_glance_is_never_decided_in_bulk",
        ),
    ),
    Mutant(
        "nobody decides in a bunch what they do not see",
        TOGETHER,
        "permissions.visible_calls(user).filter(pk__in=ids)",
        "ToolCall.objects.filter(pk__in=ids)",
        _in("queue_list", "what_a_person_does_not_see_is_not_decided_with_the_rest"),
    ),
    Mutant(
        "what takes a word or several people stays single",
        "approvals/alike.py",
        "return not asks_for_more and call.proposed is None",
        "return call.proposed is None",
        tests_in("unit", "alike", "what_asks_for_more_than_a_glance_stays_apart"),
    ),
    Mutant(
        "what holds a masked value stays single",
        "approvals/alike.py",
        "> LONG or secrets_in(arguments) or warns(arguments):",
        "> LONG or warns(arguments):",
        tests_in("unit", "alike", "what_asks_for_more_than_a_glance_stays_apart"),
    ),
    Mutant(
        "one takes back one's own decisions of a bunch alone",
        TOGETHER,
        "Decision.objects.filter(batch=batch, by=user)",
        "Decision.objects.filter(batch=batch)",
        _in("queue_list", "they_are_taken_back_together"),
    ),
    # --- The card ------------------------------------------------------------------------------------------
    Mutant(
        "what is too long is not approved",
        DECISIONS,
        "    if approves:\n        check_length(call.arguments)\n",
        "    if approves:\n",
        _in("card_pages", "what_is_too_long_is_not_approved"),
    ),
    Mutant(
        "an edit does not make it too long",
        DECISIONS,
        "    check_length(arguments)\n    digest = ",
        "    digest = ",
        _in("card_pages", "an_edit_cannot_make_it_too_long"),
    ),
    Mutant(
        "an edit fits the tool's schema, defaults included",
        "approvals/actions/edits.py",
        "    if found:\n        problems = sorted(",
        "    if False:\n        problems = sorted(",
        _in("decisions", "it_refuses_edits_that_do_not_fit"),
    ),
    Mutant(
        "an edit runs as the difference that was looked at",
        DECISIONS,
        "if ruling.becomes and ruling.becomes != digest:",
        "if False:",
        _in("edit_pages", "a_default_that_came_after_the_look_is_not_run"),
    ),
    # --- Secrets -------------------------------------------------------------------------------------------
    Mutant(
        "secrets are masked on the card",
        PRESENTATION,
        "_row(name, value if shown else masked)",
        "_row(name, value)",
        _in("card_pages", "a_secret_is_on_no_page"),
    ),
    Mutant(
        "secrets are masked in the chat",
        PRESENTATION,
        "_row(name, value if shown else masked)",
        "_row(name, value)",
        _in("much", "a_chat_shows_no_secret"),
    ),
    Mutant(
        "secrets are masked in the beginning of what is too long",
        PRESENTATION,
        "json.dumps(hide_in(value), indent=2, ensure_ascii=False)",
        "json.dumps(value, indent=2, ensure_ascii=False)",
        _in("much", "a_chat_shows_no_secret"),
    ),
    Mutant(
        "secrets are masked in the lines of lists and files",
        PRESENTATION,
        "    value = hide(name, _start(value))[0]\n",
        "    value = _start(value)\n",
        _in("much", "a_line_holds_no_secret"),
    ),
    Mutant(
        "who looks at a secret is in the audit trail",
        "approvals/actions/secrets.py",
        '        audit.record("secret.revealed", user.get_username(), call=call, argument=storable(name))\n',
        "        pass\n",
        _in("card_pages", "it_is_shown_on_demand_and_that_is_written_down"),
    ),
    Mutant(
        "an error does not quote a secret",
        "approvals/actions/edits.py",
        'message = f"does not match {problem.validator}" if quotes else problem.message',
        "message = problem.message",
        _in("edit_pages", "an_error_about_a_hidden_value_that_was_there_before_does_not_quote_it"),
    ),
    Mutant(
        "a cell of the file is no formula",
        "approvals/history_views.py",
        """return first + FORMULA.sub(r"\\1'", cell)""",
        "return cell",
        _in("history", "no_cell_is_a_formula"),
    ),
    # --- Messages ------------------------------------------------------------------------------------------
    Mutant(
        "a mail holds no argument",
        LETTERS,
        'f"- {_line(call, now)}"',
        'f"- {_line(call, now)} {call.arguments}"',
        _in("announcing", "a_mail_holds_no_argument_and_no_way_to_decide"),
    ),
    Mutant(
        "a link in a mail opens a page and no more",
        LETTERS,
        'return reverse("approvals:call", args=[call.pk])',
        'return reverse("approvals:decide", args=[call.pk])',
        _in("announcing", "a_mail_holds_no_argument_and_no_way_to_decide"),
    ),
    Mutant(
        "a flood is one digest",
        "approvals/actions/announcing.py",
        "free_at=Now() + settings.NOTICE_PAUSE, failures=0",
        "free_at=Now(), failures=0",
        _in("announcing", "a_flood_is_one_digest_and_another_after_ten_minutes"),
    ),
    # --- The chat ------------------------------------------------------------------------------------------
    Mutant(
        "a question is answered by the person whose chat it is",
        "agents/actions/answers.py",
        "filter(pk=question_id, session=session, session__user=user)",
        "filter(pk=question_id, session=session)",
        _in("chat_questions", "nobody_answers_for_its_user"),
    ),
    Mutant(
        "a call is decided in its own chat",
        "agents/views.py",
        "    _own_call(found, call_id)\n    try:\n        decisions.decide(",
        "    try:\n        decisions.decide(",
        _in("chat_deciding", "a_call_of_another_chat_is_not_decided_here"),
    ),
    Mutant(
        "what is masked is not offered to be decided in the chat",
        "agents/deciding.py",
        'return "Some of it is hidden here." if secrets_in(call.arguments) else ""',
        'return ""',
        _in("chat_deciding", "what_is_not_shown_whole_is_decided_on_the_desk"),
    ),
    Mutant(
        "only whoever asked reminds",
        "approvals/actions/nudging.py",
        "filter(pk=call_id, requested_by=user)",
        "filter(pk=call_id)",
        _in("chat_deciding", "only_whoever_asked_reminds"),
    ),
    Mutant(
        "they are reminded once in ten minutes",
        "approvals/actions/nudging.py",
        "ToolCall.objects.filter(rested, overdue, pk=call.pk",
        "ToolCall.objects.filter(overdue, pk=call.pk",
        _in("chat_deciding", "it_reminds_once_in_ten_minutes"),
    ),
    Mutant(
        "files of another chat are not read",
        "agents/tools/workspace.py",
        "    if of_another_chat(place):\n",
        "    if False:\n",
        _in("chat_attachments", "other_chats_do_not_get_it"),
    ),
    Mutant(
        "files of another chat are not listed",
        "agents/tools/workspace.py",
        "            folders[:] = [name for name in folders if not of_another_chat(Path(parent) / name)]\n",
        "",
        _in("chat_attachments", "other_chats_do_not_get_it"),
    ),
)
