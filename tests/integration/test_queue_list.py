"""The list of the desk: its order, filters, bunches, who looks, and what a page fetches of it."""

from __future__ import annotations

import re
import time
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError
from django.db.models.functions import Now
from django.urls import reverse

from approvals.actions import attention, decisions, together
from approvals.actions import calls as call_actions
from approvals.actions.together import Seen
from approvals.alike import bunches
from approvals.errors import CommentRequired, InvalidInput, NotFound, NotTrustable, SelfApproval, TooLate
from approvals.models import Attention, Decision, ToolCall
from approvals.states import Choice, Status
from tests import desk
from tests.integration.test_queue_pages import MAIL, QUEUE, as_rita, ask, decide, htmx, page_of, text  # noqa: F401

LIST = "queue-list"


def order(html):
    waiting = html.partition('id="waiting"')[2].partition('id="lately-part"')[0]
    return re.findall(r'id="row-([0-9a-f-]{36})"', waiting)


def keys(*calls):
    return [str(call.pk) for call in calls]


def seen(*calls):
    return [Seen(call.pk, call.version, call.digest) for call in calls]


def mails(by, count=3, **fields):
    return [
        ask(by, {**MAIL, "to": f"dev{number}@example.com"}, session=f"s{number}", **fields)
        for number in range(count)
    ]


def fresh(calls):
    return [ToolCall.objects.get(pk=call.pk) for call in calls]


# --- Order --------------------------------------------------------------------------------------------


def test_risk_comes_first_then_age(as_rita, alice):  # noqa: F811
    low, medium = ask(alice, risk="low"), ask(alice, risk="medium", session="m")
    high, later = (
        ask(alice, risk="high", session="h"),
        ask(alice, risk="high", session="i", arguments={"to": "x"}),
    )
    assert order(text(as_rita.get(QUEUE))) == keys(high, later, medium, low)


def test_half_of_its_time_moves_a_call_up_once(as_rita, alice):  # noqa: F811
    high = ask(alice, risk="high")
    medium = ask(alice, session="m", halfway_at=Now() - timedelta(seconds=1))
    low = ask(alice, session="l", risk="low", halfway_at=Now() - timedelta(seconds=1))
    other = ask(alice, {"to": "x", "subject": "y"}, session="o", halfway_at=Now() + timedelta(hours=1))
    version = medium.version
    assert attention.escalate_due() == 2
    assert attention.escalate_due() == 0
    assert order(text(as_rita.get(QUEUE))) == keys(high, medium, low, other)
    medium.refresh_from_db()
    assert (medium.escalated, medium.version) == (True, version)
    assert desk.kinds(call=str(medium.pk)) == ["call.escalated"]


def test_what_is_decided_moves_up_no_more(alice, remy):
    call = ask(alice, halfway_at=Now() - timedelta(seconds=1))
    desk.approve(call, remy)
    assert attention.escalate_due() == 0


def test_the_agents_call_knows_its_half(alice, model):
    model.play([desk.asks()])
    call = desk.pending(desk.chat(alice))
    assert call.halfway_at
    assert call.expires_at
    assert call.halfway_at - call.requested_at == (call.expires_at - call.requested_at) / 2


# --- Filters ------------------------------------------------------------------------------------------


def test_filters_are_in_the_address(as_rita, alice, bob):  # noqa: F811
    mail = ask(alice, risk="high")
    other = ask(bob, tool="delete_files", arguments={"paths": ["a"]}, session="t", agent="helper")
    for query, found in [
        ("tool=send_email", [mail]),
        ("risk=high", [mail]),
        ("agent=helper", [other]),
        ("session=t", [other]),
        ("group=reviewers", [mail, other]),
        ("tool=send_email&agent=helper", []),
        ("risk=nonsense", [mail, other]),
    ]:
        html = text(as_rita.get(f"{QUEUE}?{query}"))
        assert order(html) == keys(*found), query
    assert f'href="{page_of(mail)}?tool=send_email"' in text(as_rita.get(f"{QUEUE}?tool=send_email"))
    assert "Nothing like this is waiting." in text(as_rita.get(f"{QUEUE}?tool=send_email&agent=helper"))


def test_for_me_is_what_this_person_may_decide_and_has_not(as_rita, alice, rita, remy):  # noqa: F811
    Group.objects.get(name="chat users").user_set.add(rita)
    yes, own = ask(alice), ask(rita, session="own")
    half = ask(alice, session="two", quorum=2)
    theirs = ask(rita, session="self", terms={"requester_may_decide": True})
    desk.approve(half, rita)
    html = text(as_rita.get(f"{QUEUE}?mine=1"))
    assert order(html) == keys(yes, theirs)
    assert "For me 2" in html
    assert "All 4" in html
    whole = text(as_rita.get(QUEUE))
    assert set(order(whole)) == set(keys(yes, own, half, theirs))
    assert whole.count("waits for remy") == 2
    assert str(own.pk) not in text(htmx(as_rita, f"{QUEUE}?mine=1", LIST))


def test_an_administrator_who_decides_nothing_sees_whom_a_call_waits_for(client, admin, alice, rita, remy):
    client.force_login(admin)
    ask(alice)
    html = text(client.get(QUEUE))
    assert "waits for rita or remy" in html
    assert "For me 0" in html


def test_a_filter_with_odd_characters_finds_nothing_and_breaks_nothing(as_rita, alice):  # noqa: F811
    ask(alice)
    html = text(as_rita.get(QUEUE, {"tool": "<script>\x00alert(1)</script>" * 100}))
    assert "<script>alert" not in html
    assert order(html) == []


# --- What a page fetches ------------------------------------------------------------------------------


def shown(html):
    """As static/js/list.js works it out."""
    stamps = re.findall(r'<li id="(row|late)-[0-9a-f-]{36}" data-stamp="([0-9a-f]{8})"', html)
    total = 0
    for _, stamp in stamps:
        total ^= int(stamp, 16)
    return f"{sum(kind == 'row' for kind, _ in stamps)}-{total:08x}"


def test_a_page_that_shows_what_there_is_gets_nothing(as_rita, alice, remy):  # noqa: F811
    first, second = (
        ask(alice),
        ask(alice, session="t", arguments={**MAIL, "to": "a@example.com", "subject": "b"}),
    )
    desk.approve(ask(alice, session="u"), remy)
    has = shown(text(as_rita.get(QUEUE)))
    assert htmx(as_rita, f"{QUEUE}?shown={has}", LIST).status_code == 204
    for change in (
        lambda: attention.look(first, remy),
        lambda: attention.take(second.pk, remy),
        lambda: attention.release(second.pk, remy),
        lambda: desk.approve(first, remy),
        lambda: ask(alice, session="v"),
        lambda: ToolCall.objects.filter(status=Status.APPROVED).update(status=Status.STARTED),
    ):
        change()
        answer = htmx(as_rita, f"{QUEUE}?shown={has}", LIST)
        assert answer.status_code == 200
        has = shown(text(answer))
        assert htmx(as_rita, f"{QUEUE}?shown={has}", LIST).status_code == 204


def test_a_page_with_fewer_rows_than_listed_is_up_to_date_with_the_first(as_rita, alice, monkeypatch):  # noqa: F811
    calls = mails(alice, 4)
    html = text(as_rita.get(QUEUE))
    first = re.findall(r'<li id="row-([0-9a-f-]{36})" data-stamp="([0-9a-f]{8})"', html)[:3]
    total = 0
    for _, stamp in first:
        total ^= int(stamp, 16)
    assert [pk for pk, _ in first] == keys(*calls[:3])
    assert htmx(as_rita, f"{QUEUE}?shown=3-{total:08x}-cut", LIST).status_code == 204
    assert htmx(as_rita, f"{QUEUE}?shown=3-{total:08x}", LIST).status_code == 200
    for nonsense in ("3-", "x-1", "9999999-1", "-1-0", "٣-1"):
        assert htmx(as_rita, f"{QUEUE}?shown={nonsense}", LIST).status_code == 200


def test_a_page_fetches_the_rows_that_changed(as_rita, alice, remy):  # noqa: F811
    waits, gone = ask(alice), ask(alice, session="t")
    Group.objects.create(name="finance")
    hidden = ask(alice, groups="|finance|", session="h")
    desk.deny(gone, remy, "No.")
    html = text(htmx(as_rita, f"{QUEUE}?changed={waits.pk},{gone.pk},{hidden.pk},nonsense", LIST))
    assert f'<li id="row-{waits.pk}" data-stamp=' in html
    assert f'<li id="row-{gone.pk}" class="gone">' in html
    assert "Denied by remy" in html
    assert str(hidden.pk) not in html
    assert 'id="pending" data-count="1"' in html


def test_a_row_that_passes_the_filter_no_more_is_gone(as_rita, alice, rita):  # noqa: F811
    call = ask(alice, quorum=2)
    desk.approve(call, rita)
    html = text(htmx(as_rita, f"{QUEUE}?mine=1&changed={call.pk}", LIST))
    assert f'<li id="row-{call.pk}" class="gone">' in html


def test_one_row_is_small_among_very_many(as_rita, alice):  # noqa: F811
    calls = [
        ask(alice, {**MAIL, "to": f"{number}@example.com", "body": "Long. " * 2000}, session=f"s{number}")
        for number in range(60)
    ]
    answer = htmx(as_rita, f"{QUEUE}?changed={calls[30].pk}", LIST)
    assert len(answer.content) < 10_000


# --- Who looks, who has taken it ----------------------------------------------------------------------


def test_others_see_who_looks(as_rita, alice, rita, remy, client):  # noqa: F811
    call, other = ask(alice), ask(alice, {"to": "x", "subject": "y"}, session="t")
    attention.look(call, remy)
    assert "remy is looking" in text(as_rita.get(QUEUE))
    attention.look(other, remy)
    row = text(htmx(as_rita, f"{QUEUE}?changed={call.pk},{other.pk}", LIST))
    assert row.count("remy is looking") == 1
    Attention.objects.update(at=Now() - attention.LOOKS_FOR)
    assert "is looking" not in text(as_rita.get(QUEUE))
    attention.look(other, rita)
    assert "rita is looking" not in text(as_rita.get(QUEUE))


def test_looking_is_a_post_of_somebody_who_may_see_it(as_rita, alice, client):  # noqa: F811
    call = ask(alice)
    address = reverse("approvals:look", args=[call.pk])
    assert as_rita.get(address).status_code == 405
    assert as_rita.post(address).status_code == 204
    assert Attention.objects.get().call_id == call.pk
    hidden = ask(alice, groups="|finance|", session="t")
    assert as_rita.post(reverse("approvals:look", args=[hidden.pk])).status_code == 404


def test_taking_stops_nobody(as_rita, alice, rita, remy):  # noqa: F811
    call = ask(alice)
    assert as_rita.post(reverse("approvals:take", args=[call.pk])).status_code == 302
    assert "you have taken this" in text(as_rita.get(QUEUE))
    with pytest.raises(attention.Taken, match="rita has taken this"):
        attention.take(call.pk, remy)
    desk.approve(call, remy)
    with pytest.raises(TooLate):
        attention.take(call.pk, rita)
    assert desk.kinds(kind="call.taken") == ["call.taken"]


def test_what_is_taken_is_free_again_after_a_while_or_when_it_is_left(alice, rita, remy):
    call = ask(alice)
    attention.take(call.pk, rita)
    attention.release(call.pk, remy)  # not remy's
    with pytest.raises(attention.Taken):
        attention.take(call.pk, remy)
    desk.pass_by(ToolCall.objects.filter(pk=call.pk), "taken_until")
    attention.take(call.pk, remy)
    attention.release(call.pk, remy)
    attention.take(call.pk, rita)
    assert desk.kinds(call=str(call.pk)) == ["call.taken", "call.taken", "call.released", "call.taken"]


def test_nobody_takes_their_own_request(alice, rita):
    with pytest.raises(SelfApproval):
        attention.take(ask(rita).pk, rita)


def test_the_next_call_is_one_that_nobody_has_taken(as_rita, alice, remy):  # noqa: F811
    first, second = ask(alice), ask(alice, {"to": "x", "subject": "y"}, session="t")
    attention.take(first.pk, remy)
    assert f'id="card" data-call="{second.pk}"' in text(as_rita.get(QUEUE))
    attention.take(second.pk, remy)
    assert f'id="card" data-call="{first.pk}"' in text(as_rita.get(QUEUE))


# --- Together -----------------------------------------------------------------------------------------


def test_calls_that_are_alike_are_one_row(as_rita, alice):  # noqa: F811
    calls = mails(alice)
    html = text(as_rita.get(QUEUE))
    assert f'id="bunch-{calls[0].pk}"' in html
    assert "× <span data-count>3</span>" in html
    assert "the same but for “to”" in html
    card = text(htmx(as_rita, f"/approvals/together/?ids={','.join(keys(*calls))}", "desk-detail"))
    assert "Approve these 3" in card
    assert card.count('name="item"') == 6
    for call in calls:
        assert call.arguments["to"] in card
    assert "trust" not in card.lower()


def test_they_are_decided_as_those_that_were_shown(alice, rita):
    calls = mails(alice)
    late = ask(alice, {**MAIL, "to": "late@example.com"}, session="late")
    batch, became = together.decide_together(rita, seen(*calls), Choice.APPROVE)
    assert [one.refused for one in became] == [None] * 3
    assert [call.status for call in fresh(calls)] == [Status.APPROVED] * 3
    late.refresh_from_db()
    assert late.status == Status.PENDING
    assert set(Decision.objects.values_list("batch", flat=True)) == {batch}
    assert {decision.digest for decision in Decision.objects.all()} == {call.digest for call in calls}


def test_one_that_was_decided_meanwhile_stops_no_other(alice, rita, remy):
    calls = mails(alice)
    desk.deny(calls[1], remy)
    _, became = together.decide_together(rita, seen(*calls), Choice.APPROVE)
    assert [one.refused and one.refused.code for one in became] == [None, "already_decided", None]
    assert [call.status for call in fresh(calls)] == [Status.APPROVED, Status.DENIED, Status.APPROVED]


def test_what_changed_meanwhile_is_not_decided(alice, rita):
    calls = mails(alice)
    ToolCall.objects.filter(pk=calls[0].pk).update(version=2)
    _, became = together.decide_together(rita, seen(*calls), Choice.APPROVE)
    assert [one.refused and one.refused.code for one in became] == ["stale", None, None]


def test_they_are_denied_with_one_reason_each(alice, rita):
    calls = mails(alice)
    with pytest.raises(CommentRequired):
        together.decide_together(rita, seen(*calls), Choice.DENY)
    together.decide_together(rita, seen(*calls), Choice.DENY, "Not before Monday.")
    assert [call.decision().comment for call in fresh(calls)] == ["Not before Monday."] * 3


def test_there_is_no_trust_in_bulk(alice, rita):
    with pytest.raises(NotTrustable):
        together.decide_together(rita, seen(*mails(alice)), Choice.TRUST)
    assert not Decision.objects.exists()


@pytest.mark.parametrize(
    "pick",
    [lambda calls: calls[:1], lambda calls: [], lambda calls: [calls[0], calls[0]]],
    ids=["one", "none", "twice"],
)
def test_it_takes_several(alice, rita, pick):
    with pytest.raises(InvalidInput):
        together.decide_together(rita, seen(*pick(mails(alice))), Choice.APPROVE)


def test_what_is_not_alike_is_not_decided_together(alice, rita):
    calls = [*mails(alice), ask(alice, tool="delete_files", arguments={"paths": ["a"]}, session="d")]
    with pytest.raises(InvalidInput, match="not alike"):
        together.decide_together(rita, seen(*calls), Choice.APPROVE)
    worded = mails(alice, terms={"confirm": "send"}, policy="Typed")
    with pytest.raises(InvalidInput, match="not alike"):
        together.decide_together(rita, seen(*worded), Choice.APPROVE)
    assert not Decision.objects.exists()


def test_what_a_person_does_not_see_is_not_decided_with_the_rest(alice, rita):
    calls = [*mails(alice), *mails(alice, 1, groups="|finance|")[:1]]
    with pytest.raises(NotFound):
        together.decide_together(rita, seen(*calls), Choice.APPROVE)
    assert not Decision.objects.exists()


def test_nobody_decides_their_own_in_bulk(alice, rita):
    _, became = together.decide_together(rita, seen(*mails(rita)), Choice.APPROVE)
    assert {one.refused and one.refused.code for one in became} == {"self_approval"}
    assert not Decision.objects.exists()


def test_they_are_taken_back_together(alice, rita, remy):
    calls = mails(alice)
    batch, _ = together.decide_together(rita, seen(*calls), Choice.APPROVE)
    ToolCall.objects.filter(pk=calls[0].pk).update(status=Status.STARTED)
    with pytest.raises(NotFound):
        together.undo_together(remy, batch)
    became = together.undo_together(rita, batch)
    assert [one.refused and one.refused.code for one in became] == ["too_late", None, None]
    assert [call.status for call in fresh(calls)] == [Status.STARTED, Status.PENDING, Status.PENDING]


def test_the_card_of_a_bunch_tells_of_what_it_decides(as_rita, alice, remy):  # noqa: F811
    """Not of a call in its address that is decided, or is of another tool."""
    decoy = ask(alice, {**MAIL, "body": "Lunch?"}, session="d")
    desk.approve(decoy, remy)
    files = [
        ask(alice, {"paths": [name]}, tool="delete_files", session=name, risk="high", policy="Files")
        for name in ("everything", "everything.bak")
    ]
    address = f"/approvals/together/?ids={','.join(keys(decoy, *files))}"
    assert "Approve these" not in text(htmx(as_rita, address, "desk-detail"))  # lists are not short
    notes = [
        ask(alice, {**MAIL, "subject": name}, session=name, policy="Other", risk="high")
        for name in ("a", "b")
    ]
    card = text(htmx(as_rita, f"/approvals/together/?ids={','.join(keys(decoy, *notes))}", "desk-detail"))
    assert "Approve these 2" in card
    assert "High risk" in card
    assert "Asks because of <b>Other</b>" in card
    assert "Lunch?" not in card
    assert "what is in it?" in card


def test_an_edit_of_one_of_them_is_not_told_of_the_others(as_rita, alice, remy):  # noqa: F811
    calls = mails(alice)
    desk.approve(calls[0], remy, arguments={**calls[0].arguments, "body": "Edited."})
    card = text(htmx(as_rita, f"/approvals/together/?ids={','.join(keys(*calls))}", "desk-detail"))
    assert "Edited." not in card
    assert "what is in it?" in card


def test_one_that_was_cancelled_stops_no_other(alice, rita):
    calls = mails(alice)
    call_actions.cancel(ToolCall.objects.filter(pk=calls[0].pk), "alice")
    _, became = together.decide_together(rita, seen(*calls), Choice.APPROVE)
    assert [one.refused and one.refused.code for one in became] == ["already_decided", None, None]


def test_what_was_decided_before_the_database_went_away_can_be_taken_back(alice, rita, monkeypatch):
    calls, decide = mails(alice), decisions.decide

    def breaks(call_id, *rest):
        if call_id == calls[1].pk:
            raise OperationalError("gone")
        return decide(call_id, *rest)

    monkeypatch.setattr(decisions, "decide", breaks)
    batch, became = together.decide_together(rita, seen(*calls), Choice.APPROVE)
    assert [one.call.pk for one in became] == [calls[0].pk]
    assert [one.refused for one in together.undo_together(rita, batch)] == [None]


@pytest.mark.parametrize(
    "argument",
    [
        {"body": "key AKIAIOSFODNN7EXAMPLE"},
        {"password": "hunter2"},
        {"body": "see https://bank.example@evil.example/x"},
        {"body": "x" * 30_000},
        {f"name {number}": "x" for number in range(40)},
    ],
    ids=["secret", "named secret", "misleading address", "long", "many"],
)
def test_what_takes_more_than_a_glance_is_never_decided_in_bulk(as_rita, alice, rita, argument):  # noqa: F811
    calls = [ask(alice, {**MAIL, **argument}, session=f"s{number}") for number in range(2)]
    assert "data-bunch" not in text(as_rita.get(QUEUE))
    with pytest.raises(InvalidInput):
        together.decide_together(rita, seen(*calls), Choice.APPROVE)


def test_many_calls_with_many_arguments_are_listed_at_once(alice):
    for number in range(60):
        arguments = {f"name {key}": f"{number} {key}" for key in range(30)}
        ask(alice, arguments, session=f"s{number}")
    began = time.process_time()
    bunches(list(ToolCall.objects.all()))
    assert time.process_time() - began < 1  # 0.1 s; comparing each with each took a hundred times that


def test_filters_stay_while_a_bunch_is_looked_at(as_rita, alice):  # noqa: F811
    calls = mails(alice)
    ids = ",".join(keys(*calls))
    assert f"?ids={ids}&amp;tool=send_email" in text(as_rita.get(f"{QUEUE}?tool=send_email"))
    page = text(as_rita.get(f"/approvals/together/?ids={ids}&tool=send_email"))
    assert 'class="back" href="/approvals/?tool=send_email"' in page


def test_the_queue_opens_with_the_bunch_that_comes_first(as_rita, alice):  # noqa: F811
    mails(alice)
    assert "Approve these 3" in text(as_rita.get(QUEUE))


def test_a_denial_offers_undo_only_while_the_agent_waits_for_more(as_rita, alice, model):  # noqa: F811
    model.play(desk.asks(), "Done.", [desk.asks(), desk.asks(subject="Another")], "Done.")
    alone = desk.pending(desk.chat(alice))
    assert b"undo-form" not in decide(as_rita, alone, "deny", htmx=True, comment="No.").content
    desk.work()
    first, _ = desk.calls(desk.chat(alice))
    assert b"undo-form" in decide(as_rita, first, "deny", htmx=True, comment="No.").content


def test_the_form_of_a_bunch_works_without_a_script(as_rita, alice):  # noqa: F811
    calls = mails(alice)
    items = [f"{call.pk}:{call.version}:{call.digest}" for call in calls]
    address = reverse("approvals:decide_together")
    refused = as_rita.post(address, {"choice": "deny", "item": items})
    assert refused.status_code == 422
    assert "Say why" in text(refused)
    assert as_rita.post(address, {"choice": "approve", "item": [*items, "x:1:y"]}).status_code == 422
    done = as_rita.post(address, {"choice": "approve", "item": items}, follow=True)
    assert text(done).count("Approved by rita") >= 3
    shown = re.findall(r'hx-get="(/approvals/together/[0-9a-f-]+/\?seen=[0-9a-f]+)"', text(done))
    assert htmx(as_rita, shown[0], "desk-detail").status_code == 204
    assert [call.status for call in fresh(calls)] == [Status.APPROVED] * 3


def test_the_result_says_what_came_of_each(as_rita, alice, remy):  # noqa: F811
    calls = mails(alice)
    desk.deny(calls[1], remy)
    items = [f"{call.pk}:{call.version}:{call.digest}" for call in calls]
    headers = {"HX-Request": "true", "HX-Target": "desk-detail"}
    answer = as_rita.post(
        reverse("approvals:decide_together"), {"choice": "approve", "item": items}, headers=headers
    )
    html = text(answer)
    assert html.count("Approved by rita") == 2
    assert "remy denied this before you." in html
    [undo] = re.findall(r'action="(/approvals/together/[0-9a-f-]+/undo)"', html)
    back = text(as_rita.post(undo, headers=headers))
    assert back.count("waits again") == 2


def test_the_icon_of_the_tab_holds_a_number(as_rita):  # noqa: F811
    answer = as_rita.get(reverse("approvals:favicon"), {"n": "12"})
    assert ">12</text>" in text(answer)
    assert answer["Content-Type"] == "image/svg+xml"
    for nonsense in ("<script>", "-1", "", "1e9"):
        assert ">0</text>" in text(as_rita.get(reverse("approvals:favicon"), {"n": nonsense}))
    assert ">99</text>" in text(as_rita.get(reverse("approvals:favicon"), {"n": "100"}))
