"""What a mutant is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """`tests`: files or tests of pytest, each of which has to fail by itself."""

    promise: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]


def tests_in(folder: str, name: str, *tests: str) -> tuple[str, ...]:
    return tuple(f"tests/{folder}/test_{name}.py::test_{test}" for test in tests)
