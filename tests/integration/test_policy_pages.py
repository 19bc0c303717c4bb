"""The administrators' pages for policies: sentences, mistakes explained, a call tried, a dry run, suggestions."""

from __future__ import annotations

import json
import re
import time
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from approvals.actions import dry_runs, policies, suggestions
from approvals.models import AuditEntry, Decision, DryRun, ToolCall, ToolPolicy
from approvals.policy_files import Entry, read, write
from approvals.states import Choice, Effect, Status
from tests.desk import MAIL, approve, asks, chat, deny, pending, statuses, work
from tests.integration.test_admin import POLICY, page, save
from tests.integration.test_queue_pages import ask, settle

TRY = "/admin/approvals/toolpolicy/try/"
SUGGESTIONS = "/admin/approvals/toolpolicy/suggestions/"
CALL = {"tool": "send_email", "agent": "assistant", "requester": "alice", "arguments": json.dumps(MAIL)}


def text(response):
    return unescape(response.content.decode())


def words(response):
    return " ".join(re.sub("<[^>]+>", " ", text(response)).split())


def errors(client, **changes):
    return client.post(page(ToolPolicy, "add"), {**POLICY, **changes}).context["adminform"].form.errors


# --- The list and the form -------------------------------------------------------------------------------
def test_it_lists_policies_as_sentences(office):
    policy = ToolPolicy.objects.create(
        name="Pay", tool="pay", effect="ask", quorum=2, when="args.amount > 1000"
    )
    policy.groups.add(Group.objects.create(name="finance"))
    assert "Ask two of finance before pay, when args.amount > 1000" in text(
        office.get(page(ToolPolicy, "changelist"))
    )


def test_it_asks_the_database_no_more_for_more_policies(office):
    def count():
        with CaptureQueriesContext(connection) as queries:
            office.get(page(ToolPolicy, "changelist"))
        return len(queries)

    count()
    before = count()
    for number in range(20):
        ToolPolicy.objects.create(name=f"p{number}", tool="x", effect="ask").groups.set(Group.objects.all())
    assert count() == before


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("when", "amount > 1000", "It speaks of “amount”. It may speak of args,"),
        ("when", "args.amount >", "It cannot be read at character 14"),
        ("when", 'args.to.matches("(")', "is no pattern"),
        ("tool", "send email", "no spaces"),
        ("tool", "!send_email", "Always ask"),
        ("name", "Pay\u202eyaP", "characters that cannot be seen"),
        ("agent", "assis\u200btant", "characters that cannot be seen"),
        ("confirm", "pay\xa0now", "characters that cannot be seen"),
        ("when", 'args.to == "\u202e"', "characters that cannot be seen"),
        ("quorum", "0", "greater than or equal to 1"),
        ("quorum", "21", "less than or equal to 20"),
        ("trust_max_uses", "0", "greater than or equal to 1"),
    ],
)
def test_it_explains_a_mistake_where_it_was_made(office, field, value, problem):
    found = errors(office, **{field: value})
    assert list(found) == [field]
    assert problem in found[field][0]


def test_a_condition_of_several_lines_can_be_exported_and_imported(office):
    """Browsers send \\r\\n."""
    save(office, page(ToolPolicy, "add"), {**POLICY, "when": 'args.to == "a"\r\n|| args.to == "b"'})
    assert ToolPolicy.objects.get(name="No mail").when == 'args.to == "a"\n|| args.to == "b"'
    assert not policies.compare(read(write(policies.stored())))


def test_it_takes_durations_as_people_write_them(office):
    save(office, page(ToolPolicy, "add"), {**POLICY, "open_for": "2h", "executable_for": "90s"})
    policy = ToolPolicy.objects.get(name="No mail")
    assert (policy.open_for.total_seconds(), policy.executable_for.total_seconds()) == (7200, 90)
    assert 'value="2h"' in text(office.get(page(ToolPolicy, "change", policy.pk)))


@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({"tool": "sendmail"}, "No known tool is named “sendmail”, or matches it"),
        ({"tool": "mail_*"}, "No known tool is named “mail_*”, or matches it"),
        ({"when": 'args.subjct == "x"'}, "has an argument named “subjct”. Did you mean subject?"),
        ({"when": 'args.zzz == "x"'}, "has an argument named “zzz”. There are: body, subject, to."),
        (
            {"agent": "asistant"},
            "There is no agent “asistant” yet; the policy waits for one. Did you mean assistant?",
        ),
        (
            {"provider": "remote"},
            "There is no provider “remote” yet; the policy waits for one. There are: elsewhere, local.",
        ),
    ],
)
def test_it_says_what_may_be_a_mistake(office, changes, doubt):
    response = office.post(page(ToolPolicy, "add"), {**POLICY, **changes}, follow=True)
    assert doubt in text(response)
    assert ToolPolicy.objects.filter(name="No mail").exists()


# --- Try a call ------------------------------------------------------------------------------------------
def test_it_tries_a_call(office):
    ToolPolicy.objects.create(name="No mail at night", tool="*", effect="block", when="now.getHours() > 99")
    said = words(office.post(TRY, CALL))
    assert "Ask Because of Ask before mail goes out . Medium risk." in said
    assert "Ask before mail goes out Ask reviewers before send_email It decides." in said
    assert "No mail at night Block every tool, when now.getHours() > 99 Its condition is not met." in said
    assert "Weather is free Allow get_weather It is about get_weather." in said


def test_it_says_why_each_other_policy_lost(office):
    ToolPolicy.objects.create(name="All", tool="*", effect="allow")
    ToolPolicy.objects.create(name="Odd", tool="send_email", effect="allow", when="args.nope == 1")
    said = words(office.post(TRY, CALL))
    assert "All Allow every tool “Ask before mail goes out” is more specific" in said
    assert "Its condition could not be checked (there is no nope), so it allows nothing." in said


def test_it_tries_with_trust(office):
    said = words(office.post(TRY, {**CALL, "trusted": "on"}))
    assert "Allow Trusted in this session." in said
    assert "Trust in this session comes before it." in said


def test_it_begins_with_the_call_of_the_link(office, alice):
    said = text(office.get(TRY, {"call": str(ask(alice).pk)}))
    assert "Allow it when to is an address at example.com" in said
    assert '"to": "dev@example.com"' in said


@pytest.mark.parametrize("call", ["nothing", "01a2044d-b983-70a6-b775-b5f0c4e659e1"])
def test_it_knows_no_call_that_is_not_there(office, call):
    assert office.get(TRY, {"call": call}).status_code == 404


def test_a_link_opens_a_narrower_policy_and_saves_nothing(office, alice, model):
    html = text(office.get(TRY, {"call": str(ask(alice).pk)}))
    [link] = [link for link in re.findall(r'<li><a href="([^"]+)"', html) if "matches" in link]
    before = ToolPolicy.objects.count()
    form = office.get(link).context["adminform"].form
    assert ToolPolicy.objects.count() == before
    assert form["effect"].value() == "allow"
    assert parse_qs(urlsplit(link).query)["when"] == [form["when"].value()]
    fields = {**POLICY, **{name: form[name].value() for name in ("name", "tool", "effect", "when")}}
    save(office, page(ToolPolicy, "add"), fields)
    model.play([asks(to="new@example.com"), asks(to="new@elsewhere.org")], "Sent.")
    assert statuses(chat(alice)) == [Status.SUCCEEDED, Status.PENDING]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"tool": "nope"}, "There is no tool of this name. There are: delete_files,"),
        ({"requester": "nobody"}, "There is no person of this name"),
        ({"arguments": "{"}, "This is no JSON"),
        ({"arguments": "[]"}, "Arguments are one object"),
        ({"arguments": '{"a": 1e400}'}, "no exact JSON form"),
        ({"arguments": "[" * 100_000}, "nested too deeply"),
    ],
)
def test_it_explains_a_call_that_cannot_be_tried(office, changes, problem):
    response = office.post(TRY, {**CALL, **changes})
    assert response.status_code == 200
    assert problem in text(response)


def test_hostile_arguments_stay_text(office, alice):
    call = ask(alice, arguments={"to": '<img src=x onerror="alert(1)">', "subject": "\u202egnp.exe"})
    html = office.get(TRY, {"call": str(call.pk)}).content.decode()
    assert "<img" not in html
    assert "\u202egnp" not in html.split("<textarea")[0]


@pytest.mark.parametrize("who", ["alice", "rita"])
@pytest.mark.parametrize("address", [TRY, SUGGESTIONS, page(ToolPolicy, "changelist")])
def test_it_is_for_administrators(request, who, address, desk):
    client = Client()
    client.force_login(request.getfixturevalue(who))
    assert client.get(address).status_code == 302


# --- Dry run ---------------------------------------------------------------------------------------------
def draft(client, **changes):
    """Presses "Dry run" in the form of a new policy."""
    return client.post(page(ToolPolicy, "add"), {**POLICY, **changes, "_dry_run": "1"})


def finish(client, address):
    step = f"{address}step/"
    for _ in range(100):
        response = client.post(step, headers={"HX-Request": "true"})
        if step not in text(response):
            return response
    raise AssertionError("it never ends")


def test_it_shows_what_a_draft_would_change_and_saves_nothing(office, alice, rita):
    for _ in range(3):
        ask(alice)
    settle(ask(alice, arguments={**MAIL, "to": "x@elsewhere.org"}), rita, Choice.DENY, Status.DENIED)
    ask(alice, tool="delete_files", arguments={"paths": ["x"]}, effect="always_ask")
    before = ToolPolicy.objects.count(), AuditEntry.objects.count()
    condition = 'args.to.endsWith("@example.com")'
    response = draft(office, tool="send_email", effect="allow", when=condition)
    assert response.status_code == 302
    said = words(finish(office, response.url))
    assert "5 of the last 5 calls." in said
    assert "Ask Allow 3 0" in said
    assert "Ask the same 1 1" in said
    assert "Always ask the same 1 0" in said
    assert said.count(": Ask → Allow") == 3
    assert (ToolPolicy.objects.count(), AuditEntry.objects.count()) == before


def test_a_changed_policy_is_tried_in_its_own_place(office, alice):
    ask(alice)
    policy = ToolPolicy.objects.get(tool="send_email")
    fields = {**POLICY, "name": "Renamed", "tool": "send_email", "effect": "allow", "_dry_run": "1"}
    response = office.post(page(ToolPolicy, "change", policy.pk), fields)
    assert "Ask Allow 1 0" in words(finish(office, response.url))
    policy.refresh_from_db()
    assert (policy.name, policy.effect) == ("Ask before mail goes out", "ask")


def test_a_draft_with_a_mistake_is_not_tried(office):
    response = draft(office, when="amount > 1")
    assert "It speaks of “amount”" in text(response)
    assert not DryRun.objects.exists()
    assert not ToolPolicy.objects.filter(name="No mail").exists()


def test_a_call_is_judged_as_it_was_asked(office, alice):
    """By the model's own arguments, by who asked, when they did, and with the trust that covered it."""
    ask(alice, proposed={**MAIL, "to": "first@elsewhere.org"})
    response = draft(
        office,
        tool="send_email",
        effect="allow",
        when='args.to == "first@elsewhere.org" && user.name == "alice" && "chat users" in user.groups && '
        "now > timestamp('2026-01-01T00:00:00Z')",
    )
    assert "Ask Allow 1 0" in words(finish(office, response.url))


def test_it_goes_on_where_it_was(alice, admin, monkeypatch):
    for _ in range(7):
        ask(alice)
    monkeypatch.setattr(dry_runs, "CHUNK", 2)
    run = dry_runs.begin(admin, "x", [], 5)
    seen = [run.done]
    while not run.finished:
        seen.append(dry_runs.advance(run, seconds=0).done)
    assert seen == [0, 1, 2, 3, 4, 5]
    [change] = dry_runs.changes(run)
    assert (change.before, change.after, change.calls) == (Effect.ASK, Effect.ASK, 5)


def test_two_who_advance_it_count_each_call_once(alice, admin):
    for _ in range(3):
        ask(alice)
    run = dry_runs.begin(admin, "x", [], 1000)
    same = DryRun.objects.get(pk=run.pk)
    dry_runs.advance(run)
    dry_runs.advance(same)
    assert (same.done, sum(change.calls for change in dry_runs.changes(same))) == (3, 3)


def test_it_is_of_its_owner_alone(office, admin, alice):
    other = User.objects.create_user("other", is_staff=True)
    other.groups.add(Group.objects.get(name="administrators"))
    run = dry_runs.begin(other, "x", [], 1000)
    assert office.get(reverse("admin:approvals_dry_run", args=[run.pk])).status_code == 404
    assert office.post(reverse("admin:approvals_dry_run_step", args=[run.pk])).status_code == 404


def test_it_takes_no_get_for_a_step(office, admin):
    run = dry_runs.begin(admin, "x", [], 1000)
    assert office.get(reverse("admin:approvals_dry_run_step", args=[run.pk])).status_code == 405


def test_it_can_be_repeated_over_more(office, admin, alice):
    ask(alice)
    run = dry_runs.begin(admin, "x", policies.stored(), 1000)
    again = reverse("admin:approvals_dry_run_again", args=[run.pk])
    assert office.post(again, {"limit": "7"}).status_code == 404
    response = office.post(again, {"limit": "100000"})
    assert "1 of the last 1 calls." in words(finish(office, response.url))


def test_it_keeps_the_last_ones_alone(admin, desk):
    for _ in range(dry_runs.KEPT + 5):
        dry_runs.begin(admin, "x", [], 1000)
    assert DryRun.objects.count() == dry_runs.KEPT


def test_without_calls_it_is_done_at_once(office, admin):
    run = dry_runs.begin(admin, "x", [Entry("a", "*", "allow")], 1000)
    assert "There are no calls yet" in text(office.get(reverse("admin:approvals_dry_run", args=[run.pk])))


# --- Suggestions -----------------------------------------------------------------------------------------
def answered(alice, by, count, choice=Choice.APPROVE, **changes):
    for number in range(count):
        arguments = {"to": "a@example.com", "subject": f"No. {number}", "body": f"{number}\n", **changes}
        settle(ask(alice, arguments=arguments), by[number % len(by)], choice)


def test_it_suggests_what_was_always_approved(alice, rita, remy):
    answered(alice, [rita, remy], 12)
    whole, part = suggestions.suggest(ToolCall.objects.all())
    assert (whole.tool, whole.condition, whole.approved, whole.people) == ("send_email", "", 12, 2)
    assert part.words == "to is an address at example.com"


def test_it_suggests_the_part_that_was_always_approved(alice, rita, remy):
    answered(alice, [rita, remy], 12)
    answered(alice, [rita], 2, Choice.DENY, to="a@elsewhere.org")
    [found] = suggestions.suggest(ToolCall.objects.all())
    assert found.words == "to is an address at example.com"
    assert (found.approved, found.people) == (12, 2)


def settled_denial(alice, rita):
    call = ask(alice, arguments={"to": "a@example.com", "subject": "x", "body": "y"})
    settle(call, rita, Choice.DENY)
    return call


@pytest.mark.parametrize(
    "spoil",
    [
        lambda alice, rita, remy: answered(alice, [rita], 1, Choice.DENY),
        lambda alice, rita, remy: Decision.objects.update(by=rita),
        lambda alice, rita, remy: Decision.objects.filter(pk=Decision.objects.earliest("pk").pk).update(
            undone_at="2026-01-01T00:00Z"
        ),
        lambda alice, rita, remy: ToolCall.objects.filter(pk=ToolCall.objects.earliest("pk").pk).update(
            proposed={**MAIL, "to": "a@example.com"}
        ),
        lambda alice, rita, remy: ToolCall.objects.update(effect="always_ask"),
        lambda alice, rita, remy: ToolCall.objects.update(quorum=2),
        lambda alice, rita, remy: ToolCall.objects.filter(pk__in=[settled_denial(alice, rita).pk]).update(
            quorum=2
        ),
        lambda alice, rita, remy: Decision.objects.update(round=2),
        lambda alice, rita, remy: Decision.objects.update(at="2026-01-01T00:00Z"),
    ],
    ids=[
        "one denial",
        "one person",
        "too few",
        "an edit",
        "always asked",
        "two have to",
        "one of two denied",
        "run again",
        "long ago",
    ],
)
def test_it_suggests_nothing_without_a_habit(alice, rita, remy, spoil):
    answered(alice, [rita, remy], 10)
    assert suggestions.suggest(ToolCall.objects.all())
    spoil(alice, rita, remy)
    assert not suggestions.suggest(ToolCall.objects.all())


def test_it_shows_suggestions_with_their_evidence_and_applies_none(office, alice, rita, remy):
    answered(alice, [rita, remy], 12)
    answered(alice, [rita], 2, Choice.DENY, to="a@elsewhere.org")
    before = ToolPolicy.objects.count()
    response = office.get(SUGGESTIONS)
    assert (
        "send_email , when to is an address at example.com was approved 12 of 12 times by 2 people."
        in words(response)
    )
    [link] = re.findall(r'<a href="(/admin/approvals/toolpolicy/add/[^"]+)"', text(response))
    assert "[.]" in office.get(link).context["adminform"].form["when"].value()
    assert ToolPolicy.objects.count() == before


def test_real_decisions_make_suggestions(model, alice, rita, remy):
    model.play([asks(subject=f"{number}") for number in range(12)], "Sent.")
    session = chat(alice)
    for number, call in enumerate(ToolCall.objects.filter(session=session.key, status=Status.PENDING)):
        approve(call, [rita, remy][number % 2])
    work()
    model.play(asks(to="x@elsewhere.org"), "Fine.")
    deny(pending(chat(alice, "One more.", session)), rita)
    assert [each.words for each in suggestions.suggest(ToolCall.objects.all())][
        0
    ] == "to is an address at example.com"


def test_it_suggests_from_calls_that_the_person_sees_alone(office, alice, rita, remy):
    answered(alice, [rita, remy], 12)
    ToolCall.objects.update(groups="|finance|")
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_toolpolicy"))
    client = Client()
    client.force_login(looker)
    assert "example.com" not in text(client.get(SUGGESTIONS))
    assert "send_email" in text(office.get(SUGGESTIONS))


def test_many_decisions_are_looked_at_in_a_moment(alice, rita, remy):
    answered(alice, [rita, remy], 200)
    answered(alice, [rita], 1, Choice.DENY)
    ToolCall.objects.filter(pk=ToolCall.objects.earliest("pk").pk).update(arguments={"to": "x" * 30_000})
    began = time.monotonic()
    suggestions.suggest(ToolCall.objects.all())
    assert time.monotonic() - began < 2


def test_a_group_that_a_policy_names_is_not_deleted(desk):
    group = Group.objects.create(name="finance")
    ToolPolicy.objects.get(tool="send_email").groups.add(group)
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    assert client.post(page(Group, "delete", group.pk), {"post": "yes"}).status_code == 403
    ToolPolicy.objects.get(tool="send_email").groups.clear()
    assert client.post(page(Group, "delete", group.pk), {"post": "yes"}).status_code == 302


def test_a_call_of_the_ledger_is_tried_as_of_its_own_time_and_session(office, alice):
    call = ask(alice)
    ToolPolicy.objects.create(name="Here", tool="*", effect="block", when=f'session == "{call.session}"')
    ToolPolicy.objects.create(
        name="Then", tool="*", effect="block", when=f'now == timestamp("{call.requested_at.isoformat()}")'
    )
    said = words(office.get(TRY, {"call": str(call.pk)}))
    assert said.count("Block every tool") == 2
    assert said.count("Its condition is met.") + said.count("“Here” is more specific") >= 1
    assert "Its condition is not met." not in said


def test_a_suggestion_that_would_lose_says_to_what(office, alice, rita, remy):
    """An exact name without a condition ties with the policy that asks, and a tie asks."""
    answered(alice, [rita, remy], 12)
    said = words(office.get(SUGGESTIONS))
    assert (
        "send_email was approved 12 of 12 times by 2 people. To allow that, change Ask before mail goes out"
        in said
    )
    assert "send_email , when to is an address at example.com was approved 12 of 12 times" in said


def test_what_is_allowed_by_now_is_suggested_no_more(office, alice, rita, remy):
    answered(alice, [rita, remy], 12)
    ToolPolicy.objects.filter(tool="send_email").update(effect="allow")
    assert "None. People do not yet answer" in words(office.get(SUGGESTIONS))


def test_a_condition_without_an_answer_is_a_doubt(office, alice):
    ask(alice)
    response = office.post(page(ToolPolicy, "add"), {**POLICY, "when": 'args.to.size() > "3"'}, follow=True)
    assert "Its condition has no answer for 1 of the last 1 calls (no such overload" in text(response)
    assert "so it counts as met for them." in text(response)


@pytest.mark.parametrize(("quorum", "doubt"), [("2", False), ("3", True)])
def test_a_quorum_that_nobody_can_reach_is_a_doubt(office, quorum, doubt):
    fields = {**POLICY, "effect": "ask", "quorum": quorum}
    said = text(office.post(page(ToolPolicy, "add"), fields, follow=True))
    assert ("It takes 3 of reviewers to approve, and 2 people are in there: nobody could." in said) is doubt


def test_a_link_to_a_call_says_that_its_terms_stand(office, alice):
    call = ask(alice)
    ToolPolicy.objects.filter(tool="send_email").update(effect="allow")
    html = text(office.get(TRY, {"call": str(call.pk)}))
    assert "<b>Ask before mail goes out</b></a>; what it takes was settled then." in html
    assert f'<a href="/approvals/{call.pk}/">Back to the call</a>' in html


@pytest.mark.parametrize("group", ["9" * 400, "x", "-1"])
def test_a_group_that_is_no_number_is_refused(office, group):
    for extra in ({}, {"_dry_run": "1"}):
        assert office.post(page(ToolPolicy, "add"), {**POLICY, "groups": [group], **extra}).status_code == 400


def test_a_step_of_a_dry_run_ends_in_time_though_calls_are_large(alice, admin):
    for _ in range(6):
        ask(alice, arguments={**MAIL, "body": "x" * 500_000})
    run = dry_runs.begin(admin, "x", [], 1000)
    assert dry_runs.advance(run, seconds=0).done == 1
    assert dry_runs.advance(run, seconds=0).done == 2
    assert dry_runs.advance(run).finished
