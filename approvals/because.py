"""Why a call is asked about, in words for whoever decides: what its policy is about, and what it looks at."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from approvals.conditions import arguments_in
from approvals.models import ToolCall, ToolPolicy
from approvals.policy import is_pattern
from approvals.presentation import mark, summary
from approvals.states import Effect

_ARGUMENT = r"args\.(?P<name>[A-Za-z_]\w*)"
_NUMBER = r"(?P<value>-?\d+(?:\.\d+)?)"
_TEXT = r'(?P<quote>["\'])(?P<value>[^"\'\\]*)(?P=quote)'
_FORMS = tuple(
    (re.compile(form), words)
    for form, words in (
        (rf"{_ARGUMENT} > {_NUMBER}", "<code>{name}</code> is more than {value}"),
        (rf"{_ARGUMENT} >= {_NUMBER}", "<code>{name}</code> is at least {value}"),
        (rf"{_ARGUMENT} < {_NUMBER}", "<code>{name}</code> is less than {value}"),
        (rf"{_ARGUMENT} <= {_NUMBER}", "<code>{name}</code> is at most {value}"),
        (rf"{_ARGUMENT} == {_TEXT}", "<code>{name}</code> is “{value}”"),
        (rf"{_ARGUMENT} != {_TEXT}", "<code>{name}</code> is not “{value}”"),
        (
            rf"{_ARGUMENT}(?:\.lowerAscii\(\))?\.endsWith\({_TEXT}\)",
            "<code>{name}</code> ends with “{value}”",
        ),
        (
            rf"!{_ARGUMENT}(?:\.lowerAscii\(\))?\.endsWith\({_TEXT}\)",
            "<code>{name}</code> does not end with “{value}”",
        ),
        (rf"{_ARGUMENT}\.startsWith\({_TEXT}\)", "<code>{name}</code> starts with “{value}”"),
        (rf"!{_ARGUMENT}\.startsWith\({_TEXT}\)", "<code>{name}</code> does not start with “{value}”"),
        (rf"{_ARGUMENT}\.contains\({_TEXT}\)", "<code>{name}</code> has “{value}” in it"),
        (rf"!{_ARGUMENT}\.contains\({_TEXT}\)", "<code>{name}</code> does not have “{value}” in it"),
    )
)
_BLANKS = re.compile(r"""(?P<quoted>"[^"]*"|'[^']*')|\s+""")
_JOINED = {" && ": " and ", " || ": " or "}


@dataclass(frozen=True)
class Because:
    """What the policy of a call is about, as it is now."""

    policy: ToolPolicy
    about: SafeString  # every call of send_email
    when: SafeString = SafeString()  # a condition in words
    code: str = ""  # one that has no words, as it is
    here: SafeString = SafeString()  # the arguments of this call that it looks at
    changed: bool = False  # it is not what it was when it asked

    @property
    def always(self) -> bool:
        return self.policy.effect == Effect.ALWAYS_ASK


def because(call: ToolCall) -> Because | None:
    """Of the policy that the call was asked for; None where none was, or it is gone."""
    policy = ToolPolicy.objects.filter(name=call.policy).first() if call.policy else None
    if policy is None:
        return None
    words = in_words(policy.when)
    return Because(
        policy,
        _about(policy),
        words,
        "" if words else _in_one_line(policy.when),
        _here(policy.when, call),
        policy.updated_at > call.requested_at,
    )


def in_words(condition: str) -> SafeString:
    """The condition as people would say it, where it is one of the usual ones; else nothing, never a guess."""
    condition = _in_one_line(condition)
    for sign, word in _JOINED.items():
        if sign in condition:
            parts = [_one(part) for part in condition.split(sign)]
            return format_html_join(word, "{}", ((part,) for part in parts)) if all(parts) else SafeString()
    return _one(condition)


def _in_one_line(condition: str) -> str:
    """What stands in quotes stays as it is: two blanks are not one."""
    return _BLANKS.sub(lambda found: found["quoted"] or " ", condition).strip()


def _one(condition: str) -> SafeString:
    for form, words in _FORMS:
        if found := form.fullmatch(condition):
            value = found["value"]
            number = "quote" not in form.groupindex and value.lstrip("-").isdecimal()
            return format_html(words, name=found["name"], value=f"{int(value):,}" if number else value)
    return SafeString()


def _about(policy: ToolPolicy) -> SafeString:
    calls = SafeString("every call")
    if policy.tool != "*":
        named = " of tools named" if is_pattern(policy.tool) else " of"
        calls = format_html("{}{} <code>{}</code>", calls, named, policy.tool)
    if policy.provider:
        calls = format_html("{} from {}", calls, policy.provider)
    return format_html("{} by {}", calls, policy.agent) if policy.agent else calls


def _here(condition: str, call: ToolCall) -> SafeString:
    """What the agent asked for, of the arguments that the condition names; secrets stay masked."""
    asked = call.arguments if call.proposed is None else call.proposed
    named = arguments_in(condition)
    looked_at = (
        {name: value for name, value in asked.items() if name in named} if isinstance(asked, dict) else {}
    )
    return mark(summary(looked_at))
