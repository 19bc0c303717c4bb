"""The people of the desk, by name, and what they work with."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import threading

import hypothesis
import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.core.management.color import no_style
from django.db import connection, connections
from django.test import Client, TransactionTestCase

from agents import providers
from agents.actions.catalogue import register_local
from agents.models import Agent
from agents.tools import registry
from approvals import events, setup, triggers
from approvals.actions import tokens
from approvals.models import Tool, ToolPolicy
from approvals.states import Effect
from tests.fakes.model import ScriptedModel
from tests.seeded import seed
from tests.system import TEMPLATES, templates

# What threads of Nod import when they first need it. Each makes a logger, and pytest walks through all loggers,
# without a lock, as a test begins: in one run of many it met one that was just being made.
IMPORTED_BY_THREADS = (
    "celery.app.amqp",
    "celery.backends.base",
    "celery.events",
    "kombu.transport.memory",
    "strands.agent._agent_delegation",
)
MADE_BY_DJANGO = {"django_content_type", "auth_permission"}

hypothesis.settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("shared machine")


def pytest_configure(config):
    """Signals as in a terminal, for the tests and all that they start: nohup and `&` have some ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    for name in IMPORTED_BY_THREADS:
        importlib.import_module(name)
    if TEMPLATES not in os.environ:  # in pytest itself; its workers inherit it
        kept = templates()
        kept.__enter__()
        config.add_cleanup(lambda: kept.__exit__(None, None, None))


@pytest.fixture(autouse=True, scope="session")
def emptied_between_tests():
    """Transactional tests end with empty tables. The audit trail refuses that, to all but the database's owner.

    Django's own flush also makes anew what it has emptied: content types and permissions, 0.2 s each time.
    """

    def empty(self):
        triggers.expose_trail(connection)
        tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False))
        statements = connection.ops.sql_flush(no_style(), sorted(tables - MADE_BY_DJANGO))
        connection.ops.execute_sql_flush(statements)
        setup.ensure_groups()
        triggers.create(connection)
        register_local()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty)
        yield


@pytest.fixture(autouse=True)
def own_folders(settings, tmp_path):
    """Each test has its own files, and its own channel layer."""
    settings.WORKSPACE_DIR = tmp_path / "workspace"
    settings.OUTBOX_DIR = tmp_path / "outbox"
    settings.NOTICES_DIR = tmp_path / "notices"
    settings.CHANNEL_LAYERS = {**settings.CHANNEL_LAYERS}


@pytest.fixture
def desk(db, settings):
    """Demo people, policies, tools and the agent, as `manage.py seed` makes them; the model never waits."""
    seed()


def person(name):
    @pytest.fixture(name=name)
    def found(desk):
        return User.objects.get(username=name)

    return found


alice = person("alice")  # chats
bob = person("bob")  # chats too
rita = person("rita")  # reviews
remy = person("remy")  # reviews too
admin = person("admin")  # administers


@pytest.fixture
def office(admin):
    """The administrator's browser."""
    client = Client()
    client.force_login(admin)
    return client


@pytest.fixture
def model(monkeypatch, desk):
    """The agent's model plays what the test tells it to."""
    scripted = ScriptedModel()
    monkeypatch.setattr(providers, "build", lambda *args: scripted)
    return scripted


@pytest.fixture
def agent(desk):
    return Agent.objects.get(slug="assistant")


@pytest.fixture
def add_tool(desk, agent, monkeypatch):
    """add_tool(function, effect="allow"): the agent has one more tool."""

    def add(function, effect=Effect.ALLOW, **options):
        made = registry.tool(**options)(function)
        monkeypatch.setitem(registry.catalogue(), made.name, made)
        register_local()
        agent.tools.add(Tool.objects.get(name=made.name))
        ToolPolicy.objects.create(name=f"{effect} {made.name}", tool=made.name, effect=effect)
        return made

    return add


@pytest.fixture
def token():
    """token(user, *scopes): the headers of an API client."""

    def make(user, *scopes):
        return {"Authorization": f"Bearer {tokens.create(user, scopes)}"}

    return make


def hush():
    """Returns once every doorbell that was rung has gone out."""
    done = threading.Event()
    publisher = events._publisher()

    async def check():
        while not publisher._queue.empty():
            await asyncio.sleep(0)
        done.set()

    asyncio.run_coroutine_threadsafe(check(), publisher._loop)
    assert done.wait(10)


@pytest.fixture
async def live(transactional_db, desk):
    """For async tests: what is committed rings doorbells, and nothing of it is left for the next test."""
    yield get_channel_layer()
    await asyncio.to_thread(hush)
    await sync_to_async(connections.close_all)()
