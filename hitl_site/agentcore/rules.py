"""What a configuration may say. Each rule is AWS's own (the tests compare the patterns), said as a sentence."""

from __future__ import annotations

import re

from hitl_site.agentcore.config import PYTHONS, Config
from hitl_site.agentcore.trouble import Trouble

NAME = r"[a-zA-Z][a-zA-Z0-9_]{0,47}"
ROLE = r"arn:aws(-[^:]+)?:iam::([0-9]{12})?:role/.+"
BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
IMAGE = (
    r"(([0-9]{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?|public\.ecr\.aws)"
    r"/((?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*)(?::([^:@]{1,300}))?(?:@(.+))?"
)
SUBNET = r"subnet-[0-9a-zA-Z]{8,17}"
SECURITY_GROUP = r"sg-[0-9a-zA-Z]{8,17}"
SESSION = r"[a-zA-Z0-9][a-zA-Z0-9_-]{32,255}"
SECONDS = range(60, 1209600 + 1)
_REGION = r"[a-z]{2,3}(-[a-z]+)+-[0-9]{1,2}"
_MODEL = r"\*|[a-zA-Z0-9][a-zA-Z0-9.:/_-]{1,250}"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]{0,99}"
_SECRET = re.compile(r"(^|_)(API_?KEY|KEY|SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIALS?)(_|$)", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"://[^/\s]*:[^/\s]+@")


def check(config: Config) -> None:
    """Refuse what AWS would refuse, or what would store a secret, before anything is made."""
    _match(
        NAME,
        config.name,
        "is no name for a runtime. It takes letters, digits and _, a letter first, 48 at most.",
    )
    _match(_REGION, config.region, "is no AWS region. It takes one such as us-east-1.")
    if config.role:
        _match(
            ROLE,
            config.role,
            "is no role. It takes arn:aws:iam::ACCOUNT:role/NAME; leave it out to have one made.",
        )
    _code(config)
    _network(config)
    _times(config)
    for model in config.models or [""]:
        _match(
            _MODEL,
            model,
            "is no model. It takes a model id, an inference profile, an ARN, or * for all models.",
        )
    if len(config.env) > 50:
        raise Trouble(f"AgentCore takes 50 environment variables at most, and these are {len(config.env)}.")
    for name, value in config.env.items():
        variable(name, value)


def _code(config: Config) -> None:
    if config.image:
        where = "such as 111122223333.dkr.ecr.us-east-1.amazonaws.com/nod:1"
        _match(
            IMAGE, config.image, f"is no image that AgentCore can take. It takes one in Amazon ECR, {where}."
        )
    if config.bucket:
        rule = (
            "It takes 3 to 63 lower-case letters, digits, dots and hyphens, a letter or digit first and last."
        )
        _match(BUCKET, config.bucket, f"is no name for a bucket. {rule}")
        if ".." in config.bucket:
            raise Trouble(f"“{config.bucket}” is no name for a bucket: two dots follow each other.")
    if config.python not in PYTHONS:
        raise Trouble(f"Nod does not run on Python “{config.python}”. It takes one of: {', '.join(PYTHONS)}.")


def _network(config: Config) -> None:
    for subnet in config.subnets:
        _match(SUBNET, subnet, "is no subnet. It takes ids such as subnet-0123456789abcdef0.")
    for group in config.security_groups:
        _match(SECURITY_GROUP, group, "is no security group. It takes ids such as sg-0123456789abcdef0.")
    if bool(config.subnets) != bool(config.security_groups):
        raise Trouble(
            "To run in a VPC, give at least one --subnet and one --security-group; without both it is public."
        )
    if max(len(config.subnets), len(config.security_groups)) > 16:
        raise Trouble("AgentCore takes 16 subnets and 16 security groups at most.")


def _times(config: Config) -> None:
    for what, seconds in (("idle timeout", config.idle_timeout), ("lifetime", config.max_lifetime)):
        if seconds not in SECONDS:
            raise Trouble(f"The {what} is {seconds} seconds. It takes {SECONDS[0]} to {SECONDS[-1]}.")
    if config.idle_timeout > config.max_lifetime:
        raise Trouble(
            "The idle timeout is longer than the lifetime: give a shorter --idle-timeout or a longer --max-lifetime."
        )


def variable(name: str, value: str | None) -> None:
    """One environment variable of the agent."""
    _match(_VARIABLE, name, "is no name for an environment variable. It takes letters, digits and _.")
    if value is None:
        return
    if _SECRET.search(name) or _PASSWORD_IN_URL.search(value):
        raise Trouble(
            f"{name} looks like a secret, and a secret does not belong into this file. Set it in your shell "
            f"and give --env {name} without a value: launch takes it from there."
        )
    if len(value) > 5000:
        raise Trouble(f"{name} has {len(value)} characters. AgentCore takes 5000 at most.")


def session(text: str) -> str:
    """A session id, as AgentCore takes it."""
    _match(
        SESSION,
        text,
        "is no session id. It takes 33 to 256 letters, digits, - and _; leave it out for a new session.",
    )
    return text


def _match(pattern: str, text: str, otherwise: str) -> None:
    if not re.fullmatch(pattern, text):
        raise Trouble(f"“{text}” {otherwise}")
