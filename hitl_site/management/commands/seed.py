"""`manage.py seed`: demo people, the demo agent and its policies. Running it again changes nothing."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.management.base import BaseCommand
from django.db import transaction

from agents.models import Agent
from agents.tools.workspace import seed_workspace
from approvals.actions import changes
from approvals.models import Tool, ToolPolicy
from approvals.permissions import ADMINISTRATORS, CHAT_USERS, DEMO_PEOPLE
from approvals.policy import REVIEWERS
from approvals.states import Effect, Risk

PASSWORD = "nod"  # noqa: S105 (the demo's, never made with DEBUG off)
PEOPLE = {
    "alice": CHAT_USERS,
    "bob": CHAT_USERS,
    "rita": REVIEWERS,
    "remy": REVIEWERS,
    "admin": ADMINISTRATORS,
}
TOOLS = ("get_weather", "list_files", "read_file", "send_email", "delete_files", "handoff_to_user")
PROMPT = (
    "You are a helpful assistant. Use your tools to act. Some of them are protected: people are asked before "
    "they run, and that can take a while. Never say that something was done unless its result says so. When a "
    "call is denied, say so, give the reason, and do not try it again."
)
POLICIES: tuple[tuple[str, str, Effect, Risk | None], ...] = (
    ("Weather is free", "get_weather", Effect.ALLOW, None),
    ("Listing files is free", "list_files", Effect.ALLOW, None),
    ("Reading files is free", "read_file", Effect.ALLOW, None),
    ("Ask before mail goes out", "send_email", Effect.ASK, None),
    ("Always ask before files are deleted", "delete_files", Effect.ALWAYS_ASK, Risk.HIGH),
)


class Command(BaseCommand):
    help = "Seeds the demo people (only with DEBUG on), the agent “assistant”, its tools and policies."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        self._agent()
        self._policies()
        seed_workspace()
        if settings.DEMO:
            self._people()
        else:
            self.stdout.write(
                "DEBUG is off: no demo people were made. `manage.py createsuperuser` makes the first one."
            )

    def _people(self) -> None:
        demo, _ = Group.objects.get_or_create(name=DEMO_PEOPLE)
        for name, group in PEOPLE.items():
            user, new = User.objects.get_or_create(
                username=name, defaults={"email": f"{name}@example.com", "is_staff": group == ADMINISTRATORS}
            )
            if new:
                user.set_password(PASSWORD)
                user.save()
                user.groups.add(Group.objects.get(name=group), demo)

    def _agent(self) -> None:
        agent, new = Agent.objects.get_or_create(
            slug="assistant",
            defaults={
                "name": "Assistant",
                "description": "Looks things up, reads files, and asks before it sends mail or deletes.",
                "system_prompt": PROMPT,
            },
        )
        if new:
            agent.tools.set(Tool.objects.filter(name__in=TOOLS))

    def _policies(self) -> None:
        for name, tool, effect, risk in POLICIES:
            policy, new = ToolPolicy.objects.get_or_create(
                name=name, defaults={"tool": tool, "effect": effect, "risk": risk or ""}
            )
            if new:
                changes.record("policy.changed", "seed", None, changes.policy(policy))
