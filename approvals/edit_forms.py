"""The form in which a reviewer changes arguments: typed by the tool's schema, and read back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django.utils.safestring import SafeString

from approvals.actions.edits import Misfit, digest_of, misfits, schema_of
from approvals.deception import deceptive, warning
from approvals.differences import Change, changes
from approvals.digest import canonical
from approvals.errors import InvalidArguments
from approvals.models import ToolCall
from approvals.presentation import key_of, mark
from approvals.secrecy import hide
from approvals.sizes import TOO_LONG, too_long

UNCHANGED = "Nothing is changed yet. Change something, or approve the call as it is."
MOST_FIELDS = 200
TOO_MANY = f"This has more than {MOST_FIELDS} arguments, too many to change them in a form."
PROSE = 80  # characters from which on a text gets several lines
TOLD = 200  # characters of a problem
NONE = object()  # an argument that the call leaves out

_CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]|\r(?!\n)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Field:
    """One argument in the form. `kind`: line, text, number, yes-no, choice, lines, json, or hidden (a secret)."""

    name: str
    kind: str
    text: str = ""  # what stands in the field
    original: Any = NONE
    options: tuple[tuple[str, SafeString], ...] = ()
    error: str = ""
    hidden: int = 0

    @property
    def key(self) -> str:
        """The field's name in the form: arguments may have any name."""
        return key_of(self.name)

    @property
    def label(self) -> SafeString:
        return mark(self.name)

    @property
    def rows(self) -> int:
        return min(max(self.text.count("\n") + 2, 3 if self.kind == "text" else 2), 16)

    @property
    def warning(self) -> str:
        return "" if self.kind == "hidden" else warning(self.text)

    @property
    def problem(self) -> SafeString:
        """The error; it may quote what was typed."""
        return mark(self.error)

    @property
    def hint(self) -> str:
        told = {"number": "number", "lines": "one a line", "json": "JSON"}.get(self.kind, "")
        return ", ".join(filter(None, [told, "left out so far" if self.left_out else ""]))

    @property
    def left_out(self) -> bool:
        return self.original is NONE


@dataclass(frozen=True)
class EditForm:
    """The whole form. `error` is about no single field."""

    fields: tuple[Field, ...]
    error: str = ""

    @property
    def fits(self) -> bool:
        return not self.error and not any(each.error for each in self.fields)


@dataclass(frozen=True)
class Edited:
    """Arguments that fit. Only `changed` goes through the browser: the rest stays as it is stored, secrets too."""

    arguments: dict[str, Any]
    changed: dict[str, Any]
    digest: str
    changes: list[Change] = field(default_factory=list)

    @property
    def changed_json(self) -> str:
        return json.dumps(self.changed)


def form_of(
    call: ToolCall,
    changed: Mapping[str, Any] | None = None,
    shown: frozenset[str] = frozenset(),
    sent: Mapping[str, str] | None = None,
) -> EditForm:
    """The form for a call, with what was changed already, or typed so far.

    Secrets are no fields of it unless they are shown.
    """
    properties = _properties(call)
    names = _names(call, properties)
    specs = {name: _object(properties.get(name)) for name in names}
    fields = (_field(name, specs[name], call.arguments.get(name, NONE), shown) for name in names)
    filled = (_with(each, changed or {}) for each in fields)
    return EditForm(tuple(_as_sent(each, sent or {}) for each in filled))


def too_many(call: ToolCall, schema: dict[str, Any]) -> bool:
    """Whether the form would have more fields than anybody fills in, or than are taken at all."""
    return len(_names(call, _object(schema.get("properties")))) > MOST_FIELDS


def read(call: ToolCall, sent: Mapping[str, str]) -> tuple[EditForm, Edited | None]:
    """What was typed, and the arguments that it makes; with errors beside the fields where it makes none."""
    typed = frozenset(each.name for each in form_of(call).fields if each.key in sent)
    read_fields, values = [], {}
    for each in form_of(call, shown=typed).fields:
        each, value = _read(each, sent)
        read_fields.append(each)
        if value is not NONE:
            values[each.name] = value
    form = EditForm(tuple(read_fields))
    return _checked(call, form, values) if form.fits else (form, None)


def edited(call: ToolCall, changed: Any) -> tuple[EditForm, Edited | None]:
    """The same, of changes that were looked at already."""
    if not isinstance(changed, dict):
        return EditForm(form_of(call).fields, UNCHANGED), None
    return _checked(call, form_of(call, changed), {**call.arguments, **changed})


# --- What stands in a field --------------------------------------------------------------------------


def _properties(call: ToolCall) -> dict[str, Any]:
    return _object(schema_of(call.tool).get("properties"))


def _names(call: ToolCall, properties: dict[str, Any]) -> list[str]:
    """The arguments that there are, and those that the call leaves out."""
    return [*properties, *(name for name in call.arguments if name not in properties)]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _field(name: str, spec: dict[str, Any], value: Any, shown: frozenset[str]) -> Field:
    hidden = 0 if value is NONE else hide(name, value)[1]
    if hidden and name not in shown:
        return Field(name, "hidden", original=value, hidden=hidden)
    kind = _kind({} if hidden else spec, value)  # among the choices of a select, the value would be told
    return Field(name, kind, _shown(kind, value), value, _options(kind, spec, value), hidden=hidden)


def _with(each: Field, changed: Mapping[str, Any]) -> Field:
    """The field with a changed value in it; as JSON where its kind cannot hold that."""
    if each.name not in changed:
        return each
    value = changed[each.name]
    kind = each.kind if each.kind not in ("hidden", "json") else _kind({}, value)
    if not _holds(kind, value):
        kind = "json"
    return replace(each, kind=kind, text=_shown(kind, value))


def _as_sent(each: Field, sent: Mapping[str, str]) -> Field:
    return each if each.kind == "hidden" else replace(each, text=sent.get(each.key, each.text))


def _kind(spec: dict[str, Any], value: Any) -> str:
    """How a value is typed in: as the schema says, as far as the value is of that type."""
    if isinstance(spec.get("enum"), list) and spec["enum"]:
        return "choice"
    told = spec.get("type")
    if value is NONE:
        blanks = {"string": "line", "number": "number", "integer": "number", "boolean": "yes-no"}
        return blanks.get(told, "json") if isinstance(told, str) else "json"
    types = {
        "yes-no": ("boolean",),
        "number": ("number", "integer"),
        "line": ("string",),
        "lines": ("array",),
    }
    for kind, names in types.items():
        if (told is None or told in names) and _holds(kind, value):
            if kind == "lines" and _object(spec.get("items")).get("type", "string") != "string":
                return "json"
            return "text" if kind == "line" and (len(value) > PROSE or "\n" in value) else kind
    return "json"


def _holds(kind: str, value: Any) -> bool:
    """Whether a field of this kind gives the value back as it is."""
    match kind:
        case "yes-no":
            return isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "line" | "text":
            return isinstance(value, str) and not _CONTROL.search(value)
        case "lines":
            return isinstance(value, list) and all(_is_line(item) for item in value)
        case "choice":
            return not isinstance(value, dict | list)
    return True


def _is_line(item: Any) -> bool:
    return isinstance(item, str) and bool(item.strip()) and "\n" not in item and not _CONTROL.search(item)


def _shown(kind: str, value: Any) -> str:
    if value is NONE:
        return ""
    if kind in ("line", "text"):
        return str(value)
    if kind == "lines":
        return "\n".join(value)
    if kind in ("choice", "yes-no"):
        return json.dumps(value)
    return json.dumps(value, indent=2 if kind == "json" else None, ensure_ascii=deceptive(value))


def _options(kind: str, spec: dict[str, Any], value: Any) -> tuple[tuple[str, SafeString], ...]:
    if kind == "yes-no":
        options: list[Any] = [True, False]
    elif kind == "choice":
        options = list(spec["enum"])
    else:
        return ()
    if value is not NONE and all(canonical(each) != canonical(value) for each in options):
        options.insert(0, value)
    left_out = [("", mark("(left out)"))] if value is NONE else []
    return (*left_out, *((json.dumps(each), _option(each)) for each in options))


def _option(value: Any) -> SafeString:
    if isinstance(value, bool):
        return mark("yes" if value else "no")
    return mark(value if isinstance(value, str) else json.dumps(value))


# --- What was typed ----------------------------------------------------------------------------------


def _read(each: Field, sent: Mapping[str, str]) -> tuple[Field, Any]:
    """The field as it was sent, and its value. What nobody touched is exactly what it was."""
    if each.key not in sent or each.kind == "hidden":
        return each, each.original
    text = sent[each.key].replace("\r\n", "\n")
    if text == each.text.replace("\r\n", "\n"):
        return each, each.original
    each = replace(each, text=text)
    if each.left_out and not text.strip():
        return each, NONE
    try:
        value = _value(each.kind, text, each.original)
        canonical(value)
        return each, value
    except ValueError as problem:
        return replace(each, error=str(problem)), NONE
    except InvalidArguments as problem:
        return replace(each, error=problem.message), NONE


def _value(kind: str, text: str, original: Any) -> Any:
    """Raises ValueError with a sentence."""
    match kind:
        case "line" | "text":
            crlf = isinstance(original, str) and "\r\n" in original
            return text.replace("\n", "\r\n") if crlf else text
        case "lines":
            return [line for line in text.split("\n") if line.strip()]
        case "number":
            if not _NUMBER.fullmatch(text.strip()):
                raise ValueError("This has to be a number, such as 12 or 0.5.")
    return _json(text)


def _json(text: str) -> Any:
    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no number in JSON.")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as problem:
        where = f"line {problem.lineno}, column {problem.colno}"
        raise ValueError(
            f"This is no JSON: {problem.msg.lower()} in {where}. Texts stand in quotes."
        ) from None
    except RecursionError:
        raise ValueError("This is nested too deeply.") from None


def _checked(call: ToolCall, form: EditForm, values: dict[str, Any]) -> tuple[EditForm, Edited | None]:
    """Whether the arguments fit the tool, as an edit over the API has to."""
    try:
        whole, problems = misfits(call.tool, values)
        if too_long(whole):
            return replace(form, error=TOO_LONG), None
    except InvalidArguments as error:
        return replace(form, error=error.message), None
    if problems:
        return _blamed(form, problems), None
    changed = {
        name: value
        for name, value in whole.items()
        if name not in call.arguments or canonical(value) != canonical(call.arguments[name])
    }
    if not changed:
        return replace(form, error=UNCHANGED), None
    return form, Edited(whole, changed, digest_of(call, whole), changes(call.arguments, whole))


def _blamed(form: EditForm, problems: list[Misfit]) -> EditForm:
    """Each problem beside its field; what is about none stands above the form."""
    said: dict[str, str] = {}
    for each in problems:
        said.setdefault(each.argument, _shortened(each.message))
    fields = tuple(replace(each, error=_complaint(each, said.pop(each.name, ""))) for each in form.fields)
    return EditForm(fields, f"The arguments do not fit the tool: {'; '.join(said.values())}." if said else "")


def _complaint(each: Field, message: str) -> str:
    if message and each.hidden:  # the schema's own words would quote the value
        return "This does not fit the tool."
    return f"This does not fit the tool: {message}." if message else ""


def _shortened(text: str) -> str:
    return text if len(text) <= TOLD else text[: TOLD - 1] + "…"
