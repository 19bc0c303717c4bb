"""The administrators' pages for agents; sessions and runs to look at."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from agents import costs, providers
from agents.actions import runs
from agents.models import Agent, Message, Run, Session
from approvals.admin_base import Audited, ReadOnly, Values


class AgentForm(forms.ModelForm):  # type: ignore[type-arg]
    """Refuses a provider that does not exist and parameters that are no object."""

    class Meta:
        model = Agent
        fields = "__all__"  # noqa: DJ007 (the admin's fieldsets choose)

    def clean_provider(self) -> str:
        name: str = self.cleaned_data["provider"]
        if name and name not in providers.available():
            raise forms.ValidationError(
                f"There is no provider “{name}”. There are: {', '.join(providers.available())}."
            )
        return name

    def clean_parameters(self) -> dict[str, Any]:
        given = self.cleaned_data["parameters"]
        if not isinstance(given, dict):
            raise forms.ValidationError('Give an object, such as {"temperature": 0.2}.')
        return given


@admin.register(Agent)
class AgentAdmin(Audited):
    kind = "agent.changed"
    form = AgentForm
    list_display = ("name", "slug", "provider", "model_id", "runtime", "active")
    filter_horizontal = ("tools",)
    fieldsets = (
        (None, {"fields": ("name", "slug", "description", "system_prompt", "tools", "active")}),
        ("Model", {"fields": ("provider", "model_id", "parameters", "max_steps", "runtime")}),
    )

    def described(self, obj: Agent) -> dict[str, Any]:
        names = (
            "slug",
            "name",
            "system_prompt",
            "runtime",
            "provider",
            "model_id",
            "parameters",
            "max_steps",
            "active",
        )
        tools = sorted(obj.tools.values_list("name", flat=True)) if obj.pk else []
        return {name: getattr(obj, name) for name in names} | {"tools": tools}

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("slug",) if obj else ()  # policies name agents by it

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return {} if obj else {"slug": ("name",)}


@admin.register(Session)
class SessionAdmin(ReadOnly):
    list_display = ("__str__", "user", "agent", "active_at")
    list_select_related = ("user", "agent")
    list_filter = ("agent",)
    search_fields = ("id", "title", "user__username")


@admin.register(Run)
class RunAdmin(ReadOnly):
    list_display = (
        "id",
        "session",
        "status",
        "epoch",
        "attempts",
        "steps",
        "cost",
        "error_code",
        "created_at",
    )
    list_select_related = ("session",)
    list_filter = ("status", ("error_code", Values))
    actions = ("try_again", "give_up")

    @admin.display(description="model")
    def cost(self, run: Run) -> str:
        return str(costs.of(run) or "")

    def has_release_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("agents.change_run"))

    @admin.action(description="Try the selected runs again that were set aside", permissions=["release"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        count = sum(runs.release_from_quarantine(run, request.user.get_username()) for run in queryset)
        self.message_user(request, f"{count} of {len(queryset)} try again; the others are not set aside.")

    @admin.action(description="Give the selected runs up that were set aside", permissions=["release"])
    def give_up(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        count = sum(runs.give_up(run, request.user.get_username()) for run in queryset)
        self.message_user(request, f"{count} given up; what they had not started is cancelled.")


@admin.register(Message)
class MessageAdmin(ReadOnly):
    list_display = ("session", "seq", "role", "text", "created_at")
    list_select_related = ("session",)
