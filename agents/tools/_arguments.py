"""A pydantic model of a function's arguments, made from its signature and docstring."""

import inspect
import json
from collections.abc import Callable
from typing import Any, get_type_hints

from docstring_parser import parse
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

_NAMED = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}


class SignatureProblem(TypeError):
    """A function cannot become a tool; the message says why in words that follow the function's name."""


def model_of(function: Callable[..., Any]) -> type[BaseModel]:
    """A model with one field for each parameter of the function.

    Fields are called `arg_NAME`, with the alias NAME, so that a parameter may be called `json` or `copy`.

    Raises:
        SignatureProblem: a parameter has no annotation or cannot be given by name.
    """
    hints = get_type_hints(function, include_extras=True)
    described = {param.arg_name: param.description for param in parse(function.__doc__ or "").params}
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in _NAMED:
            raise SignatureProblem(f"takes {parameter}, but every argument of a tool needs a name of its own")
        if name not in hints:
            raise SignatureProblem(f"does not say the type of its argument {name}")
        fields[f"arg_{name}"] = (hints[name], _field(name, parameter, described.get(name)))
    config = ConfigDict(extra="forbid", strict=True)
    model: type[BaseModel] = create_model("Arguments", __config__=config, **fields)
    return model


def _field(name: str, parameter: inspect.Parameter, description: str | None) -> FieldInfo:
    text = " ".join(description.split()) if description else None
    default: Any = ... if parameter.default is parameter.empty else parameter.default
    field: FieldInfo = Field(default, alias=name, description=text)
    return field


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a model of arguments, without the titles that pydantic derives from the names."""
    schema = model.model_json_schema()
    for part in [schema, *schema.get("$defs", {}).values()]:
        part.pop("title", None)
        for field in part.get("properties", {}).values():
            field.pop("title", None)
    schema.setdefault("properties", {})
    return schema


def parse_arguments(model: type[BaseModel], arguments: object) -> BaseModel:
    """Read the arguments as strict JSON: "5" is no number, and a date may be an ISO string.

    Raises:
        ValueError: they do not fit; its message has one sentence for each problem.
    """
    if not isinstance(arguments, dict):
        raise ValueError("The arguments have to be a JSON object.")
    try:
        text = json.dumps(arguments, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("The arguments are not plain JSON.") from None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(sentences(error)) from None


def sentences(error: ValidationError) -> str:
    """One sentence for each problem, naming the argument and never repeating its value."""
    return " ".join(_sentence(problem) for problem in error.errors(include_url=False, include_input=False))


def _sentence(problem: ErrorDetails) -> str:
    where = _path(problem["loc"])
    match problem["type"]:
        case "missing":
            return f"The argument {where} is missing."
        case "extra_forbidden":
            return f"There is no argument {where}."
        case "json_invalid":
            return "The arguments are not plain JSON."
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    if where:
        return f"The argument {where} {message}." if message.startswith("should") else f"{where}: {message}."
    return f"The arguments: {message}."


def _path(location: tuple[int | str, ...]) -> str:
    """("paths", 0) becomes paths[0]."""
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in location]
    return "".join(steps).removeprefix(".")
