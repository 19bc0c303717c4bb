"""The administrators' pages for policies: the list as sentences, "try a call", the dry run, suggestions."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from approvals.actions import changes, dry_runs, policies, suggestions
from approvals.actions.doubts import doubts
from approvals.actions.verdicts import facts_of
from approvals.admin_base import Audited, Values
from approvals.explain import explain
from approvals.models import DryRun, Tool, ToolCall, ToolPolicy
from approvals.narrowing import narrowings
from approvals.permissions import group_names, visible_calls
from approvals.policy import Policies, Rule, judge
from approvals.policy_files import Entry
from approvals.policy_forms import PolicyForm, TryForm
from approvals.presentation import mark
from approvals.sentences import sentence
from approvals.states import Effect

DRY_RUN = "_dry_run"
LONGEST_LINK = 1500  # characters of a condition that a link may carry


@admin.register(ToolPolicy)
class ToolPolicyAdmin(Audited):
    kind = "policy.changed"
    form = PolicyForm
    list_display = ("name", "says", "enabled")
    list_filter = ("effect", "enabled", ("agent", Values))
    search_fields = ("name", "tool", "when")
    filter_horizontal = ("groups",)
    fieldsets = (
        (None, {"fields": ("name", "tool", "effect", "when", "agent", "provider", "enabled")}),
        (
            "When it asks",
            {
                "fields": (
                    "groups", "quorum", "requester_may_decide", "open_for", "executable_for", "risk", "confirm",
                    "justify", "notify",
                )
            },
        ),
        ("Trust", {"fields": ("trust_expires_in", "trust_max_uses", "requester_may_trust")}),
    )  # fmt: skip
    change_form_template = "admin/policies/change_form.html"
    change_list_template = "admin/policies/change_list.html"

    def described(self, obj: ToolPolicy) -> dict[str, Any]:
        return changes.policy(obj)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description="What it does")
    def says(self, policy: ToolPolicy) -> str:
        return sentence(policies.entry(policy))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        for doubt in doubts(form.entry()):
            messages.warning(request, doubt)

    # --- Dry run -----------------------------------------------------------------------------------
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        if any(not key.isdecimal() or len(key) > 18 for key in request.POST.getlist("groups")):
            raise SuspiciousOperation("A group's number was none.")
        if request.method == "POST" and DRY_RUN in request.POST:
            obj = self.get_object(request, object_id) if object_id else None
            name = obj.name if obj else ""
            form: Any = self.get_form(request, obj, change=obj is not None)(request.POST, instance=obj)
            if self._may_write(request, obj) and form.is_valid():
                return self._begin_dry_run(request, name, form.entry())
        return super().changeform_view(request, object_id, form_url, extra_context)

    def _may_write(self, request: HttpRequest, obj: Any) -> bool:
        return self.has_change_permission(request, obj) if obj else self.has_add_permission(request)

    def _begin_dry_run(self, request: HttpRequest, name: str, draft: Entry) -> HttpResponse:
        """`name`: of the policy that the draft takes the place of, if any."""
        others = [each for each in policies.stored() if each.name not in (name, draft.name)]
        run = dry_runs.begin(request.user, draft.name, [*others, draft], dry_runs.LIMITS[1])  # type: ignore[arg-type]
        return redirect("admin:approvals_dry_run", run.pk)

    def dry_run_view(self, request: HttpRequest, run_id: UUID) -> HttpResponse:
        run = self._own_run(request, run_id)
        examples = [(call, Effect(before), Effect(after)) for call, before, after in run.examples]
        calls = visible_calls(request.user).in_bulk([call for call, _, _ in examples])
        shown = [(calls.get(UUID(call)), before, after) for call, before, after in examples]
        context = {
            "run": run,
            "changes": dry_runs.changes(run),
            "examples": [(call, mark(call.tool), before, after) for call, before, after in shown if call],
            "limits": dry_runs.LIMITS,
            "per_cent": 100 * run.done // run.total if run.total else 100,
        }
        part = "htmx" if request.headers.get("HX-Request") else ""
        return self._page(request, "dry_run.html", f"Dry run: {run.subject}", context, part)

    def dry_run_step(self, request: HttpRequest, run_id: UUID) -> HttpResponse:
        dry_runs.advance(self._own_run(request, run_id))
        return self.dry_run_view(request, run_id)

    def dry_run_again(self, request: HttpRequest, run_id: UUID) -> HttpResponse:
        run = self._own_run(request, run_id)
        limit = request.POST.get("limit", "")
        if limit not in map(str, dry_runs.LIMITS):
            raise Http404("There is no such number of calls to try.")
        anew = dry_runs.repeat(run, int(limit))
        return redirect("admin:approvals_dry_run", anew.pk)

    def _own_run(self, request: HttpRequest, run_id: UUID) -> DryRun:
        if not self.has_change_permission(request):
            raise PermissionDenied
        return get_object_or_404(DryRun, pk=run_id, by=request.user)

    # --- Try a call --------------------------------------------------------------------------------
    def try_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        call = self._call(request)
        form = TryForm(request.POST) if request.method == "POST" else TryForm(initial=_initial(call))
        context: dict[str, Any] = {
            "form": form,
            "call": call,
            "tools": Tool.objects.values_list("name", flat=True),
            "pages": self._pages(request),
        }
        if form.is_valid():
            context |= _judged(form.cleaned_data, {})
        elif request.method == "GET" and form.initial:
            as_sent = TryForm(form.initial)
            context |= _judged(as_sent.cleaned_data, dict(form.initial)) if as_sent.is_valid() else {}
        return self._page(request, "try.html", "Try a call", context)

    def _pages(self, request: HttpRequest) -> dict[str, int]:
        """The policies that their names lead to, for those who may change them."""
        return (
            dict(ToolPolicy.objects.values_list("name", "pk")) if self.has_change_permission(request) else {}
        )

    def _call(self, request: HttpRequest) -> ToolCall | None:
        """The call that the link names, if this person may see it."""
        if request.method != "GET" or not (call_id := request.GET.get("call", "")):
            return None
        try:
            return visible_calls(request.user).select_related("requested_by").get(pk=UUID(call_id))
        except (ValueError, ToolCall.DoesNotExist):
            raise Http404("There is no such call, or it is not yours to see.") from None

    # --- Suggestions -------------------------------------------------------------------------------
    def suggestions_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = [
            {"what": each, "says": mark(each.words), **what_to_do}
            for each in suggestions.suggest(visible_calls(request.user))
            if (what_to_do := _what_to_do(each))
        ]
        context = {"suggestions": found, "least": suggestions.LEAST, "days": suggestions.PERIOD.days}
        return self._page(request, "suggestions.html", "Suggestions", context)

    # --- Addresses ---------------------------------------------------------------------------------
    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        own = [
            path("try/", view(self.try_view), name="approvals_try"),
            path("suggestions/", view(self.suggestions_view), name="approvals_suggestions"),
            path("dry-run/<uuid:run_id>/", view(self.dry_run_view), name="approvals_dry_run"),
            path(
                "dry-run/<uuid:run_id>/step/",
                view(require_POST(self.dry_run_step)),
                name="approvals_dry_run_step",
            ),
            path(
                "dry-run/<uuid:run_id>/again/",
                view(require_POST(self.dry_run_again)),
                name="approvals_dry_run_again",
            ),
        ]
        return [*own, *super().get_urls()]

    def _page(
        self, request: HttpRequest, template: str, title: str, context: dict[str, Any], part: str = ""
    ) -> HttpResponse:
        frame = {**self.admin_site.each_context(request), "title": title, "opts": ToolPolicy._meta}
        name = f"admin/policies/{template}{f'#{part}' if part else ''}"
        return TemplateResponse(request, name, frame | context)


def _initial(call: ToolCall | None) -> dict[str, Any]:
    if call is None:
        return {}
    arguments = call.arguments if call.proposed is None else call.proposed
    return {
        "tool": call.tool,
        "agent": call.agent,
        "requester": call.requested_by.get_username(),
        "arguments": json.dumps(arguments, indent=2, ensure_ascii=False),
        "session": call.session,
        "now": call.requested_at,
    }


def _judged(call: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """What the policies say of the call that was entered, why, and what would be narrower. `asked`: where it is one
    of the ledger, its session and time."""
    requester = call["requester"]
    facts = facts_of(
        call["tool"],
        call["agent"].strip(),
        call["arguments"],
        trusted=call["trusted"],
        user=requester.get_username() if requester else "",
        user_groups=tuple(sorted(group_names(requester))) if requester else (),
        session=asked.get("session", ""),
        now=asked.get("now") or timezone.now(),
    )
    entries = [each for each in policies.stored() if each.enabled]
    verdict, considered = explain(facts, Policies(map(policies.rule_of, entries)))
    says = {each.name: sentence(each) for each in entries}
    return {
        "verdict": verdict,
        "considered": [(each, says[each.rule.name]) for each in considered],
        "narrower": [
            (mark(each.words), _link(facts.tool, each.condition, f"{facts.tool}: {each.words}"))
            for each in narrowings(call["arguments"])
            if verdict.asks and len(each.condition) <= LONGEST_LINK
        ],
        "always": verdict.effect == Effect.ALWAYS_ASK,
    }


def _what_to_do(each: suggestions.Suggestion) -> dict[str, Any] | None:
    """A policy that would allow such calls, or the one that has to change first; None where they are allowed by now."""
    tool = Tool.objects.filter(name=each.tool).first()
    if tool is None:
        return None
    facts = facts_of(tool, "", each.example, now=timezone.now())
    rules = [policies.rule_of(entry) for entry in policies.stored() if entry.enabled]
    if judge(facts, Policies(rules)).effect == Effect.ALLOW:
        return None
    draft = Rule(f"Allow {each.name}"[:200], each.tool, Effect.ALLOW, when=each.condition)
    verdict = judge(facts, Policies([*rules, draft]))
    if verdict.effect == Effect.ALLOW:
        return {"link": _link(each.tool, each.condition, each.name)}
    stronger = ToolPolicy.objects.filter(name=verdict.policy).first()
    return {"stronger": stronger} if stronger else None


def _link(tool: str, condition: str, name: str) -> str:
    """To a new policy that allows this; a person looks at it, and saves it or does not."""
    said = {"name": f"Allow {name}"[:200], "tool": tool, "effect": Effect.ALLOW, "when": condition}
    return f"{reverse('admin:approvals_toolpolicy_add')}?{urlencode(said)}"
