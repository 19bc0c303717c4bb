"""What the administrators' pages share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from approvals import audit
from approvals.actions import changes


class Values(admin.AllValuesFieldListFilter):
    """By what stands in a field. Django gives what is empty a link without a word in it."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        for each in super().choices(changelist):
            shown = str(each["display"])
            yield {**each, "display": f"none{shown}" if not shown or shown.startswith(" (") else shown}


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that only actions write."""

    actions: Any = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class Audited(admin.ModelAdmin):  # type: ignore[type-arg]
    """Each change by an administrator goes into the audit trail, with before and after."""

    kind = ""

    def described(self, obj: Any) -> dict[str, Any]:
        """The row as JSON."""
        raise NotImplementedError

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> type[ModelForm[Any]]:
        request._audited_before = self.described(obj) if obj else None  # type: ignore[attr-defined]
        return super().get_form(request, obj, change=change, **kwargs)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        before = request._audited_before  # type: ignore[attr-defined]
        changes.record(self.kind, request.user.get_username(), before, self.described(form.instance))

    @audit.audited()
    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        changes.record(self.kind, request.user.get_username(), self.described(obj), None)
        super().delete_model(request, obj)

    @audit.audited()
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for row in queryset:
            self.delete_model(request, row)
