"""The administrators' pages for agents; sessions and runs to look at."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.cache import add_never_cache_headers
from django.utils.text import Truncator
from redis import RedisError

from agents import costs, trials
from agents.actions import runs
from agents.forms import AgentForm, ModelForm
from agents.models import Agent, Message, Run, Session
from approvals.admin_base import Audited, ReadOnly, Values
from approvals.models import Tool
from approvals.requests import Request, wants
from approvals.states import ELSEWHERE
from approvals.visible import one_line


@admin.register(Agent)
class AgentAdmin(Audited):
    kind = "agent.changed"
    form = AgentForm
    list_display = ("name", "slug", "provider", "model_id", "runtime", "active")
    filter_horizontal = ("tools",)
    fieldsets = (
        (None, {"fields": ("name", "slug", "description", "system_prompt", "tools", "active")}),
        ("Model", {"fields": ("provider", "model_id", "parameters", "max_steps")}),
        ("Where it runs", {"fields": ("runtime", "runtime_arn", "runtime_qualifier")}),
    )
    change_form_template = "admin/agents/change_form.html"

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Tools of agents elsewhere are not here to be run."""
        if db_field.name == "tools":
            kwargs["queryset"] = Tool.objects.exclude(provider=ELSEWHERE)
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def described(self, obj: Agent) -> dict[str, Any]:
        names = (
            "slug",
            "name",
            "system_prompt",
            "runtime",
            "runtime_arn",
            "runtime_qualifier",
            "provider",
            "model_id",
            "parameters",
            "max_steps",
            "active",
        )
        tools = sorted(obj.tools.values_list("name", flat=True)) if obj.pk else []
        return {name: getattr(obj, name) for name in names} | {"tools": tools}

    def get_urls(self) -> list[Any]:
        own = [
            path("test-model/", self.admin_site.admin_view(self.test_model), name="agents_test_model"),
            path("test-model/<uuid:trial>/", self.admin_site.admin_view(self.trial), name="agents_trial"),
        ]
        return own + super().get_urls()

    def test_model(self, request: Request) -> HttpResponse:
        """Have a worker ask the model that stands in the form, saved or not."""
        self._may_test(request)
        if request.method != "POST":
            return redirect("admin:agents_agent_changelist")
        form = ModelForm(request.POST)
        if not form.is_valid():
            return self._trial_page(request, errors=form.errors, status=422)
        if form.cleaned_data["runtime"] == Agent.Runtime.AGENTCORE:
            return self._trial_page(request, elsewhere=True, status=422)
        asked = (form.provider(), form.cleaned_data["model_id"], form.cleaned_data["parameters"])
        try:
            found = trials.ask(request.user, *asked)
        except (RedisError, OSError):
            return self._trial_page(request, away=True, status=503)
        return redirect("admin:agents_trial", found)

    def trial(self, request: Request, trial: UUID) -> HttpResponse:
        """What became of it."""
        self._may_test(request)
        try:
            found = trials.look(request.user, str(trial))
        except (RedisError, OSError):
            return self._trial_page(request, away=True, status=503)
        if found is None:
            raise Http404("There is no such test, or it is over for some minutes.")
        return self._trial_page(request, trial=found)

    def _may_test(self, request: Request) -> None:
        if not self.has_change_permission(request) and not self.has_add_permission(request):
            raise PermissionDenied

    def _trial_page(self, request: Request, status: int = 200, **found: Any) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "title": "Test of a model", **found}
        template = "admin/agents/trial.html#trial" if wants(request, "trial") else "admin/agents/trial.html"
        response = TemplateResponse(request, template, context, status=status)
        add_never_cache_headers(response)
        return response

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
        "status",
        "cost",
        "chat",
        "error_code",
        "created_at",
        "steps",
        "attempts",
        "epoch",
    )
    ordering = ("-pk",)  # the newest first, by an index: ids begin with the time
    list_select_related = ("session",)
    list_filter = ("status", ("error_code", Values))
    actions = ("try_again", "give_up")

    @admin.display(description="session")
    def chat(self, run: Run) -> str:
        return Truncator(one_line(str(run.session))).chars(40)

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
