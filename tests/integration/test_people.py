"""People: who may sign in, and what is written down of them and of who changes them."""

import json

import pytest
from axes.models import AccessAttempt
from django.contrib.auth import authenticate
from django.contrib.auth.models import Group, Permission, User
from django.contrib.auth.signals import user_login_failed
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from agents.models import Agent
from approvals.actions import tokens
from approvals.errors import Refusal
from approvals.models import AuditEntry, Tool
from approvals.permissions import ADMINISTRATORS, CHAT_USERS, DEMO_PEOPLE
from approvals.policy import REVIEWERS
from tests.desk import MAIL, approve, chat, deny, kinds, pending
from tests.fakes.model import Use

SECRET = "correct horse 7 battery"
OURS = (CHAT_USERS, REVIEWERS, ADMINISTRATORS)


@pytest.fixture
def clara(desk):
    """A real person who chats: not one of the demo's."""
    user = User.objects.create_user("clara", password=SECRET)
    user.groups.add(Group.objects.get(name=CHAT_USERS))
    return user


@pytest.fixture
def root(desk):
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def sign_in(client, name, password):
    return client.post("/login/", {"username": name, "password": password})


def address(model, action, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{action}", args=args)


def change(client, row, **wanted):
    """Saves the row's form with these fields changed; returns the new audit entries."""
    page = address(type(row), "change", row.pk)
    form = client.get(page).context["adminform"].form
    fields = {name: form[name].value() for name in form.fields}
    fields = {**fields, **wanted}
    fields = {name: value for name, value in fields.items() if value not in (None, False)}
    if "parameters" in fields:
        fields["parameters"] = fields["parameters"] if isinstance(fields["parameters"], str) else "{}"
    if "date_joined" in form.fields:
        fields |= {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    last = AuditEntry.objects.order_by("seq").last()
    response = client.post(page, fields)
    assert response.status_code == 302, response.context["adminform"].form.errors
    return list(AuditEntry.objects.filter(seq__gt=last.seq if last else 0).order_by("seq"))


def differs(entry):
    """What the entry says has changed: {name: (before, after)}."""
    before, after = entry.data["before"], entry.data["after"]
    return {name: (before[name], after[name]) for name in after if before[name] != after[name]}


# --- The demo's people ---------------------------------------------------------------------------------------
def test_everybody_signs_in_with_the_demo(client, clara):
    assert DEMO_PEOPLE in User.objects.get(username="alice").groups.values_list("name", flat=True)
    for name, password in (("alice", "nod"), ("clara", SECRET)):
        assert sign_in(Client(), name, password).status_code == 302


def test_demo_people_do_not_sign_in_without_the_demo(clara, settings):
    """Everybody knows their password."""
    settings.DEMO = False
    for name in ("alice", "rita", "admin"):
        browser = Client()
        assert sign_in(browser, name, "nod").status_code == 200
        assert "_auth_user_id" not in browser.session
        browser.post("/admin/login/", {"username": name, "password": "nod"})
        assert "_auth_user_id" not in browser.session
        assert authenticate(RequestFactory().post("/login/"), username=name, password="nod") is None
    assert sign_in(Client(), "clara", SECRET).status_code == 302


def test_demo_people_lose_their_session_without_the_demo(clara, alice, settings):
    browsers = {"alice": Client(), "clara": Client()}
    sign_in(browsers["alice"], "alice", "nod")
    sign_in(browsers["clara"], "clara", SECRET)
    assert all(browser.get("/chat/").status_code == 200 for browser in browsers.values())
    settings.DEMO = False
    assert browsers["alice"].get("/chat/").status_code == 302
    assert browsers["clara"].get("/chat/").status_code == 200


def test_demo_people_lose_their_tokens_without_the_demo(client, clara, alice, token, settings):
    headers = {user.username: token(user, "chat", "review") for user in (alice, clara)}
    keys = {name: each["Authorization"].split()[1] for name, each in headers.items()}
    assert all(tokens.find(key) for key in keys.values())
    settings.DEMO = False
    assert tokens.find(keys["alice"]) is None
    assert tokens.find(keys["clara"])
    answers = {
        name: client.post(
            "/api/v1/sessions", {"agent": "assistant"}, "application/json", headers=each
        ).status_code
        for name, each in headers.items()
    }
    assert answers == {"alice": 401, "clara": 201}


# --- Changes by administrators -------------------------------------------------------------------------------
@pytest.mark.parametrize(("page_of", "status"), [("alice", 409), ("clara", 200), ("", 200)])
def test_a_page_of_somebody_else_is_loaded_anew(client, clara, alice, page_of, status):
    """They signed in in another tab; what the old page does would be done in their name."""
    client.force_login(clara)
    person = str(User.objects.get(username=page_of).pk) if page_of else ""
    headers = {"HX-Request": "true", "HX-Target": "chat", "X-Nod-Person": person}
    response = client.get(reverse("agents:new"), headers=headers)
    assert response.status_code == status
    assert response.headers.get("HX-Refresh") == ("true" if status == 409 else None)


def test_it_writes_down_a_changed_group_of_a_person(office, clara):
    group = Group.objects.get(name=REVIEWERS)
    [entry] = change(office, clara, groups=[group.pk])
    assert (entry.kind, entry.actor, entry.data["after"]["user"]) == ("person.changed", "admin", "clara")
    assert differs(entry) == {"groups": ([CHAT_USERS], [REVIEWERS])}


def test_it_writes_down_who_was_switched_off(office, clara):
    [entry] = change(office, clara, is_active=False)
    assert differs(entry) == {"active": (True, False)}
    clara.refresh_from_db()
    assert not clara.is_active


def test_it_writes_down_a_new_password_and_shows_none(office, clara):
    old = clara.password
    last = AuditEntry.objects.latest("seq").seq
    new = "another horse 8 staple"
    fields = {"password1": new, "password2": new, "usable_password": "true"}
    assert office.post(address(User, "password_change", clara.pk), fields).status_code == 302
    [entry] = AuditEntry.objects.filter(seq__gt=last)
    assert (entry.kind, entry.actor) == ("person.changed", "admin")
    assert differs(entry).keys() == {"password"}
    clara.refresh_from_db()
    assert clara.check_password(new)
    hashes = {part for hashed in (old, clara.password) for part in (hashed, *hashed.split("$")[1:])}
    assert not [word for word in (SECRET, new, *hashes) if word in json.dumps(entry.data)]


def test_it_writes_down_a_new_person(office, desk):
    fields = {"username": "dora", "password1": SECRET, "password2": SECRET, "usable_password": "true"}
    assert office.post(address(User, "add"), fields).status_code == 302
    entry = AuditEntry.objects.filter(kind="person.changed").latest("seq")
    assert (entry.actor, entry.data["before"], entry.data["after"]["user"]) == ("admin", None, "dora")
    hashed = User.objects.get(username="dora").password
    assert not [word for word in (SECRET, hashed, hashed.split("$")[-1]) if word in json.dumps(entry.data)]


def test_it_writes_nothing_down_of_a_person_that_stayed_the_same(office, clara):
    assert change(office, clara) == []


def test_it_keeps_a_person_as_they_were_when_it_cannot_write_it_down(office, clara, monkeypatch):
    def broken(*args):
        raise OSError("the disk is full")

    page = address(User, "password_change", clara.pk)
    monkeypatch.setattr("approvals.audit.write", broken)
    with pytest.raises(OSError, match="full"):
        office.post(page, {"password1": SECRET + "!", "password2": SECRET + "!", "usable_password": "true"})
    clara.refresh_from_db()
    assert clara.check_password(SECRET)


def test_it_writes_down_a_changed_group(root, office, desk):
    group = Group.objects.create(name="finance")
    right = Permission.objects.get(codename="review_toolcall")
    [entry] = change(office, group, name="finances")
    assert (entry.kind, entry.actor, differs(entry)) == (
        "group.changed",
        "admin",
        {"group": ("finance", "finances")},
    )
    [entry] = change(root, group, permissions=[right.pk])
    assert (entry.actor, differs(entry)) == ("root", {"rights": ([], ["review_toolcall"])})


def test_it_writes_down_a_changed_agent(office, agent):
    [entry] = change(office, agent, system_prompt="Be brief.", max_steps=7)
    assert (entry.kind, entry.actor) == ("agent.changed", "admin")
    changed = differs(entry)
    assert changed["max_steps"] == (20, 7)
    assert changed["system_prompt"][1] == "Be brief."
    [entry] = change(office, agent, tools=[Tool.objects.get(name="get_weather").pk])
    assert differs(entry)["tools"][1] == ["get_weather"]


def test_it_writes_down_a_changed_risk(office, desk):
    tool = Tool.objects.get(name="get_weather")
    [entry] = change(office, tool, risk="high")
    assert (entry.kind, entry.actor, entry.data["after"]["tool"]) == ("tool.changed", "admin", "get_weather")
    assert differs(entry) == {"risk": ("low", "high")}


# --- What nobody changes -------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("who", ["admin", "root"])
def test_it_keeps_the_names_of_the_groups_that_nod_needs(office, root, who, name):
    group = Group.objects.get(name=name)
    browser = office if who == "admin" else root
    assert "name" not in browser.get(address(Group, "change", group.pk)).context["adminform"].form.fields
    browser.post(address(Group, "change", group.pk), {"name": "other"})
    group.refresh_from_db()
    assert group.name == name


@pytest.mark.parametrize("who", ["admin", "root"])
def test_it_deletes_no_group_that_nod_needs(office, root, who):
    browser = office if who == "admin" else root
    groups = Group.objects.filter(name__in=OURS)
    for group in groups:
        assert browser.post(address(Group, "delete", group.pk), {"post": "yes"}).status_code == 403
    fields = {"action": "delete_selected", "post": "yes", "_selected_action": [g.pk for g in groups]}
    browser.post(address(Group, "changelist"), fields)
    assert groups.count() == 3


@pytest.mark.parametrize("name", ["reviewers|finance", "|", "a|"])
def test_it_takes_no_group_that_could_pass_for_two(office, desk, name):
    """A call keeps its groups as |name|name|: this one would let reviewers decide for finance."""
    response = office.post(address(Group, "add"), {"name": name})
    assert response.status_code == 200
    assert "cannot have a |" in response.context["adminform"].form.errors["name"][0]
    group = Group.objects.create(name="finance")
    assert office.post(address(Group, "change", group.pk), {"name": name}).status_code == 200
    assert not Group.objects.filter(name=name).exists()


def test_it_deletes_another_group(root):
    group = Group.objects.create(name="finance")
    root.post(address(Group, "delete", group.pk), {"post": "yes"})
    assert not Group.objects.filter(name="finance").exists()
    entry = AuditEntry.objects.filter(kind="group.changed").latest("seq")
    assert (entry.data["before"]["group"], entry.data["after"]) == ("finance", None)


def test_it_keeps_the_slug_of_an_agent(office, agent):
    """Policies name agents by it: one that changed would be under none of them."""
    fields = {
        "name": "Assistant", "slug": "other", "provider": "", "parameters": "{}", "max_steps": "5",
        "runtime": "local", "active": "on",
    }  # fmt: skip
    assert office.post(address(Agent, "change", agent.pk), fields).status_code == 302
    agent.refresh_from_db()
    assert (agent.slug, agent.max_steps) == ("assistant", 5)


def test_an_administrator_gives_no_rights(office, clara):
    """Neither to a group nor to a person: it would be a way up."""
    right = Permission.objects.get(codename="delete_user")
    group = Group.objects.create(name="finance")
    ours = Group.objects.get(name=ADMINISTRATORS)
    before = set(ours.permissions.all())
    for each in (group, ours):
        assert (
            "permissions"
            not in office.get(address(Group, "change", each.pk)).context["adminform"].form.fields
        )
        office.post(address(Group, "change", each.pk), {"name": each.name, "permissions": [right.pk]})
    office.post(address(Group, "add"), {"name": "new", "permissions": [right.pk]})
    change(office, clara, user_permissions=[right.pk], is_superuser="on")
    assert set(ours.permissions.all()) == before
    assert not Permission.objects.filter(group__name__in=["finance", "new"]).exists()
    clara.refresh_from_db()
    assert not clara.is_superuser
    assert not clara.user_permissions.exists()


# --- Sign-ins and refusals -----------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_it_writes_down_who_signs_in_and_out(transactional_db, clara):
    browser = Client()
    sign_in(browser, "clara", "wrong horse")
    sign_in(browser, "clara", SECRET)
    browser.post("/logout/")
    found = list(AuditEntry.objects.filter(kind__startswith="person.").order_by("seq"))
    assert [(entry.kind, entry.actor) for entry in found] == [
        ("person.sign_in_failed", "clara"),
        ("person.signed_in", "clara"),
        ("person.signed_out", "clara"),
    ]
    assert "horse" not in json.dumps([entry.data for entry in found])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["NUL \0", "half \ud800", "x" * 5000, "<script>"], ids=ascii)
def test_it_writes_down_a_failed_sign_in_of_any_name(transactional_db, desk, name):
    user_login_failed.send(sender=__name__, credentials={"username": name, "password": "***"}, request=None)
    entry = AuditEntry.objects.get(kind="person.sign_in_failed")
    assert 0 < len(entry.actor) <= 150


@pytest.mark.django_db(transaction=True)
def test_it_writes_down_refused_decisions(transactional_db, model, alice, rita, remy, admin):
    """In a transaction of its own: that of the decision is rolled back."""
    model.play(Use("send_email", MAIL))
    call = pending(chat(alice))
    for who in (admin, alice):
        with pytest.raises(Refusal):
            approve(call, who)
    deny(call, rita)
    with pytest.raises(Refusal):
        approve(call, remy)
    entries = AuditEntry.objects.filter(kind="decision.refused").order_by("seq")
    assert [(entry.actor, entry.data) for entry in entries] == [
        ("admin", {"code": "not_a_reviewer", "choice": "approve"}),
        ("alice", {"code": "not_a_reviewer", "choice": "approve"}),
        ("remy", {"code": "already_decided", "choice": "approve"}),
    ]
    assert {(entry.call, entry.tool, entry.session) for entry in entries} == {
        (str(call.pk), "send_email", call.session)
    }
    assert kinds(call=str(call.pk)).count("decision.made") == 1


# --- Wrong passwords, again and again ----------------------------------------------------------------------
def try_password(name, password, address="127.0.0.1"):
    return Client(REMOTE_ADDR=address).post("/login/", {"username": name, "password": password})


@pytest.fixture
def locked(desk, settings):
    """Somebody tried as rita, too often."""
    for _ in range(settings.AXES_FAILURE_LIMIT):
        answer = try_password("rita", "wrong")
    return answer


def test_it_takes_no_password_after_so_many_wrong_ones(locked):
    assert locked.status_code == 429
    assert "tried too often" in locked.content.decode()
    assert "15 minutes" in locked.content.decode()
    assert try_password("rita", "nod").status_code == 429
    assert AuditEntry.objects.filter(kind="person.locked_out", actor="rita").exists()


def test_nobody_is_locked_out_by_somebody_elsewhere(locked):
    assert try_password("rita", "nod", "127.0.0.2").status_code == 302
    assert try_password("remy", "nod").status_code == 302


def test_it_ends_after_a_while(locked, settings):
    AccessAttempt.objects.update(attempt_time=timezone.now() - settings.AXES_COOLOFF_TIME)
    assert try_password("rita", "nod").status_code == 302


def test_the_administrators_door_is_the_same(desk, settings):
    for _ in range(settings.AXES_FAILURE_LIMIT):
        Client().post("/admin/login/", {"username": "admin", "password": "wrong"})
    assert try_password("admin", "nod").status_code == 429


def test_a_right_password_forgets_wrong_ones(desk, settings):
    for _ in range(3):
        for _ in range(settings.AXES_FAILURE_LIMIT - 1):
            try_password("rita", "wrong")
        assert try_password("rita", "nod").status_code == 302


def test_an_administrator_lets_people_try_again(locked, office, rita):
    form = {"action": "unlock", "_selected_action": [rita.pk]}
    assert office.post("/admin/auth/user/", form).status_code == 302
    assert try_password("rita", "nod").status_code == 302
    entry = AuditEntry.objects.get(kind="person.unlocked")
    assert (entry.actor, entry.data["person"]) == ("admin", "rita")


@pytest.mark.parametrize(
    "name", ["\0", "x" * 5000, "r\u202eita", "'; drop table", ""], ids=["NUL", "long", "bidi", "SQL", "none"]
)
def test_any_name_may_be_wrong(desk, name):
    headers = {"User-Agent": "x" * 5000, "Accept": "y" * 5000}
    sent = {"username": name, "password": "wrong"}
    for _ in range(2):
        assert Client(headers=headers).post("/login/", sent).status_code == 200
