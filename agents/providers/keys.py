"""Keys of models, from the environment alone: NAME, or NAME_FILE for one in a file."""

from __future__ import annotations

import os
from pathlib import Path

from agents.providers.problems import ModelProblem


def read(name: str) -> str:
    """The key; empty where there is none.

    Raises:
        ModelProblem: it stands in two places, its file cannot be read, or it is none.
    """
    text, file = os.environ.get(name, "").strip(), os.environ.get(f"{name}_FILE", "")
    if text and file:
        raise _problem(f"{name} and {name}_FILE are both set. Ask an administrator to keep one of them.")
    if file:
        text = _in_file(name, Path(file))
    if not all("!" <= character <= "~" for character in text):
        raise _problem(f"{name} has characters that no key has. Ask an administrator to set it anew.")
    return text


def _in_file(name: str, file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        raise _problem(
            f"The file that {name}_FILE names cannot be read. Ask an administrator to look."
        ) from None


def needed(name: str) -> str:
    """The key. Raises ModelProblem where there is none."""
    if key := read(name):
        return key
    raise _problem(
        f"This server has no key for the model. Ask an administrator to set {name} for the workers."
    )


def _problem(message: str) -> ModelProblem:
    return ModelProblem("missing_key", message)
