"""What a tool is, and which tools there are.

Nothing here imports Strands: web processes show and check tools too, and Strands costs them 0.7 s and 61 MB.
"""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any, Literal

from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from docstring_parser import parse
from pydantic import BaseModel

from agents.tools._arguments import SignatureProblem, model_of, parse_arguments, schema_of

Risk = Literal["low", "medium", "high"]
Result = str | list[Any] | dict[str, Any]

RISKS = ("low", "medium", "high")
PACKAGE = "agents.tools"
HELPERS = {
    "registry",
    "workspace",
}  # modules of the package that hold no tool, beside those that begin with _
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")  # what Bedrock and the other providers take


_key: ContextVar[str] = ContextVar("idempotency_key", default="")


def idempotency_key() -> str:
    """Inside a tool: a key for this call, for services that take one.

    It is the same when the call is started again after a crash, and no other call has it.
    """
    return _key.get()


@contextmanager
def idempotency_key_is(key: str) -> Iterator[None]:
    """What `idempotency_key` gives inside the block."""
    token = _key.set(key)
    try:
        yield
    finally:
        _key.reset(token)


_session: ContextVar[str] = ContextVar("session", default="")


def session_key() -> str:
    """Inside a tool: the session that it runs for; empty where there is none."""
    return _session.get()


@contextmanager
def session_is(key: str) -> Iterator[None]:
    """What `session_key` gives inside the block."""
    token = _session.set(key)
    try:
        yield
    finally:
        _session.reset(token)


class ToolError(Exception):
    """A tool did not do what it was asked to; the message is a sentence for the model and for the user."""


class InvalidArguments(ValueError):
    """Arguments do not fit the tool; the message has one sentence for each problem."""


class BadTool(ImproperlyConfigured):
    """A tool is written wrongly; the message names its file."""


@dataclass(frozen=True, eq=False)
class Tool:
    """One tool an agent may call.

    Attributes:
        name: the function's name, unique among all tools.
        description: what the model and the reviewer read: the docstring without its sections.
        schema: the JSON Schema of the arguments; an object that takes no other properties.
        function: the Python function, sync or async.
        risk: what a policy that does not say otherwise shows to the reviewer.
        timeout: seconds after which the runtime gives up waiting; the outcome is then unknown.
        idempotent: running it twice does no more than running it once, so it may run again after a crash.
    """

    name: str
    description: str
    schema: dict[str, Any]
    function: Callable[..., Any]
    risk: Risk
    timeout: float
    idempotent: bool
    model: type[BaseModel] = field(repr=False)

    def validate(self, arguments: object) -> dict[str, Any]:
        """The arguments as plain JSON, with the defaults filled in: all that a reviewer has to see.

        Raises:
            InvalidArguments: one is missing, unknown or of a wrong type.
        """
        return self._parse(arguments).model_dump(mode="json", by_alias=True)

    def run(self, arguments: object) -> Result:
        """Call the function and return what it says; a sync call, also for an async function.

        Inside an event loop use `await sync_to_async(tool.run)(arguments)`.

        Raises:
            InvalidArguments: the arguments do not fit.
            ToolError: the tool says why it did not do it. Any other exception is a fault of the tool.
        """
        parsed = self._parse(arguments)
        values = {
            info.alias or name: getattr(parsed, name) for name, info in type(parsed).model_fields.items()
        }
        if inspect.iscoroutinefunction(self.function):
            return _result(async_to_sync(self.function)(**values))
        return _result(self.function(**values))

    def _parse(self, arguments: object) -> BaseModel:
        try:
            return parse_arguments(self.model, arguments)
        except ValueError as error:
            raise InvalidArguments(str(error)) from None


def tool(
    *, risk: Risk = "medium", timeout: float = 30, idempotent: bool = False
) -> Callable[[Callable[..., Any]], Tool]:
    """Make a function a tool. See docs/tools.md.

    Raises:
        BadTool: the function has no docstring, an argument without a type, or an option makes no sense.
    """

    def decorate(function: Callable[..., Any]) -> Tool:
        try:
            return _make(function, risk, timeout, idempotent)
        except (SignatureProblem, NameError) as error:
            source = inspect.getsourcefile(function)
            raise BadTool(f"{source}: the tool {function.__name__} {error}.") from None

    return decorate


def _make(function: Callable[..., Any], risk: Risk, timeout: float, idempotent: bool) -> Tool:
    if not NAME.fullmatch(function.__name__):
        raise SignatureProblem("needs a name of at most 64 ASCII letters, digits and _")
    if risk not in RISKS:
        raise SignatureProblem(f"has the risk {risk!r}; it is one of {', '.join(RISKS)}")
    if not timeout > 0:
        raise SignatureProblem("needs a timeout of more than 0 seconds")
    docstring = parse(function.__doc__ or "")
    description = "\n\n".join(filter(None, [docstring.short_description, docstring.long_description]))
    if not description:
        raise SignatureProblem("has no docstring to tell the model and the reviewer what it does")
    model = model_of(function)
    return Tool(function.__name__, description, schema_of(model), function, risk, timeout, idempotent, model)


def _result(value: object) -> Result:
    """What the function returned, in a form a tool result can carry."""
    if value is None:
        return "Done."
    return value if isinstance(value, str | list | dict) else str(value)


@cache
def catalogue() -> dict[str, Tool]:
    """All tools of this code base by name, in alphabetical order; read once a process.

    Raises:
        BadTool: a file of the package is wrong.
    """
    return discover(PACKAGE)


def discover(package: str) -> dict[str, Tool]:
    """The tools of a package by name.

    Raises:
        BadTool: a module holds no tool, or two tools share a name.
    """
    found: dict[str, Tool] = {}
    for module in _modules(package):
        tools = [value for value in vars(module).values() if _is_tool_of(value, module)]
        if not tools:
            raise BadTool(f"{module.__file__}: holds no @tool. Let the name of a helper's file begin with _.")
        for each in tools:
            if each.name in found:
                other = inspect.getsourcefile(found[each.name].function)
                raise BadTool(f"{module.__file__}: the tool {each.name} has the name of one in {other}.")
            found[each.name] = each
    return dict(sorted(found.items()))


def _modules(package: str) -> Iterator[ModuleType]:
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if not info.name.startswith("_") and info.name not in HELPERS:
            yield importlib.import_module(f"{package}.{info.name}")


def _is_tool_of(value: object, module: ModuleType) -> bool:
    """A tool that the module defines, not one it imports."""
    return isinstance(value, Tool) and value.function.__module__ == module.__name__
