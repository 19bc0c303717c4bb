"""Forms for policies: each mistake is explained where it was made."""

from __future__ import annotations

import json
from dataclasses import fields as dataclass_fields
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.models import User

from approvals.conditions import BadCondition, check
from approvals.digest import canonical
from approvals.durations import format_duration, parse_duration
from approvals.errors import InvalidArguments, InvalidInput
from approvals.models import Tool, ToolPolicy
from approvals.policy_files import Entry
from approvals.policy_files.entries import DURATIONS, UNSEEN, hides


class Duration(forms.DurationField):
    """15m, 8h, 2d, or as Django writes durations."""

    widget = forms.TextInput(attrs={"size": 10})
    default_error_messages = {"invalid": "Write a number with s, m, h or d, such as 15m, 8h or 2d."}

    def to_python(self, value: Any) -> timedelta | None:
        try:
            return parse_duration(value.strip())
        except (InvalidInput, AttributeError):
            return super().to_python(value)

    def prepare_value(self, value: Any) -> Any:
        return format_duration(value) if isinstance(value, timedelta) else value


class PolicyForm(forms.ModelForm):  # type: ignore[type-arg]
    """A policy. `entry()` is what it says, saved or not."""

    class Meta:
        model = ToolPolicy
        fields = tuple(each.name for each in dataclass_fields(Entry))
        field_classes = dict.fromkeys(sorted(DURATIONS), Duration)
        widgets = {
            "name": forms.TextInput(attrs={"size": 70}),
            "when": forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "quorum" in self.fields:
            self.fields["quorum"].required = False

    def clean_quorum(self) -> int:
        quorum: int | None = self.cleaned_data["quorum"]
        return 1 if quorum is None else quorum

    def clean_tool(self) -> str:
        pattern: str = self.cleaned_data["tool"].strip()
        if len(pattern.split()) != 1:
            raise forms.ValidationError("A tool's name, or one pattern: no spaces.")
        if pattern.startswith("!"):
            raise forms.ValidationError("Leave the ! out and choose “Always ask” instead.")
        return pattern

    def clean_when(self) -> str:
        # browsers send lines as the mail standard has them; a file has them as \n
        condition: str = self.cleaned_data["when"].replace("\r\n", "\n").strip()
        if condition:
            try:
                check(condition)
            except BadCondition as bad:
                raise forms.ValidationError(str(bad)) from None
        return condition

    def clean(self) -> dict[str, Any] | None:
        """What the file may not say, the form may not either: else an export could not be imported."""
        cleaned = super().clean()
        for name, value in self.cleaned_data.copy().items():
            if hides(value):
                self.add_error(name, f"It holds {UNSEEN}")
        return cleaned

    def entry(self) -> Entry:
        """Of a form that is valid."""
        said = {
            **self.cleaned_data,
            "groups": tuple(sorted(group.name for group in self.cleaned_data["groups"])),
        }
        return Entry(**said)


class TryForm(forms.Form):
    """A call to try the policies on."""

    tool = forms.CharField(max_length=100)
    agent = forms.CharField(max_length=100, required=False, help_text="Its slug.")
    requester = forms.CharField(max_length=150, required=False, help_text="Whose chat it is.")
    arguments = forms.CharField(widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}), initial="{}")
    trusted = forms.BooleanField(required=False, help_text="As if the tool was trusted in the session.")

    def clean_tool(self) -> Tool:
        tool = Tool.objects.filter(name=self.cleaned_data["tool"].strip()).first()
        if tool is None:
            names = ", ".join(Tool.objects.values_list("name", flat=True)[:50])
            raise forms.ValidationError(f"There is no tool of this name. There are: {names}.")
        return tool

    def clean_requester(self) -> User | None:
        name = self.cleaned_data["requester"].strip()
        user = User.objects.filter(username=name).first()
        if name and user is None:
            raise forms.ValidationError("There is no person of this name.")
        return user

    def clean_arguments(self) -> dict[str, Any]:
        try:
            arguments = json.loads(self.cleaned_data["arguments"])
            canonical(arguments)
        except ValueError as error:
            raise forms.ValidationError(f"This is no JSON: {error}.") from None
        except RecursionError:
            raise forms.ValidationError("This is nested too deeply.") from None
        except InvalidArguments as error:
            raise forms.ValidationError(error.message) from None
        if not isinstance(arguments, dict):
            raise forms.ValidationError('Arguments are one object, such as {"to": "dev@example.com"}.')
        return arguments
