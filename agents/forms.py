"""The administrators' form of an agent: what cannot work is refused where it is written."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.conf import settings

from agents import providers
from agents.models import Agent
from agents.providers import parameters
from agents.providers.problems import ModelProblem
from agents.runtimes.arns import ARN

QUALIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
ARN_HINT = (
    "An agent on AgentCore needs its runtime's ARN, such as "
    "arn:aws:bedrock-agentcore:us-west-2:111122223333:runtime/assistant-AbCdEf1234; "
    "`manage.py agentcore status` prints it."
)
NOT_LOCAL = "An agent in the worker has none. Leave it empty, or choose “On Amazon Bedrock AgentCore” above."


class ModelForm(forms.ModelForm):  # type: ignore[type-arg]
    """What the model of an agent is, and nothing else: enough to test it."""

    class Meta:
        model = Agent
        fields = ("provider", "model_id", "parameters", "runtime")
        help_texts = {"provider": "Where the model is (docs/models.md)."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "provider" in self.fields:
            self.fields["provider"].widget = forms.Select(choices=_providers(self.instance.provider))

    def clean_provider(self) -> str:
        name: str = self.cleaned_data["provider"]
        if name and name not in providers.available():
            raise forms.ValidationError(
                f"There is no provider “{name}”. There are: {', '.join(providers.available())}."
            )
        return name

    def clean_model_id(self) -> str:
        return str(self.cleaned_data["model_id"]).strip()

    def clean_parameters(self) -> dict[str, Any]:
        given = self.cleaned_data["parameters"]
        if not isinstance(given, dict):
            raise forms.ValidationError('Give an object, such as {"temperature": 0.2}.')
        return given

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if {"provider", "model_id", "parameters"} <= cleaned.keys():
            try:
                parameters.check(self.provider(), cleaned["model_id"], cleaned["parameters"])
            except ModelProblem as problem:
                self.add_error(
                    "parameters" if problem.code == "bad_parameters" else "model_id", problem.message
                )
        return cleaned

    def provider(self) -> str:
        """The one that is chosen, or that of the whole site."""
        return str(self.cleaned_data["provider"] or settings.NOD_MODEL_PROVIDER)


class AgentForm(ModelForm):
    """The whole agent."""

    class Meta(ModelForm.Meta):
        fields = "__all__"  # type: ignore[assignment] # noqa: DJ007 (the admin's fieldsets choose)
        widgets = {"runtime_arn": forms.TextInput(attrs={"class": "vLargeTextField"})}  # a whole ARN in view

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        names = {name: (cleaned.get(name) or "").strip() for name in ("runtime_arn", "runtime_qualifier")}
        cleaned.update(names)
        if cleaned.get("runtime") == Agent.Runtime.AGENTCORE:
            if not ARN.fullmatch(names["runtime_arn"]):
                self.add_error("runtime_arn", ARN_HINT)
            if names["runtime_qualifier"] and not QUALIFIER.fullmatch(names["runtime_qualifier"]):
                self.add_error(
                    "runtime_qualifier", "Give the name of an endpoint, such as DEFAULT, or leave it empty."
                )
        else:
            for name, given in names.items():
                if given:
                    self.add_error(name, NOT_LOCAL)
        return cleaned


def _providers(now: str) -> list[tuple[str, str]]:
    """To choose from. One that this Nod does not have stays what it is, so that saving says so."""
    names = providers.available()
    return [
        ("", f"As NOD_MODEL_PROVIDER says: {settings.NOD_MODEL_PROVIDER}"),
        *((name, name) for name in [*names, *([now] if now and now not in names else [])]),
    ]
