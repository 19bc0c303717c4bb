"""The administrators' pages for tools, policies, the ledger, trust and the audit trail."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import F, Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals import people, policy_admin  # noqa: F401 (they register their pages)
from approvals.actions import changes, tokens, tools, trust
from approvals.admin_base import Audited, ReadOnly, Values
from approvals.models import ApiToken, AuditEntry, Decision, Tool, ToolCall, TrustGrant
from approvals.presentation import mark
from approvals.states import ELSEWHERE

admin.site.site_header = admin.site.site_title = "Nod administration"
admin.site.index_title = "Tools, policies, agents, people"


class NotLookedAt(admin.SimpleListFilter):
    title = "looked at"
    parameter_name = "looked_at"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "New or changed"), ("yes", "Looked at")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Tool]) -> QuerySet[Tool]:
        match self.value():
            case "no":
                return queryset.exclude(looked_at=F("definition"))
            case "yes":
                return queryset.filter(looked_at=F("definition"))
        return queryset


class ToolForm(forms.ModelForm):  # type: ignore[type-arg]
    """With a word on the definition that is shown, and no other: whoever's agents have the tool may change it."""

    looked = forms.BooleanField(
        required=False, label="I have looked at this definition; policies may allow it"
    )
    seen = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["seen"] = self.instance.definition


@admin.register(Tool)
class ToolAdmin(Audited):
    kind = "tool.changed"
    form = ToolForm
    list_display = ("name", "state", "risk", "idempotent", "timeout", "provider", "first_seen", "last_seen")
    list_filter = (NotLookedAt, "risk", ("provider", Values))
    search_fields = ("name", "description")
    readonly_fields = (
        "name", "provider", "owner", "what_it_does", "arguments", "definition", "looked_at", "idempotent", "timeout",
        "first_seen", "last_seen",
    )  # fmt: skip
    fields = ("risk", *readonly_fields, "looked", "seen")
    actions = ("mark_looked_at",)

    def described(self, obj: Tool) -> dict[str, Any]:
        return changes.tool(obj)

    @admin.display(description="Description")
    def what_it_does(self, tool: Tool) -> SafeString:
        """Agents that run elsewhere send it: what deceives in it is marked."""
        return mark(tool.description)

    @admin.display(description="Schema")
    def arguments(self, tool: Tool) -> SafeString:
        return format_html("<pre>{}</pre>", mark(json.dumps(tool.schema, indent=2, ensure_ascii=False)))

    @admin.display(description="Looked at")
    def state(self, tool: Tool) -> str:
        if tool.known:
            return "yes"
        what = "changed" if tool.looked_at else "new"
        return format_html("<strong>⚠ {}: asked for until somebody has looked</strong>", what)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        if waiting := Tool.objects.exclude(looked_at=F("definition")).count():
            many = "One tool is" if waiting == 1 else f"{waiting} tools are"
            messages.warning(
                request,
                f"{many} new or changed. Read the definition, then choose “I have looked at …”; until then every "
                "call is asked for, whatever a policy allows.",
            )
        return super().changelist_view(request, extra_context)

    def save_model(self, request: HttpRequest, obj: Tool, form: Any, change: bool) -> None:
        Tool.objects.filter(pk=obj.pk).update(risk=obj.risk)
        seen = form.cleaned_data["seen"] or "none"
        if form.cleaned_data["looked"] and not tools.look_at(obj, request.user.get_username(), seen):
            messages.error(
                request, f"The definition of {obj.name} has changed since you opened it. Look again."
            )
        obj.refresh_from_db()

    @admin.action(description="I have looked at the definition of these tools", permissions=["change"])
    def mark_looked_at(self, request: HttpRequest, queryset: QuerySet[Tool]) -> None:
        for tool in queryset:
            if tool.provider == ELSEWHERE:
                messages.warning(
                    request,
                    f"{tool.name} is a tool of an agent elsewhere: open it, and say so beside its definition.",
                )
            else:
                tools.look_at(tool, request.user.get_username())

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class DecisionInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Decision
    fields = readonly_fields = ("by", "choice", "comment", "version", "digest", "at")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(ToolCall)
class ToolCallAdmin(ReadOnly):
    list_display = ("tool", "status", "risk", "agent", "requested_by", "requested_at", "policy")
    list_filter = ("status", ("tool", Values), "risk", ("agent", Values))
    search_fields = ("id", "session", "tool", "digest")
    list_select_related = ("requested_by",)
    inlines = (DecisionInline,)


@admin.register(TrustGrant)
class TrustGrantAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = (
        "tool",
        "session",
        "granted_by",
        "granted_at",
        "expires_at",
        "uses",
        "max_uses",
        "revoked_at",
    )
    list_select_related = ("granted_by",)
    actions = ("revoke",)

    @admin.action(description="Revoke the selected trust", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[TrustGrant]) -> None:
        count = sum(trust.revoke(grant.pk, grant.session, request.user) for grant in queryset)  # type: ignore[arg-type]
        self.message_user(request, f"{count} revoked.")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [field.name for field in TrustGrant._meta.fields]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnly):
    list_display = ("seq", "at", "kind", "actor", "tool", "session", "call")
    list_filter = ("kind",)
    search_fields = ("session", "call", "actor", "tool")


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("prefix", "user", "name", "scopes", "created_at", "revoked_at")
    list_select_related = ("user",)
    actions = ("revoke",)

    @admin.action(description="Revoke the selected tokens", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        for token in queryset.select_related("user"):
            tokens.revoke(token, request.user.get_username())

    fields = readonly_fields = ("user", "name", "prefix", "scopes", "created_at", "revoked_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
