"""`configure`: what the flags and the answers on a terminal say becomes agentcore.json."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hitl_site.agentcore import rules
from hitl_site.agentcore.aws import default_region
from hitl_site.agentcore.config import Config, load
from hitl_site.agentcore.trouble import Trouble

NAME = "nod_agent"
# Flags that stand for a field of their own name.
PLAIN = ("name", "region", "role", "image", "bucket", "python", "idle_timeout", "max_lifetime")
LISTS = {"model": "models", "subnet": "subnets", "security_group": "security_groups"}
NEW = ("new", "make", "create", "-")

Ask = Callable[[str, str], str]


def configure(path: Path, options: dict[str, Any], ask: Ask | None) -> Config:
    """The configuration of the file, with what is said now."""
    before = load(path)
    said = {name: options[name] for name in PLAIN if options[name] is not None}
    config = (
        replace(before)
        if before
        else Config(said.get("name") or NAME, said.get("region") or default_region())
    )
    config = _changed(config, said, options)
    if ask is not None:
        config = _asked(config, {**said, **({"models": 1} if options["model"] else {})}, ask)
    if not config.region:
        raise Trouble("No AWS region is set. Give one with --region, or set AWS_DEFAULT_REGION.")
    rules.check(config)
    _require_same_place(before, config, path)
    return config


def _changed(config: Config, said: dict[str, Any], options: dict[str, Any]) -> Config:
    config = replace(config, **{name: _empty(name, value) for name, value in said.items()})
    for flag, field in LISTS.items():
        if options[flag]:
            setattr(config, field, list(options[flag]))
    env = dict(config.env)
    for text in options["env"] or ():
        name, equals, value = text.partition("=")
        env[name] = value if equals else None
        rules.variable(name, env[name])
    for name in options["remove_env"] or ():
        env.pop(name, None)
    return replace(config, env=env)


def _empty(name: str, value: Any) -> Any:
    """`--role new` takes back a role that was given; so it is with an image and a bucket."""
    return "" if name in ("role", "image", "bucket") and value in NEW else value


def _asked(config: Config, said: dict[str, Any], ask: Ask) -> Config:
    """Ask for the few things that differ from one operator to the next, unless a flag said them."""
    questions = (
        ("name", "Name of the runtime", config.name),
        ("region", "AWS region", config.region),
        ("role", "ARN of the execution role (new: launch makes one)", config.role or "new"),
        ("image", "Container image in ECR (new: launch makes a zip of the code)", config.image or "new"),
        ("bucket", "Bucket for the zip (new: launch makes one)", config.bucket or "new"),
        ("models", "Models that it may call, separated by blanks (* for all)", " ".join(config.models)),
    )
    for field, question, default in questions:
        if field not in said and not (field == "bucket" and config.image):
            config = _answered(config, field, question, default, ask)
    return config


def _answered(config: Config, field: str, question: str, default: str, ask: Ask) -> Config:
    """Ask until the answer does; what was answered before stays."""
    why = ""
    while True:
        text = ask(f"{why}{question}", default)
        change: dict[str, Any] = {field: text.split() if field == "models" else _empty(field, text)}
        changed = replace(config, **change)
        try:
            rules.check(replace(changed, region=changed.region or "us-east-1"))
        except Trouble as trouble:
            why = f"{trouble}\n"
        else:
            return changed


def _require_same_place(before: Config | None, config: Config, path: Path) -> None:
    """What was launched would be forgotten under its new name."""
    if before is None:
        return
    created = before.created
    moved = before.created.runtime_id and (before.name, before.region) != (config.name, config.region)
    elsewhere = created.code_bucket and config.bucket not in ("", created.code_bucket)
    if moved or elsewhere:
        what = (
            f"the bucket {created.code_bucket}"
            if elsewhere and not moved
            else f"{before.name} in {before.region}"
        )
        raise Trouble(
            f"{path.name} was launched with {what}. Destroy that first (manage.py agentcore destroy), "
            "or configure another file with --config."
        )


def summary(config: Config) -> list[tuple[str, str]]:
    """What was configured, to look over."""
    network = f"VPC ({', '.join(config.subnets + config.security_groups)})" if config.subnets else "public"
    env = ", ".join(name if value is None else f"{name}={value}" for name, value in config.env.items())
    return [
        ("Runtime", f"{config.name} in {config.region}"),
        ("Role", config.role or "launch makes one"),
        (
            "Code",
            config.image
            or f"a zip for Python {config.python}, in {config.bucket or 'a bucket that launch makes'}",
        ),
        ("Models", ", ".join(config.models)),
        ("Network", network),
        ("Sessions", f"end after {config.idle_timeout} idle seconds, or {config.max_lifetime} in all"),
        *([("Env", env)] if env else []),
    ]
