"""Who may open what, and what auditors may not: every page by every role."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from agents.models import Session
from approvals.actions import trust as trust_actions
from approvals.actions.tools import look_at, register
from approvals.definitions import Definition
from approvals.errors import SelfApproval
from approvals.models import Decision, Tool, ToolCall, ToolPolicy, TrustGrant
from approvals.states import Effect, Risk, Status
from tests.desk import asks, chat, pending, statuses, trust, work
from tests.fakes.model import Use

PAGES = [
    "/", "/chat/", "/approvals/", "/approvals/history/", "/approvals/trust/", "/approvals/{call}/", "/audit/",
    "/admin/", "/admin/approvals/toolpolicy/", "/admin/approvals/toolpolicy/add/",
    "/admin/approvals/toolpolicy/try/?call={call}", "/admin/approvals/toolpolicy/suggestions/",
    "/admin/approvals/tool/", "/admin/approvals/toolcall/", "/admin/auth/user/", "/admin/agents/agent/",
]  # fmt: skip
OK, HOME, NO, SIGN_IN, GONE = 200, "home", 403, "sign in", 404
ROLES = {
    "chat users": [HOME, OK, NO, NO, NO, NO, NO, *[SIGN_IN] * 9],
    "reviewers": [HOME, GONE, OK, OK, OK, OK, NO, *[SIGN_IN] * 9],
    "finance": [HOME, GONE, OK, OK, OK, GONE, NO, *[SIGN_IN] * 9],
    "auditors": [HOME, GONE, OK, OK, OK, OK, OK, OK, OK, NO, OK, OK, OK, OK, NO, NO],
    "administrators": [HOME, GONE, OK, OK, OK, OK, OK, OK, OK, OK, OK, OK, OK, OK, OK, OK],
    "nobody": [OK, GONE, NO, NO, NO, NO, NO, *[SIGN_IN] * 9],
}
STAFF = {"auditors", "administrators"}


def somebody(*groups):
    user = User.objects.create_user("-".join(groups) or "nobody", is_staff=bool(STAFF & set(groups)))
    user.groups.set(Group.objects.filter(name__in=groups))
    return user


def browser(user):
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def finance(desk):
    """Reviewers of calls that are not in this desk's queue."""
    group = Group.objects.create(name="finance")
    group.permissions.set(Group.objects.get(name="reviewers").permissions.all())
    return group


@pytest.fixture
def session(model, alice, rita):
    """One call waits, another is trusted."""
    model.play(asks(), asks(subject="Another"), "Done.")
    session = chat(alice)
    trust(pending(session), rita, trust_uses=1)
    work()
    return session


@pytest.fixture
def call(session, model, alice):
    model.play(asks(subject="A third"))
    chat(alice, "One more.", session)
    return pending(session)


def answer(client, address):
    response = client.get(address)
    if response.status_code != 302:
        return response.status_code
    return SIGN_IN if "/login/" in response["Location"] else HOME


@pytest.mark.parametrize("role", ROLES)
def test_it_opens_what_the_role_may_open(call, finance, role):
    client = browser(somebody(*([role] if role != "nobody" else [])))
    assert [answer(client, page.format(call=call.pk)) for page in PAGES] == ROLES[role]


def everything():
    return [
        list(each.objects.order_by("pk").values())
        for each in (ToolCall, Decision, TrustGrant, ToolPolicy, Tool)
    ]


def test_an_auditor_sees_every_call_and_changes_nothing(call):
    auditor = browser(somebody("auditors"))
    html = auditor.get(f"/approvals/{call.pk}/").content.decode()
    assert "Only reviewers may decide this call." in html
    assert 'id="approve-form"' not in html
    before = everything()
    form = {
        "choice": "approve",
        "version": call.version,
        "digest": call.digest,
        "comment": "x",
        "outcome": "give_up",
    }
    policy, grant, tool = ToolPolicy.objects.first(), TrustGrant.objects.get(), Tool.objects.first()
    assert policy
    assert tool
    for address in (
        f"/approvals/{call.pk}/decide",
        f"/approvals/{call.pk}/undo",
        f"/approvals/{call.pk}/settle",
        f"/approvals/trust/{grant.pk}/revoke",
        f"/admin/approvals/toolpolicy/{policy.pk}/change/",
        f"/admin/approvals/toolpolicy/{policy.pk}/delete/",
        "/admin/approvals/toolpolicy/add/",
        f"/admin/approvals/tool/{tool.pk}/change/",
        f"/admin/approvals/trustgrant/{grant.pk}/change/",
    ):
        assert auditor.post(address, form | {"post": "yes", "_dry_run": "1"}).status_code in (
            403,
            404,
            409,
        ), address
    assert everything() == before


def test_who_audits_and_reviews_may_decide(call):
    both = browser(somebody("auditors", "reviewers"))
    form = {"choice": "approve", "version": call.version, "digest": call.digest}
    assert both.post(f"/approvals/{call.pk}/decide", form).status_code == 302


# --- Trust -----------------------------------------------------------------------------------------------
@pytest.fixture
def grant(model, alice, rita):
    model.play(asks(), "Done.")
    session = chat(alice)
    trust(pending(session), rita, trust_same=("to",), trust_uses=5)
    work()
    return TrustGrant.objects.get()


def test_reviewers_list_what_is_trusted_and_revoke_it(grant, remy, model, alice):
    client = browser(remy)
    html = client.get("/approvals/trust/").content.decode()
    assert "dev@example.com" in html
    assert "used 0 of 5 times" in html
    assert client.post(f"/approvals/trust/{grant.pk}/revoke").status_code == 302
    grant.refresh_from_db()
    assert (grant.revoked_at is not None, grant.revoked_by) == (True, remy)
    assert "Nothing is trusted at present" in client.get("/approvals/trust/").content.decode()


@pytest.mark.parametrize(("role", "status"), [("finance", 404), ("auditors", 403), ("administrators", 302)])
def test_who_may_not_give_it_may_not_end_it(grant, finance, role, status):
    client = browser(somebody(role))
    assert client.post(f"/approvals/trust/{grant.pk}/revoke").status_code == status
    grant.refresh_from_db()
    assert (grant.revoked_at is None) is (status != 302)


@pytest.mark.parametrize(("role", "status"), [("auditors", 403), ("reviewers", 204)])
def test_the_api_keeps_to_that_too(grant, token, role, status):
    headers = token(somebody(role), "review")
    answer = Client().delete(f"/api/v1/sessions/{grant.session}/trust/{grant.pk}", headers=headers)
    assert answer.status_code == status
    grant.refresh_from_db()
    assert (grant.revoked_at is None) is (status == 403)


def test_trust_that_has_ended_says_so(grant, remy, rita):
    trust_actions.revoke(grant.pk, grant.session, rita)
    answer = browser(remy).post(f"/approvals/trust/{grant.pk}/revoke", follow=True)
    assert "That trust had been revoked already." in answer.content.decode()
    assert "Nothing is trusted at present" in answer.content.decode()


def test_the_chat_says_how_far_trust_goes(grant, alice):
    html = browser(alice).get(f"/chat/{grant.session}/").content.decode()
    assert "while this stays the same: to dev@example.com," in html


def test_revoke_takes_no_get(grant, remy):
    assert browser(remy).get(f"/approvals/trust/{grant.pk}/revoke").status_code == 405


def test_trust_in_the_same_address_covers_no_other(grant, model, alice):
    session = Session.objects.get(pk=grant.session)
    model.play([asks(subject="The same"), asks(to="other@example.com")], "Done.")
    chat(alice, "Two more.", session)
    assert statuses(session) == [Status.SUCCEEDED, Status.SUCCEEDED, Status.PENDING]
    grant.refresh_from_db()
    assert grant.uses == 1


def test_the_requester_trusts_only_where_a_policy_says_so(model, alice, rita):
    policy = ToolPolicy.objects.filter(tool="send_email")
    policy.update(requester_may_decide=True)
    alice.groups.add(Group.objects.get(name="reviewers"))
    model.play(asks())
    session = chat(alice)
    with pytest.raises(SelfApproval, match="somebody else has to trust it"):
        trust(pending(session), User.objects.get(username="alice"))
    policy.update(requester_may_trust=True)
    model.play(asks(), "Done.")
    session = chat(alice)
    trust(pending(session), User.objects.get(username="alice"))
    assert TrustGrant.objects.get().granted_by.get_username() == "alice"


def test_an_exhausted_scope_asks_again(grant, model, alice):
    TrustGrant.objects.update(uses=5)
    session = Session.objects.get(pk=grant.session)
    model.play(asks(subject="The same"))
    chat(alice, "One more.", session)
    assert pending(session)


def test_a_revoke_is_told_once(grant, rita):
    assert trust_actions.revoke(grant.pk, grant.session, rita)
    assert not trust_actions.revoke(grant.pk, grant.session, rita)


# --- The catalogue of tools ------------------------------------------------------------------------------
def test_a_new_tool_stands_out_and_is_asked_for_until_somebody_has_looked(office, model, alice, add_tool):
    def pay(amount: int) -> str:
        """Pay.

        Args:
            amount: How much.
        """
        return "Paid."

    add_tool(pay)
    tool = Tool.objects.get(name="pay")
    Tool.objects.filter(pk=tool.pk).update(looked_at="")
    model.play(Use("pay", {"amount": 1}))
    call = pending(chat(alice))
    assert (call.risk, call.effect) == (Risk.HIGH, Effect.ASK)
    assert "Nobody has looked at this tool" in call.why
    html = office.get("/admin/approvals/tool/").content.decode()
    assert "One tool is new or changed." in html
    assert "new: asked for until somebody has looked" in html
    assert office.get("/admin/approvals/tool/?looked_at=no").content.decode().count("field-state") == 1
    look_at(tool, "admin")
    model.play(Use("pay", {"amount": 1}), "Paid.")
    assert statuses(chat(alice)) == [Status.SUCCEEDED]
    assert (
        "new or changed"
        not in office.get("/admin/approvals/tool/").content.decode().split("changelist-filter")[0]
    )


def test_a_tool_that_is_there_was_seen_lately(desk):
    definition = Definition("remote", "Does it.", {"type": "object"}, provider="mcp")
    tool = register(definition, looked_at=False)
    Tool.objects.filter(pk=tool.pk).update(first_seen="2026-01-01T00:00Z", last_seen="2026-01-01T00:00Z")
    register(definition, looked_at=False)
    tool.refresh_from_db()
    assert (tool.first_seen.year, tool.first_seen.month) == (2026, 1)
    assert tool.last_seen > tool.first_seen
    assert not tool.known
