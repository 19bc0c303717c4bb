"""Calls to AWS as plain data, held against AWS's own description of them before they are made or printed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from hitl_site.agentcore.trouble import Trouble


@dataclass(frozen=True)
class Call:
    """One call: service and operation as AWS names them, such as iam and CreateRole."""

    service: str
    operation: str
    parameters: dict[str, Any]

    def line(self) -> str:
        """As one line of JSON; a file that goes along is only mentioned."""
        shown = {"service": self.service, "operation": self.operation, "parameters": _shown(self.parameters)}
        return json.dumps(shown)


def check(call: Call) -> None:
    """Compare a call with the service's model: names, types, what is required, lengths, words and patterns."""
    from botocore.validate import ParamValidator

    shape = _model(call.service).operation_model(call.operation).input_shape
    report = ParamValidator().validate(call.parameters, shape)
    problems = [report.generate_report()] if report.has_errors() else list(_odd(call.parameters, shape, ""))
    if problems:
        raise Trouble(f"AWS would not take {call.service}:{call.operation}: {'; '.join(problems)}")


def missing(service: str, operation: str, answer: dict[str, Any]) -> str:
    """What an answer lacks that AWS always gives: then it was not AWS that answered."""
    shape = _model(service).operation_model(operation).output_shape
    return ", ".join(name for name in (shape.required_members if shape else ()) if name not in answer)


@cache
def _model(service: str) -> Any:
    from botocore.model import ServiceModel

    return ServiceModel(_loader().load_service_model(service, "service-2"), service)


def session() -> Any:
    """A session of botocore; AWS's descriptions of its services, which are large, are read once a process."""
    import botocore.session

    made = botocore.session.get_session()
    made.register_component("data_loader", _loader())
    return made


@cache
def _loader() -> Any:
    from botocore.loaders import create_loader

    return create_loader(os.environ.get("AWS_DATA_PATH"))


def _odd(value: Any, shape: Any, where: str) -> Iterator[str]:
    """What botocore itself leaves to the server: words, patterns and what is too long."""
    if shape.type_name == "structure":
        for name, each in value.items():
            yield from _odd(each, shape.members[name], f"{where}.{name}")
    elif shape.type_name == "list":
        for index, each in enumerate(value):
            yield from _odd(each, shape.member, f"{where}[{index}]")
    elif shape.type_name == "map":
        for name, each in value.items():
            yield from _odd(each, shape.value, f"{where}.{name}")
    elif shape.type_name == "string":
        yield from _odd_text(value, shape, where)
    elif shape.type_name == "integer" and not value <= shape.metadata.get("max", value):
        yield f"{where} is too large"


def _odd_text(text: str, shape: Any, where: str) -> Iterator[str]:
    if getattr(shape, "enum", None) and text not in shape.enum:
        yield f"{where} is “{text}”, and none of {', '.join(shape.enum)}"
    if len(text) > shape.metadata.get("max", len(text)):
        yield f"{where} is too long"
    if (pattern := _compiled(shape.metadata.get("pattern", ""))) and not pattern.fullmatch(text):
        yield f"{where} is “{text}”, which does not look as AWS wants it"


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """Patterns are Java's; one that Python does not know is left to the server."""
    try:
        return re.compile(pattern) if pattern else None
    except re.error:
        return None


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shown(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_shown(each) for each in value]
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, str | int) else "(the file)"
