"""Tools as such: what a function has to have, what arguments fit, which tools there are."""

import subprocess
import sys
from datetime import date
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from agents.tools.registry import BadTool, InvalidArguments, ToolError, catalogue, discover, tool


@tool(risk="high", timeout=5, idempotent=True)
def book(
    title: str,
    pages: int,
    weight: float = 1.5,
    tags: list[str] | None = None,
    json: Annotated[int, Field(le=9)] = 3,
) -> dict[str, object]:
    """Order a book.

    It costs money.

    Args:
        title: What is
            on its cover.
        pages: How many.
    """
    return {"title": title, "pages": pages, "weight": weight, "tags": tags, "json": json}


def test_a_tool_says_what_it_is():
    assert (book.name, book.risk, book.timeout, book.idempotent) == ("book", "high", 5, True)
    assert book.description == "Order a book.\n\nIt costs money."


def test_options_have_careful_defaults():
    @tool()
    def plain() -> str:
        """Do it."""
        return "done"

    assert (plain.risk, plain.timeout, plain.idempotent) == ("medium", 30, False)
    assert plain.schema == {"type": "object", "properties": {}, "additionalProperties": False}
    assert plain.run({}) == "done"


def test_the_schema_is_plain():
    assert book.schema["properties"]["title"] == {"type": "string", "description": "What is on its cover."}
    assert book.schema["properties"]["json"] == {"type": "integer", "maximum": 9, "default": 3}
    assert book.schema["required"] == ["title", "pages"]
    assert book.schema["additionalProperties"] is False
    assert "arg_" not in str(book.schema)


def test_a_nested_schema_has_no_titles_but_may_have_a_property_of_that_name():
    class Line(BaseModel):
        title: str

    @tool()
    def order(lines: list[Line]) -> str:
        """Order."""
        return lines[0].title

    assert order.schema["$defs"]["Line"]["properties"] == {"title": {"type": "string"}}
    assert order.run({"lines": [{"title": "a"}]}) == "a"


def test_validate_fills_in_the_defaults():
    given = {"title": "Emma", "pages": 300}
    whole = {**given, "weight": 1.5, "tags": None, "json": 3}
    assert book.validate(given) == whole
    assert book.validate(whole) == whole
    assert book.run(given) == whole


def test_validate_takes_a_whole_number_for_a_float():
    assert book.validate({"title": "Emma", "pages": 1, "weight": 2})["weight"] == 2


def test_json_may_say_what_python_has_types_for():
    @tool()
    def remind(day: date, how: Literal["mail", "call"] = "mail") -> str:
        """Remind."""
        return f"{day:%d.%m.}{how}"

    assert remind.validate({"day": "2026-01-31"}) == {"day": "2026-01-31", "how": "mail"}
    assert remind.run({"day": "2026-01-31"}) == "31.01.mail"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"title": "Emma"}, "The argument pages is missing."),
        ({"title": "Emma", "pages": "5"}, "The argument pages should be a valid integer."),
        ({"title": "Emma", "pages": True}, "The argument pages should be a valid integer."),
        ({"title": "Emma", "pages": 5.5}, "The argument pages should be a valid integer."),
        ({"title": 5, "pages": 5}, "The argument title should be a valid string."),
        ({"title": "Emma", "pages": 5, "colour": "red"}, "There is no argument colour."),
        ({"title": "Emma", "pages": 5, "arg_title": "x"}, "There is no argument arg_title."),
        ({"title": "Emma", "pages": 5, "json": 10}, "The argument json should be less than or equal to 9."),
        ({"title": "Emma", "pages": 5, "tags": ["a", 1]}, "The argument tags[1] should be a valid string."),
        ({"title": "Emma", "pages": float("nan")}, "The arguments are not plain JSON."),
        ({"title": "\ud800", "pages": 5}, "The arguments are not plain JSON."),
        ({"title": b"Emma", "pages": 5}, "The arguments are not plain JSON."),
        (["Emma", 5], "The arguments have to be a JSON object."),
        (None, "The arguments have to be a JSON object."),
    ],
)
def test_validate_says_what_does_not_fit(arguments, sentence):
    with pytest.raises(InvalidArguments) as caught:
        book.validate(arguments)
    assert str(caught.value) == sentence
    with pytest.raises(InvalidArguments):
        book.run(arguments)


def test_validate_names_all_problems_and_no_values():
    with pytest.raises(InvalidArguments) as caught:
        book.validate({"pages": "secret-value", "colour": "red"})
    assert "title" in str(caught.value)
    assert "pages" in str(caught.value)
    assert "colour" in str(caught.value)
    assert "secret-value" not in str(caught.value)


def test_an_async_function_runs_too():
    @tool()
    async def later(number: int) -> int:
        """Wait."""
        return number + 1

    assert later.run({"number": 1}) == "2"


def test_a_result_of_nothing_says_done():
    @tool()
    def quiet() -> None:
        """Say nothing."""

    assert quiet.run({}) == "Done."


def test_an_error_of_the_tool_comes_through():
    @tool()
    def broken() -> str:
        """Fail."""
        raise ToolError("It rained.")

    with pytest.raises(ToolError, match="It rained"):
        broken.run({})


def no_docstring(number: int) -> None: ...


def no_type(number) -> None:
    """Count."""


def any_number(*numbers: int) -> None:
    """Count."""


def by_position(number: int, /) -> None:
    """Count."""


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (no_docstring, "has no docstring"),
        (no_type, "does not say the type of its argument number"),
        (any_number, "needs a name of its own"),
        (by_position, "needs a name of its own"),
    ],
)
def test_a_function_that_cannot_be_a_tool_names_its_file(function, words):
    with pytest.raises(BadTool) as caught:
        tool()(function)
    assert words in str(caught.value)
    assert __file__ in str(caught.value)
    assert function.__name__ in str(caught.value)


@pytest.mark.parametrize("options", [{"risk": "none"}, {"timeout": 0}, {"timeout": -1}])
def test_options_have_to_make_sense(options):
    with pytest.raises(BadTool):
        tool(**options)(no_type)


def test_the_catalogue_has_the_tools_of_this_code_base():
    assert list(catalogue()) == [
        "delete_files", "get_weather", "handoff_to_user", "list_files", "read_file", "send_email",
    ]  # fmt: skip
    assert catalogue() is catalogue()
    risks = {name: each.risk for name, each in catalogue().items()}
    assert risks == {
        "delete_files": "high",
        "get_weather": "low",
        "handoff_to_user": "low",
        "list_files": "low",
        "read_file": "low",
        "send_email": "medium",
    }
    repeatable = [name for name, each in catalogue().items() if each.idempotent]
    assert repeatable == ["get_weather", "handoff_to_user", "list_files", "read_file"]


TOOL = '''
from agents.tools.registry import tool

@tool()
def {name}(number: int) -> str:
    """Count."""
    return "1"
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """package(file=source, …) writes a package and returns its name."""

    def write(**files):
        name = f"package_{tmp_path.name}"
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        for file, source in files.items():
            (tmp_path / name / f"{file}.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        return name

    return write


def test_discover_finds_one_tool_a_file(package):
    name = package(one=TOOL.format(name="first"), _help="x = 1", two=TOOL.format(name="second"))
    assert list(discover(name)) == ["first", "second"]


def test_discover_takes_an_imported_tool_once(package):
    other = TOOL.format(name="second") + "\nfrom agents.tools.get_weather import get_weather\n"
    assert list(discover(package(two=other))) == ["second"]


def test_discover_refuses_two_tools_of_a_name(package):
    with pytest.raises(BadTool) as caught:
        discover(package(one=TOOL.format(name="same"), two=TOOL.format(name="same")))
    assert "one.py" in str(caught.value)
    assert "two.py" in str(caught.value)


def test_discover_refuses_a_file_without_a_tool(package):
    with pytest.raises(BadTool, match=r"lost\.py.*@tool"):
        discover(package(lost="def lost() -> None: ..."))


def test_the_registry_does_not_import_strands():
    code = "import sys; import agents.tools.registry, agents.providers; sys.exit('strands' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
