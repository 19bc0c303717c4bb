"""One of the calls that are decided together is left out: shown, and not decided."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from django.urls import reverse

from approvals.states import Status
from tests import desk
from tests.integration.test_queue_list import fresh, keys, mails
from tests.integration.test_queue_pages import htmx, text


@pytest.fixture
def as_rita(client, rita):
    client.force_login(rita)
    return client


def items(card):
    return [set(re.findall(r'name="item" value="([^"]+)"', form)) for form in card.split("<form")[1:]]


def test_one_is_left_out_and_not_decided(as_rita, alice):
    calls = mails(alice)
    address = f"/approvals/together/?ids={','.join(keys(*calls))}"
    whole = text(as_rita.get(address))
    first, second, third = keys(*calls)
    assert f"&amp;out={second}" in whole
    card = text(htmx(as_rita, f"{address}&out={second}", "desk-detail"))
    assert "Approve these 2" in card and "Deny these 2" in card and "× 2" in card
    assert calls[1].arguments["to"] in card  # it is there to be taken back in
    assert f'id="out-{second}" href="{address}&amp;out="' in card
    assert f"&amp;out={first},{second}" in card
    assert f"&amp;out={second}&amp;seen=" in card
    shown = {f"{call.pk}:{call.version}:{call.digest}" for call in (calls[0], calls[2])}
    assert [each for each in items(card) if each] == [shown, shown]
    sent = {"choice": "deny", "ids": ",".join(keys(*calls)), "item": sorted(shown)}
    refused = as_rita.post(reverse("approvals:decide_together"), {**sent, "comment": ""})
    assert refused.status_code == 422
    assert [each for each in items(text(refused)) if each] == [shown, shown]
    assert calls[1].arguments["to"] in text(refused)
    as_rita.post(reverse("approvals:decide_together"), {**sent, "comment": "No."})
    assert [call.status for call in fresh(calls)] == [Status.DENIED, Status.PENDING, Status.DENIED]


def test_it_takes_two_that_are_not_left_out(as_rita, alice):
    calls = mails(alice)
    address = f"/approvals/together/?ids={','.join(keys(*calls))}&out="
    one = text(as_rita.get(address + ",".join(keys(*calls[:2]))))
    assert "One is left." in one and "Approve these" not in one
    assert f'href="/approvals/{calls[2].pk}/"' in one.split('id="too-few"')[1].split("</p>")[0]
    assert "All are left out." in text(as_rita.get(address + ",".join(keys(*calls))))
    assert "Approve these 3" in text(as_rita.get(address + "nonsense,x"))


def test_what_is_approved_says_that_it_waits_for_the_one_that_was_left_out(as_rita, alice, rita):
    calls = mails(alice, run=str(uuid4()))
    sent = {"choice": "approve", "item": [f"{call.pk}:{call.version}:{call.digest}" for call in calls[:2]]}
    result = as_rita.post(reverse("approvals:decide_together"), sent, follow=True)
    assert "runs once the other calls of the same turn are decided, too" in text(result)
    assert "Undo both" in text(result)
    first = reverse("approvals:call", args=[calls[0].pk])
    assert "It runs once the other call of the same turn is decided, too." in text(as_rita.get(first))
    desk.deny(fresh(calls)[2], rita)
    assert "It runs as soon as the agent goes on." in text(as_rita.get(first))


def test_what_is_left_of_several_is_there_to_be_looked_at(as_rita, alice, remy):
    calls = mails(alice)
    address = f"/approvals/together/?ids={','.join(keys(*calls))}"
    desk.deny(calls[0], remy)
    desk.deny(calls[1], remy)
    card = text(htmx(as_rita, address, "desk-detail"))
    left = card.split('id="members"')[1].split("</ol>")[0]
    assert f'href="/approvals/{calls[2].pk}/"' in left and f">to {calls[2].arguments['to']}" in left
    assert not any(call.arguments["to"] in card for call in calls[:2])
    assert "not together any more: one still waits." in card and "data-decision" not in card
    desk.deny(calls[2], remy)
    card = text(htmx(as_rita, address, "desk-detail"))
    assert "not together any more: all of them are decided." in card and 'id="members"' not in card
