"""agentcore.json: what an operator wants on AgentCore, and what `launch` made of it. It never holds a secret."""

from __future__ import annotations

import json
import os
import sys
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hitl_site.agentcore.trouble import Trouble

FILE = "agentcore.json"
PYTHONS = ("3.11", "3.12", "3.13")
MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


def this_python() -> str:
    """The Python that Nod itself runs on: what was tested is what runs."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass
class Created:
    """What `launch` made, so that it goes on where it was and `destroy` takes away no more than that."""

    account: str = ""
    role: str = ""
    bucket: str = ""
    bucket_private: bool = False  # false: whoever made it was interrupted before it was closed to the public
    code_bucket: str = ""  # where the zip went, whoever made that bucket
    runtime_id: str = ""
    runtime_arn: str = ""
    token: str = ""  # so that a creation that is sent twice happens once
    token_for: str = ""


@dataclass
class Config:
    """One agent on AgentCore."""

    name: str
    region: str
    # Tells what this file made from what others made under the same name.
    deployment: str = field(default_factory=lambda: uuid.uuid4().hex)
    role: str = ""  # the ARN of a role; empty: launch makes one
    image: str = ""  # a container image in ECR; empty: a zip of the code
    bucket: str = ""  # for the zip; empty: nod-agentcore-ACCOUNT-REGION
    python: str = field(default_factory=this_python)
    models: list[str] = field(default_factory=lambda: [MODEL])
    # A name with no value (null) is taken from the environment of `launch`, and never stored.
    env: dict[str, str | None] = field(default_factory=dict)
    subnets: list[str] = field(default_factory=list)
    security_groups: list[str] = field(default_factory=list)
    idle_timeout: int = 900
    max_lifetime: int = 28800
    created: Created = field(default_factory=Created)

    def environment(self, *, hidden: bool = False) -> dict[str, str]:
        """The environment of the agent, with the values that only this shell knows, unless they are to be hidden."""
        shell = dict.fromkeys(self.env, "***") if hidden else os.environ
        missing = [name for name, value in self.env.items() if value is None and name not in shell]
        if missing:
            raise Trouble(
                f"{missing[0]} is to be taken from the environment, and is not set there. "
                f"Set it, or: manage.py agentcore configure --remove-env {missing[0]}"
            )
        given = {name: shell[name] if value is None else value for name, value in self.env.items()}
        model = {"NOD_MODEL_ID": self.models[0]} if self.models != ["*"] else {}
        return {**model, **given}


def load(path: Path) -> Config | None:
    """The configuration of a file; None without one."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Trouble(f"{path} can't be read: {error.strerror}.") from None
    except ValueError as error:
        raise Trouble(f"{path} is no JSON ({error}). Mend it, or move it away and configure anew.") from None
    try:
        return _read(data)
    except (TypeError, KeyError, AttributeError):
        raise Trouble(
            f"{path} does not look as `manage.py agentcore configure` writes it. Move it away and configure anew."
        ) from None


def _read(data: dict[str, Any]) -> Config:
    config = Config(**{**data, "created": Created(**data.get("created", {}))})
    for each in fields(config):
        if type(getattr(config, each.name)) is not type(getattr(_SAMPLE, each.name)):
            raise TypeError(each.name)
    return config


_SAMPLE = Config("a", "b")


def save(path: Path, config: Config) -> None:
    """Write a file whole or not at all: who interrupts loses nothing."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(asdict(config), indent=2) + "\n", encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise Trouble(
            f"{path} can't be written: {error.strerror}. Give another place with --config."
        ) from None
    finally:
        with suppress(OSError):
            beside.unlink()
