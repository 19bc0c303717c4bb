"""Reads a policy file, or says on which lines what is wrong with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from approvals.conditions import BadCondition, check
from approvals.errors import InvalidInput
from approvals.hints import did_you_mean
from approvals.policy_files.entries import Entry, entry_of, listed

SCHEMA = Path(__file__).with_name("policy-file.schema.json")
MAX_BYTES = 4_000_000
MAX_PROBLEMS = 20
QUOTES = 'Patterns such as "*" and "!delete_files" stand in quotes.'


class BadPolicyFile(ValueError):
    """The file cannot be used. `problems`: one sentence each, with the line where there is one."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def read(text: str) -> list[Entry]:
    """The policies of a file in YAML, of which JSON is a part, in its order. Raises BadPolicyFile."""
    if len(text) > MAX_BYTES:
        raise BadPolicyFile([f"The file is longer than {MAX_BYTES // 1_000_000} MB."])
    data, node = _parsed(text)
    _fits(data, node)
    entries = [_entry(said, number, node) for number, said in enumerate(data.get("policies", []))]
    entries += listed(data.get("allowed_tools", []))
    _distinct(entries)
    return entries


@cache
def schema() -> dict[str, Any]:
    """The file's JSON Schema."""
    read_schema: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return read_schema


class _Loader(yaml.SafeLoader):
    """Plain data only: a key that stands twice, an alias or a tag would hide what the file says."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.MarkedYAMLError(problem="there is an alias", problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                problem = f"“{key.value}” stands twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _parsed(text: str) -> tuple[Any, yaml.Node]:
    try:
        loader = _Loader(text.replace("\t", "    ") if text.lstrip().startswith("{") else text)
    except yaml.YAMLError as error:  # characters that no YAML may have
        raise BadPolicyFile([f"The file is neither YAML nor JSON: {error}"]) from None
    try:
        node = loader.get_single_node()
        data = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadPolicyFile([f"line {line}: {error.problem}. {QUOTES}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadPolicyFile([f"The file is neither YAML nor JSON: {error}"]) from None
    finally:
        loader.dispose()
    if node is None:
        raise BadPolicyFile(["The file is empty. It begins with “policies:” or “allowed_tools:”."])
    return data, node


def _fits(data: Any, node: yaml.Node) -> None:
    problems = sorted(
        jsonschema.Draft202012Validator(schema()).iter_errors(data),
        key=lambda each: _line(node, each.absolute_path),
    )
    if problems:
        raise BadPolicyFile([_said(problem, node) for problem in problems[:MAX_PROBLEMS]])


def _said(problem: Any, node: yaml.Node) -> str:
    path = [str(step) for step in problem.absolute_path if not isinstance(step, int)]
    where = f"{path[-1]}: " if path and path[-1] not in ("policies", "allowed_tools") else ""
    message = problem.message
    if problem.validator == "additionalProperties":
        return _unknown_fields(problem, node)
    if problem.validator == "anyOf":
        message = f"“{problem.instance}” is no duration. Write a number of seconds, or 45s, 15m, 8h, 2d"
    return f"line {_line(node, problem.absolute_path)}: {where}{message}."


def _unknown_fields(problem: Any, node: yaml.Node) -> str:
    known = list(problem.schema["properties"])
    said = []
    for name in sorted(problem.instance.keys() - set(known)):
        said.append(f"there is no field “{name}”. {did_you_mean(str(name), known)}")
    line = _line(node, [*problem.absolute_path, next(iter(problem.instance.keys() - set(known)))])
    return f"line {line}: {' '.join(said)}"


def _entry(said: dict[str, Any], number: int, node: yaml.Node) -> Entry:
    try:
        entry = entry_of(said)
        if entry.when:
            check(entry.when)
        return entry
    except InvalidInput as error:
        message = error.message
    except BadCondition as error:
        message = f"when: {error}"
    key = ["when"] if message.startswith("when:") else []
    raise BadPolicyFile([f"line {_line(node, ['policies', number, *key])}: {message}"])


def _distinct(entries: Iterable[Entry]) -> None:
    often = Counter(entry.name for entry in entries)
    if twice := [name for name, count in often.items() if count > 1]:
        raise BadPolicyFile([f"Two policies have the name “{name}”." for name in twice[:MAX_PROBLEMS]])


def _line(node: yaml.Node, path: Iterable[Any]) -> int:
    """The line, from 1, of what stands at this path, or of the nearest that is there."""
    for step in path:
        inner = _inner(node, step)
        if inner is None:
            break
        node = inner
    return int(node.start_mark.line) + 1


def _inner(node: yaml.Node, step: Any) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(step)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        found: yaml.Node = node.value[step]
        return found
    return None
