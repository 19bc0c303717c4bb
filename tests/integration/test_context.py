"""What a card tells beside the arguments: whose words led to the call, what was decided on others like it."""

from __future__ import annotations

import pytest

from approvals.actions.calls import PROMPT_KEPT
from approvals.likeness import alike, reasons
from approvals.models import ToolCall
from approvals.states import Choice, Status
from tests import desk
from tests.integration.test_queue_pages import MAIL, ask, page_of, settle, text


@pytest.fixture
def as_rita(client, rita):
    client.force_login(rita)
    return client


def test_it_keeps_the_person_s_words_with_the_call(as_rita, alice):
    desk.chat(alice, "Email dev@example.com about <b>the launch</b>")
    call = ToolCall.objects.get()
    assert call.prompt == "Email dev@example.com about <b>the launch</b>"
    html = text(as_rita.get(page_of(call)))
    assert "What alice wrote" in html
    assert "about &lt;b&gt;the launch&lt;/b&gt;" in html


def test_it_keeps_the_words_of_this_run_and_only_so_many(alice):
    session = desk.chat(alice, "What is the weather in Brno?")
    desk.chat(alice, "Email dev@example.com about " + "x" * 3000, session)
    call = ToolCall.objects.get(tool="send_email")
    assert call.prompt.startswith("Email dev@")
    assert len(call.prompt) == PROMPT_KEPT


def test_it_finds_what_was_decided_on_calls_like_this(as_rita, alice, remy):
    same, other, far = (
        ask(alice),
        ask(alice, {**MAIL, "to": "x@example.com"}),
        ask(alice, dict.fromkeys(MAIL, "?")),
    )
    settle(other, remy, Choice.DENY, Status.DENIED, "No.")
    settle(same, remy)
    settle(far, remy)
    call = ask(alice)
    found = alike(call, remy)
    assert [(each.call.pk, each.differs) for each in found] == [(same.pk, ()), (other.pk, ("to",))]
    html = text(as_rita.get(page_of(call)))
    assert "Exactly the same</a>: approved by remy" in html
    assert "The same but for to</a>: denied by remy" in html


@pytest.mark.parametrize("change", [{"agent": "another"}, {"groups": "|finance|"}, {"tool": "read_file"}])
def test_it_tells_of_no_other_agent_or_tool_nor_of_what_the_reviewer_may_not_see(alice, rita, remy, change):
    other = ask(alice)
    settle(other, remy)
    assert alike(ask(alice), rita)
    ToolCall.objects.filter(pk=other.pk).update(**change)
    assert not alike(ask(alice), rita)


def test_reasons_are_short_recent_and_honest(as_rita, alice, rita, remy):
    for words in ("Too early.", "x" * 200, "Too early.", "Ask \u202elegal.", "Not to lists."):
        settle(ask(alice), remy, Choice.DENY, Status.DENIED, words)
    hidden = ask(alice, groups="|finance|")
    settle(hidden, remy, Choice.DENY, Status.DENIED, "Secret.")
    call = ask(alice)
    assert reasons(call, rita) == ["Not to lists.", "Too early."]
    assert 'data-reason="Too early."' in text(as_rita.get(page_of(call)))


def test_the_undo_of_a_denial_ends(as_rita, alice, rita):
    call = desk.deny(ask(alice), rita)
    assert 'id="undo-form" data-until="' in text(as_rita.get(page_of(call)))
