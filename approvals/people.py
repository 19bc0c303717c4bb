"""The administrators' pages for people and groups: Django's own, audited, and with no way up.

An administrator who is no superuser can neither make one, nor change one, nor hand out rights one by one.
"""

from __future__ import annotations

from typing import Any

from axes.utils import reset
from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse

from approvals import audit
from approvals.actions import changes
from approvals.admin_base import Audited
from approvals.setup import RIGHTS

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class PersonAdmin(Audited, UserAdmin):  # type: ignore[type-arg]
    kind = "person.changed"
    list_display = ("username", "email", "is_active", "is_staff", "last_login")

    actions = ("unlock",)

    def described(self, obj: User) -> dict[str, Any]:
        return changes.person(obj)

    @admin.action(description="Forget failed sign-ins, so that they may try again", permissions=["change"])
    def unlock(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        with audit.audited():
            for user in queryset:
                if reset(username=user.get_username()):
                    audit.record("person.unlocked", request.user.get_username(), person=user.get_username())
        self.message_user(request, "They may try again.")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fixed = ("last_login", "date_joined")
        return fixed if _superuser(request) else (*fixed, "is_superuser", "user_permissions")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        if isinstance(obj, User) and obj.is_superuser and not _superuser(request):
            return False
        return super().has_change_permission(request, obj)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        with transaction.atomic():
            before = self._described(id)
            response = super().user_change_password(request, id, form_url)
            changes.record(self.kind, request.user.get_username(), before, self._described(id))
        return response

    def _described(self, id: str) -> dict[str, Any] | None:
        user = User.objects.filter(pk=id).first() if id.isdecimal() else None
        return changes.person(user) if user else None


class GroupForm(forms.ModelForm):  # type: ignore[type-arg]
    """A call keeps the names of its groups as |name|name|."""

    class Meta:
        model = Group
        fields = ("name", "permissions")

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if "|" in name:
            raise forms.ValidationError("A group's name cannot have a | in it.")
        return name


@admin.register(Group)
class PeopleAdmin(Audited, GroupAdmin):
    kind = "group.changed"
    form = GroupForm

    def described(self, obj: Group) -> dict[str, Any]:
        return changes.group(obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names = ("name",) if obj and obj.name in RIGHTS else ()  # policies and code know these by name
        return names if _superuser(request) else (*names, "permissions")

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """A policy that lost its last group would ask reviewers instead."""
        needed = isinstance(obj, Group) and (obj.name in RIGHTS or obj.toolpolicy_set.exists())
        return not needed and super().has_delete_permission(request, obj)


def _superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))
