"""One of the calls that are decided together is left out: shown, and not decided."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from approvals.states import Status
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
