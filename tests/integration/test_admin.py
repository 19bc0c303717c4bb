"""The administrators' pages: what they change counts at the next call, and is written down."""

import re

import pytest
from django.contrib.auth.models import Group, User
from django.core import mail
from django.db.models import ProtectedError
from django.test import Client
from django.urls import reverse

from agents.models import Agent, Message, Run, Session
from approvals import audit
from approvals.actions import tokens
from approvals.models import ApiToken, AuditEntry, Decision, Tool, ToolCall, ToolPolicy, TrustGrant
from approvals.states import Status
from tests.desk import MAIL, approve, chat, only_call, pending, statuses, trust, work
from tests.fakes.model import Use

POLICY = {
    "name": "No mail", "tool": "send_*", "effect": "block", "agent": "", "provider": "", "enabled": "on",
    "open_for": "1 00:00:00", "executable_for": "00:15:00", "risk": "", "trust_expires_in": "08:00:00",
    "trust_max_uses": "",
}  # fmt: skip


def page(model, action, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{action}", args=args)


def save(client, address, fields):
    response = client.post(address, fields)
    assert response.status_code == 302, response.context["adminform"].form.errors
    return response


def run_action(client, model, action, *rows):
    fields = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return client.post(page(model, "changelist"), fields, follow=True)


def as_form(policy):
    return {**POLICY, "name": policy.name, "tool": policy.tool, "effect": policy.effect}


# --- Lists -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("facets", ["", "?_facets=True"])
def test_a_filter_names_what_is_empty(office, facets):
    """Django's own gives it a link without a word."""
    html = office.get(page(ToolPolicy, "changelist") + facets).content.decode()
    [words] = re.findall(r'<a href="\?[^"]*agent="[^>]*>([^<]*)</a>', html)
    assert re.fullmatch(r"none \(\d+\)" if facets else "none", words.strip())


# --- Policies ----------------------------------------------------------------------------------------------
def test_a_new_policy_counts_at_the_next_call(office, model, alice):
    save(office, page(ToolPolicy, "add"), POLICY)
    model.play(Use("send_email", MAIL), "I may not.")
    session = chat(alice)
    assert statuses(session) == [Status.BLOCKED]
    assert only_call(session).policy == "No mail"


def test_a_changed_policy_counts_at_the_next_call(office, model, alice):
    policy = ToolPolicy.objects.get(tool="send_email")
    save(office, page(ToolPolicy, "change", policy.pk), {**as_form(policy), "effect": "allow"})
    model.play(Use("send_email", MAIL), "Sent.")
    assert statuses(chat(alice)) == [Status.SUCCEEDED]
    assert len(mail.outbox) == 1


def test_a_disabled_policy_does_not_count(office, model, alice):
    policy = ToolPolicy.objects.get(tool="get_weather")
    fields = as_form(policy)
    del fields["enabled"]
    save(office, page(ToolPolicy, "change", policy.pk), fields)
    model.play(Use("get_weather", {}))
    assert statuses(chat(alice)) == [Status.PENDING]


def test_it_writes_down_what_was_and_what_is(office):
    policy = ToolPolicy.objects.get(tool="send_email")
    group = Group.objects.create(name="finance")
    save(
        office,
        page(ToolPolicy, "change", policy.pk),
        {**as_form(policy), "effect": "allow", "groups": [group.pk]},
    )
    entry = AuditEntry.objects.get(kind="policy.changed", actor="admin")
    before, after = entry.data["before"], entry.data["after"]
    assert (before["effect"], after["effect"]) == ("ask", "allow")
    assert (before["groups"], after["groups"]) == ([], ["finance"])
    assert {name for name in before if before[name] != after[name]} == {"effect", "groups"}


def test_it_writes_down_new_and_deleted_policies(office):
    save(office, page(ToolPolicy, "add"), POLICY)
    policy = ToolPolicy.objects.get(name="No mail")
    office.post(page(ToolPolicy, "delete", policy.pk), {"post": "yes"})
    assert not ToolPolicy.objects.filter(name="No mail").exists()
    office.post(
        page(ToolPolicy, "changelist"),
        {
            "action": "delete_selected",
            "post": "yes",
            "_selected_action": list(ToolPolicy.objects.values_list("pk", flat=True)),
        },
    )
    assert not ToolPolicy.objects.exists()
    entries = list(AuditEntry.objects.filter(kind="policy.changed", actor="admin").order_by("seq"))
    assert (entries[0].data["before"], entries[0].data["after"]["effect"]) == (None, "block")
    assert (entries[1].data["before"]["effect"], entries[1].data["after"]) == ("block", None)
    assert len(entries) == 2 + 5


def test_it_writes_nothing_down_when_nothing_changed(office):
    policy = ToolPolicy.objects.get(tool="send_email")
    save(office, page(ToolPolicy, "change", policy.pk), as_form(policy))
    before = AuditEntry.objects.count()
    save(office, page(ToolPolicy, "change", policy.pk), as_form(policy))
    assert AuditEntry.objects.count() == before


def test_it_changes_no_policy_that_it_cannot_write_down(office, monkeypatch):
    policy = ToolPolicy.objects.get(tool="send_email")

    def broken(*args):
        raise OSError("the disk is full")

    monkeypatch.setattr("approvals.audit.write", broken)
    with pytest.raises(OSError, match="full"):
        office.post(page(ToolPolicy, "change", policy.pk), {**as_form(policy), "effect": "allow"})
    policy.refresh_from_db()
    assert policy.effect == "ask"


def test_it_warns_of_a_policy_for_a_tool_that_is_not_there(office):
    response = office.post(page(ToolPolicy, "add"), {**POLICY, "tool": "sendmail"}, follow=True)
    assert "No known tool is named “sendmail”" in response.content.decode()


@pytest.mark.parametrize("wrong", [{"effect": "maybe"}, {"tool": ""}, {"open_for": "soon"}])
def test_it_refuses_a_wrong_policy(office, wrong):
    assert office.post(page(ToolPolicy, "add"), {**POLICY, **wrong}).status_code == 200
    assert not ToolPolicy.objects.filter(name="No mail").exists()


# --- What only actions write -------------------------------------------------------------------------------
@pytest.fixture
def everything(model, alice, rita):
    """A row of each kind."""
    model.play(Use("send_email", MAIL), "Done.")
    session = chat(alice)
    trust(pending(session), rita)
    work()
    tokens.create(alice, ["chat"])
    return session


@pytest.mark.parametrize("kind", [ToolCall, AuditEntry, Session, Run, Message, TrustGrant, ApiToken], ids=str)
def test_it_shows_but_never_edits(office, everything, kind):
    row = kind.objects.first()
    before = kind.objects.values().get(pk=row.pk)
    assert office.get(page(kind, "changelist")).status_code == 200
    assert office.get(page(kind, "change", row.pk)).status_code == 200
    assert office.get(page(kind, "add")).status_code == 403
    fields = dict.fromkeys(before, "1")
    assert office.post(page(kind, "change", row.pk), fields).status_code in (302, 403)
    assert office.post(page(kind, "delete", row.pk), {"post": "yes"}).status_code == 403
    run_action(office, kind, "delete_selected", row)
    assert kind.objects.values().get(pk=row.pk) == before


@pytest.mark.parametrize("kind", [ToolCall, AuditEntry, TrustGrant], ids=str)
def test_it_keeps_superusers_from_editing_too(everything, kind):
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    row = kind.objects.first()
    assert client.post(page(kind, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert client.get(page(kind, "add")).status_code == 403
    assert kind.objects.filter(pk=row.pk).exists()


def test_it_shows_the_decisions_of_a_call(office, everything):
    body = office.get(page(ToolCall, "change", only_call(everything).pk)).content.decode()
    assert "rita" in body
    assert Decision.objects.get().digest in body


def test_it_shows_no_key(office, alice, desk):
    key = tokens.create(alice, ["chat"])
    row = ApiToken.objects.get()
    for address in (page(ApiToken, "changelist"), page(ApiToken, "change", row.pk)):
        body = office.get(address).content.decode()
        assert key not in body
        assert row.hash not in body


def test_it_revokes_trust(office, everything, admin):
    run_action(office, TrustGrant, "revoke", TrustGrant.objects.get())
    grant = TrustGrant.objects.get()
    assert grant.revoked_by == admin
    assert AuditEntry.objects.filter(kind="trust.revoked", actor="admin").count() == 1


def test_it_revokes_tokens(office, everything):
    run_action(office, ApiToken, "revoke", ApiToken.objects.get())
    assert ApiToken.objects.get().revoked_at
    assert AuditEntry.objects.filter(kind="token.revoked", actor="admin").count() == 1


# --- Tools and agents --------------------------------------------------------------------------------------
def test_it_takes_note_of_who_looked_at_a_tool(office, desk):
    tool = Tool.objects.get(name="get_weather")
    Tool.objects.filter(pk=tool.pk).update(looked_at="")
    run_action(office, Tool, "mark_looked_at", tool)
    tool.refresh_from_db()
    assert tool.known
    assert AuditEntry.objects.filter(kind="tool.changed", actor="admin", tool="get_weather").count() == 1


def test_it_changes_only_the_risk_of_a_tool(office, desk):
    tool = Tool.objects.get(name="get_weather")
    fields = {"risk": "high", "description": "Harmless.", "definition": "0" * 64, "looked_at": "0" * 64}
    office.post(page(Tool, "change", tool.pk), fields)
    after = Tool.objects.get(pk=tool.pk)
    assert after.risk == "high"
    assert (after.description, after.definition, after.looked_at) == (
        tool.description,
        tool.definition,
        tool.looked_at,
    )


@pytest.mark.parametrize(
    ("wrong", "hint"), [({"provider": "oracle"}, "no provider"), ({"parameters": "[1]"}, "object")]
)
def test_it_refuses_a_wrong_agent(office, agent, wrong, hint):
    fields = {
        "name": "Clerk", "slug": "clerk", "provider": "demo", "parameters": "{}", "max_steps": "5",
        "runtime": "local", "active": "on",
    }  # fmt: skip
    response = office.post(page(Agent, "add"), {**fields, **wrong})
    assert response.status_code == 200
    assert hint in response.content.decode()
    save(office, page(Agent, "add"), fields)
    assert Agent.objects.filter(slug="clerk").exists()


# --- Who may -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("who", ["alice", "rita"])
def test_it_is_for_administrators_alone(desk, who):
    client = Client()
    client.force_login(User.objects.get(username=who))
    for kind in (ToolPolicy, Agent, ToolCall, AuditEntry):
        assert client.get(page(kind, "changelist")).status_code in (302, 403)


def test_an_administrator_makes_nobody_a_superuser(office, admin):
    """Rights are given by groups; the flag would stand above all of them."""
    admin.refresh_from_db()
    assert not admin.is_superuser
    address = reverse("admin:auth_user_change", args=[admin.pk])
    form = office.get(address).context["adminform"].form
    fields = {name: form[name].value() for name in form.fields if form[name].value() not in (None, False)}
    wanted = {**fields, "first_name": "Ada", "is_superuser": "on"}
    save(office, address, wanted | {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"})
    admin.refresh_from_db()
    assert (admin.first_name, admin.is_superuser) == ("Ada", False)


def test_an_administrator_does_not_become_a_superuser(office, desk):
    root = User.objects.create_superuser("root", password="not known to others")
    for action in ("change", "password_change"):
        address = reverse(f"admin:auth_user_{action}", args=[root.pk])
        office.post(
            address, {"password1": "taken-over-1", "password2": "taken-over-1", "usable_password": "true"}
        )
    root.refresh_from_db()
    assert root.check_password("not known to others")


def test_people_who_decided_cannot_be_deleted(everything, rita):
    with pytest.raises(ProtectedError):
        rita.delete()
    rita.refresh_from_db()


# --- Odd policies, and many at once ------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_it_deletes_many_policies_outside_a_test_s_transaction(transactional_db, office):
    names = sorted(ToolPolicy.objects.values_list("name", flat=True))
    fields = {
        "action": "delete_selected",
        "post": "yes",
        "_selected_action": list(ToolPolicy.objects.values_list("pk", flat=True)),
    }
    assert office.post(page(ToolPolicy, "changelist"), fields).status_code == 302
    assert not ToolPolicy.objects.exists()
    entries = AuditEntry.objects.filter(kind="policy.changed", actor="admin")
    assert sorted(entry.data["before"]["name"] for entry in entries) == names
    assert {entry.data["after"] for entry in entries} == {None}


@pytest.mark.django_db(transaction=True)
def test_it_deletes_all_of_them_or_none(transactional_db, office, monkeypatch):
    """The last entry cannot be written: the first policy is back too."""
    before = ToolPolicy.objects.count()
    write = audit.write
    written: list[AuditEntry] = []

    def full(*entries):
        written.extend(entries)
        if len(written) == before:
            raise OSError("the disk is full")
        write(*entries)

    monkeypatch.setattr(audit, "write", full)
    fields = {
        "action": "delete_selected",
        "post": "yes",
        "_selected_action": list(ToolPolicy.objects.values_list("pk", flat=True)),
    }
    with pytest.raises(OSError, match="full"):
        office.post(page(ToolPolicy, "changelist"), fields)
    assert ToolPolicy.objects.count() == before
    assert not AuditEntry.objects.filter(kind="policy.changed", actor="admin").exists()


@pytest.mark.parametrize("field", ["open_for", "executable_for", "trust_expires_in"])
@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("0", "greater than or equal to"),
        ("-1 00:00:00", "greater than or equal to"),
        ("00:00:00.5", "greater than or equal to"),
        ("365 00:00:01", "less than or equal to"),
        ("999999 00:00:00", "less than or equal to"),
        ("99999999999999", "less than or equal to|Write a number|must be between"),
        ("for ever", "Write a number with s, m, h or d"),
    ],
)
def test_it_refuses_a_duration_that_makes_no_sense(office, field, value, hint):
    response = office.post(page(ToolPolicy, "add"), {**POLICY, field: value})
    assert response.status_code == 200
    errors = response.context["adminform"].form.errors
    assert list(errors) == [field]
    assert re.search(hint, errors[field][0])
    assert not ToolPolicy.objects.filter(name="No mail").exists()


def test_it_takes_the_shortest_and_the_longest_duration(office, desk):
    save(office, page(ToolPolicy, "add"), {**POLICY, "open_for": "365 00:00:00", "executable_for": "1"})
    policy = ToolPolicy.objects.get(name="No mail")
    assert (policy.open_for.days, policy.executable_for.total_seconds()) == (365, 1)


def test_four_very_long_groups_may_decide(office, model, alice, rita, remy, client):
    groups = [Group.objects.create(name=(f"{letter} é, “" + letter * 150)[:150]) for letter in "abcd"]
    policy = ToolPolicy.objects.get(tool="send_email")
    fields = {**as_form(policy), "groups": [group.pk for group in groups]}
    save(office, page(ToolPolicy, "change", policy.pk), fields)
    rita.groups.add(groups[3])
    model.play(Use("send_email", MAIL), "Sent.")
    session = chat(alice)
    call = pending(session)
    assert len(call.groups) > 600
    ToolCall._meta.get_field("groups").clean(call.groups, call)  # SQLite itself would take any length
    for user, address, status in (
        (alice, f"/chat/{session.key}/", 200),
        (rita, f"/approvals/{call.pk}/", 200),
        (remy, f"/approvals/{call.pk}/", 404),
    ):
        client.force_login(user)
        assert client.get(address).status_code == status
    approve(call, User.objects.get(username="rita"))
    work()
    assert statuses(session) == [Status.SUCCEEDED]
