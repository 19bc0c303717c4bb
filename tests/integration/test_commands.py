"""manage.py seed and token."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command

from agents.models import Agent
from approvals.actions import tokens
from approvals.actions.verdicts import rules
from approvals.models import ApiToken, AuditEntry, Tool, ToolPolicy
from approvals.permissions import may_chat, may_review
from approvals.policy import Facts, Policies, judge
from approvals.setup import ensure_groups
from approvals.states import Effect


def everything():
    """All rows of all of Nod's tables, and of Django's people and groups."""
    models = [
        model for name in ("agents", "approvals", "auth") for model in apps.get_app_config(name).get_models()
    ]
    through = [Agent.tools.through, ToolPolicy.groups.through, User.groups.through, Group.permissions.through]
    return {
        model.__name__: list(model._default_manager.order_by("pk").values()) for model in (*models, *through)
    }


def files(folder):
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(("pool", "refused"), [("prefork", True), ("threads", False), ("solo", False)])
def test_a_worker_does_not_fork(pool, refused):
    from celery.concurrency import get_implementation

    from hitl_site.celery import refuse_to_fork

    for given in (pool, get_implementation(pool)):
        with pytest.raises(SystemExit, match="--pool threads") if refused else nullcontext():
            refuse_to_fork(SimpleNamespace(pool_cls=given))


@pytest.fixture
def seeded(db, settings):
    call_command("seed", verbosity=0)
    return settings.WORKSPACE_DIR


# --- Seed --------------------------------------------------------------------------------------------------
def test_it_seeds_what_the_contract_names(seeded):
    assert set(User.objects.values_list("username", flat=True)) == {"alice", "bob", "rita", "remy", "admin"}
    assert all(user.check_password("nod") for user in User.objects.all())
    people = {user.username: user for user in User.objects.all()}
    assert [name for name, user in sorted(people.items()) if may_chat(user)] == ["alice", "bob"]
    assert [name for name, user in sorted(people.items()) if may_review(user)] == ["admin", "remy", "rita"]
    assert [name for name, user in people.items() if user.is_staff] == ["admin"]
    assert not User.objects.filter(is_superuser=True).exists()
    agent = Agent.objects.get(slug="assistant")
    tools = {"get_weather", "list_files", "read_file", "send_email", "delete_files", "handoff_to_user"}
    assert set(agent.tools.values_list("name", flat=True)) == tools
    assert all(Tool.objects.get(name=name).known for name in tools)
    assert (seeded / "notes.txt").is_file()


@pytest.mark.parametrize(
    ("tool", "effect"),
    [
        ("get_weather", Effect.ALLOW),
        ("list_files", Effect.ALLOW),
        ("read_file", Effect.ALLOW),
        ("send_email", Effect.ASK),
        ("delete_files", Effect.ALWAYS_ASK),
        ("anything_else", Effect.ASK),
    ],
)
def test_its_policies_say_what_the_contract_says(seeded, tool, effect):
    assert judge(Facts(tool), Policies(rules())).effect == effect


def test_it_changes_nothing_the_second_time(seeded):
    before, on_disk = everything(), files(seeded)
    call_command("seed", verbosity=0)
    call_command("seed", verbosity=0)
    assert everything() == before
    assert files(seeded) == on_disk


def test_it_keeps_what_people_changed(seeded):
    User.objects.get(username="rita").groups.clear()
    alice = User.objects.get(username="alice")
    alice.set_password("a better one")
    alice.save()
    ToolPolicy.objects.filter(tool="send_email").update(effect="block")
    Agent.objects.update(system_prompt="Be brief.")
    Agent.objects.get().tools.clear()
    before = everything()
    call_command("seed", verbosity=0)
    assert everything() == before


def test_it_writes_down_what_it_made(seeded):
    assert (
        AuditEntry.objects.filter(kind="policy.changed", actor="seed").count() == ToolPolicy.objects.count()
    )


def test_it_never_makes_demo_people_in_production(db, settings, capsys):
    settings.DEMO = False
    call_command("seed")
    assert not User.objects.exists()
    assert "no demo people" in capsys.readouterr().out
    assert Agent.objects.filter(slug="assistant").exists()
    assert ToolPolicy.objects.exists()


# --- Groups ------------------------------------------------------------------------------------------------
def test_migrate_makes_the_groups_once(db):
    before = everything()
    assert set(Group.objects.values_list("name", flat=True)) == {
        "chat users",
        "reviewers",
        "auditors",
        "administrators",
    }
    ensure_groups()
    assert everything() == before


def test_migrate_enters_the_tools_once(db):
    from agents.apps import register_tools

    before = everything()
    assert before["Tool"]
    register_tools()
    after = everything()
    for tool in (*before["Tool"], *after["Tool"]):
        del tool["last_seen"]
    assert after == before


# --- Tokens ------------------------------------------------------------------------------------------------
def test_it_prints_a_token_alone_on_its_line(seeded, capsys):
    call_command("token", "alice", "--scope", "chat, review", "--name", "a script")
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    found = tokens.find(out.strip())
    assert found is not None
    assert (found.user.username, found.scopes, found.name) == ("alice", ["chat", "review"], "a script")
    entry = AuditEntry.objects.get(kind="token.created")
    assert (entry.actor, entry.data["user"], entry.data["scopes"]) == (
        "manage.py",
        "alice",
        ["chat", "review"],
    )


def test_it_prints_a_new_one_each_time(seeded, capsys):
    for _ in range(2):
        call_command("token", "alice", "--scope", "chat")
    first, second = capsys.readouterr().out.split()
    assert first != second
    assert tokens.find(first)
    assert tokens.find(second)


@pytest.mark.parametrize(
    ("user", "scope", "hint"),
    [
        ("alice", "everything", "chat, review, agent, admin"),
        ("alice", "chat,everything", "chat, review, agent, admin"),
        ("alice", " , ", "chat, review, agent, admin"),
        ("nobody", "chat", "'nobody'"),
    ],
)
def test_it_refuses_a_token(seeded, user, scope, hint):
    with pytest.raises(CommandError, match=hint):
        call_command("token", user, "--scope", scope)
    assert not ApiToken.objects.exists()


def test_it_makes_no_token_for_somebody_who_left(seeded):
    User.objects.filter(username="alice").update(is_active=False)
    with pytest.raises(CommandError, match="no active person"):
        call_command("token", "alice", "--scope", "chat")


# --- The model and its migrations --------------------------------------------------------------------------
def test_the_migrations_are_complete(db):
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
