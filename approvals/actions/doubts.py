"""What may be a mistake in a policy, though it can be saved. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from django.conf import settings
from django.contrib.auth.models import User

from approvals.actions.verdicts import facts_of
from approvals.conditions import ConditionFailed, arguments_in, holds
from approvals.hints import did_you_mean
from approvals.models import Tool, ToolCall
from approvals.permissions import reviewers_in
from approvals.policy import REVIEWERS
from approvals.policy_files import Entry
from approvals.signals import known_agents
from approvals.states import ELSEWHERE, Effect

LOOKED_AT = 50  # calls that a condition is tried on, the latest


def doubts(entry: Entry) -> list[str]:
    """A sentence for each."""
    return [*_unknown_names(entry), *_on_its_tools(entry), *_too_few(entry), *_unheard(entry)]


def _unknown_names(entry: Entry) -> list[str]:
    """Of an agent, of a provider: such a policy is about no call, and whoever wrote it relies on it."""
    found = []
    if entry.agent:
        agents = {slug for _, slugs in known_agents.send(sender=None) for slug in slugs or ()}
        elsewhere = ToolCall.objects.filter(run="", agent=entry.agent)
        if entry.agent not in agents and not elsewhere.exists():
            found.append(_nobody("agent", entry.agent, agents))
    if entry.provider:
        providers = {ELSEWHERE, *Tool.objects.values_list("provider", flat=True)}
        if entry.provider not in providers:
            found.append(_nobody("provider", entry.provider, providers))
    return found


def _nobody(kind: str, name: str, known: set[str]) -> str:
    return f"There is no {kind} “{name}” yet; the policy waits for one. {did_you_mean(name, sorted(known))}"


def _on_its_tools(entry: Entry) -> list[str]:
    tools = [tool for tool in Tool.objects.all() if fnmatchcase(tool.name, entry.tool)]
    if not tools:
        return [f"No known tool is named “{entry.tool}”, or matches it; the policy waits for one."]
    return [*_unknown_arguments(entry, tools), *_without_answer(entry, tools)]


def _unknown_arguments(entry: Entry, tools: Iterable[Tool]) -> list[str]:
    known = sorted({name for tool in tools for name in _properties(tool)})
    return [
        f"No tool that it is about has an argument named “{name}”. {did_you_mean(name, known)}"
        for name in sorted(arguments_in(entry.when).difference(known))
    ]


def _without_answer(entry: Entry, tools: Iterable[Tool]) -> list[str]:
    """The condition is tried on the last calls: one that has no answer counts against each of them."""
    if not entry.when:
        return []
    by_name = {tool.name: tool for tool in tools}
    calls = (
        ToolCall.objects.filter(tool__in=by_name).select_related("requested_by").order_by("-pk")[:LOOKED_AT]
    )
    failed = [why for call in calls if (why := _failure(entry, call, by_name[call.tool]))]
    if not failed:
        return []
    so = "it allows none of them" if entry.effect == Effect.ALLOW else "it counts as met for them"
    return [
        f"Its condition has no answer for {len(failed)} of the last {len(calls)} calls ({failed[0]}), so {so}."
    ]


def _failure(entry: Entry, call: ToolCall, tool: Tool) -> str:
    facts = facts_of(
        tool,
        call.agent,
        call.arguments,
        session=call.session,
        user=call.requested_by.get_username(),
        now=call.requested_at,
    )
    try:
        holds(entry.when, facts.context)
    except ConditionFailed as failed:
        return str(failed)
    return ""


def _too_few(entry: Entry) -> list[str]:
    if entry.effect not in (Effect.ASK, Effect.ALWAYS_ASK):
        return []
    groups = entry.groups or (REVIEWERS,)
    people = User.objects.filter(is_active=True, groups__name__in=groups).distinct().count()
    if people >= entry.quorum:
        return []
    there = "nobody is" if not people else "one person is" if people == 1 else f"{people} people are"
    return [
        f"It takes {entry.quorum} of {' or '.join(groups)} to approve, and {there} in there: nobody could."
    ]


def _unheard(entry: Entry) -> list[str]:
    """Where people are to be written to, and would not hear of it or could not follow the link."""
    found = []
    if "push" in entry.notify and not settings.VAPID_KEY:
        found.append("Push is not set up on this Nod, so nobody gets one (NOD_VAPID_PRIVATE_KEY).")
    people = reviewers_in(entry.groups or (REVIEWERS,))
    if "email" in entry.notify and not people.exclude(email="").exists():
        found.append("Nobody who may decide has an e-mail address, so nobody gets a mail.")
    if entry.notify and not settings.DEMO and "//127.0.0.1:" in settings.PUBLIC_URL:
        found.append(f"Links in messages lead to {settings.PUBLIC_URL} (NOD_PUBLIC_URL).")
    return found


def _properties(tool: Tool) -> list[str]:
    properties = tool.schema.get("properties", {}) if isinstance(tool.schema, dict) else {}
    return list(properties) if isinstance(properties, dict) else []
