"""The runtime itself: made, brought up to date, waited for, taken away."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any, cast

from hitl_site.agentcore.aws import CONTROL, Refused
from hitl_site.agentcore.config import Config
from hitl_site.agentcore.deployment import TAG, Deployment
from hitl_site.agentcore.trouble import Trouble

ENDPOINT = "DEFAULT"  # AgentCore makes it, and moves it to each new version
FAILED = {"CREATE_FAILED", "UPDATE_FAILED", "DELETE_FAILED"}
# What AgentCore says of a role or an image permission that IAM has not told all its servers of yet.
NOT_KNOWN_YET = (
    "role validation failed",
    "access denied while validating ecr uri",
    "cannot be assumed",
    "assume role",
)
ROLE_PATIENCE = 90.0  # seconds; IAM takes some ten
ENDPOINT_PATIENCE = 60.0  # seconds until there is an endpoint at all

Fields = dict[str, Any]


class NotOurs(Trouble):
    """A runtime of this name was made from elsewhere."""


def wanted(config: Config, role: str, artifact: Fields, environment: dict[str, str]) -> Fields:
    """What a runtime of this configuration is, as creating and updating take it."""
    return {
        "agentRuntimeArtifact": artifact,
        "roleArn": role,
        "networkConfiguration": _network(config),
        "protocolConfiguration": {"serverProtocol": "HTTP"},
        "lifecycleConfiguration": {
            "idleRuntimeSessionTimeout": config.idle_timeout,
            "maxLifetime": config.max_lifetime,
        },
        "environmentVariables": environment,
        "description": "An agent of Nod, the approval desk for AI agents",
    }


def code(config: Config, bucket: str, key: str) -> Fields:
    """A zip in S3 as what runs."""
    return {
        "codeConfiguration": {
            "code": {"s3": {"bucket": bucket, "prefix": key}},
            "runtime": f"PYTHON_{config.python.replace('.', '_')}",
            "entryPoint": ["main.py"],
        }
    }


def image(config: Config) -> Fields:
    """A container image as what runs."""
    return {"containerConfiguration": {"containerUri": config.image}}


def _network(config: Config) -> Fields:
    if not config.subnets:
        return {"networkMode": "PUBLIC"}
    groups = {"securityGroups": config.security_groups, "subnets": config.subnets}
    return {"networkMode": "VPC", "networkModeConfig": groups}


def ensure(work: Deployment, fields: Fields, patience: float) -> Fields:
    """The runtime as it is wanted, READY or on its way there."""
    found = settled(work, find(work), patience)
    if found and found["status"] == "CREATE_FAILED":
        work.progress.step("Runtime", f"{found['agentRuntimeId']} had failed, and is made anew")
        remove(work, patience)
        found = None
    if found is None:
        return _create(work, fields)
    if found["status"] == "READY" and _same(found, fields):
        work.progress.step("Runtime", f"{found['agentRuntimeId']}, nothing to change")
        return found
    made = _send(work, "UpdateAgentRuntime", {"agentRuntimeId": found["agentRuntimeId"], **fields})
    work.progress.step(
        "Runtime", f"{found['agentRuntimeId']}, updated to version {made['agentRuntimeVersion']}"
    )
    return made


def find(work: Deployment) -> Fields | None:
    """The runtime of this configuration, also where the answer to its creation never arrived."""
    if work.created.runtime_id:
        return work.aws.find(CONTROL, "GetAgentRuntime", agentRuntimeId=work.created.runtime_id)
    for each in _all(work):
        if each["agentRuntimeName"] == work.config.name:
            _require_own(work, each["agentRuntimeArn"])
            _remember(work, each)
            return work.aws.find(CONTROL, "GetAgentRuntime", agentRuntimeId=each["agentRuntimeId"])
    return None


def _all(work: Deployment) -> Iterator[Fields]:
    page: dict[str, str] = {}
    while True:
        answer = work.aws.call(CONTROL, "ListAgentRuntimes", **page)
        yield from answer["agentRuntimes"]
        if not answer.get("nextToken"):
            return
        page = {"nextToken": answer["nextToken"]}


def _require_own(work: Deployment, arn: str) -> None:
    tags = (work.aws.find(CONTROL, "ListTagsForResource", resourceArn=arn) or {}).get("tags", {})
    if tags.get(TAG) != work.config.deployment:
        raise NotOurs(
            f"There is a runtime {work.config.name} already that {work.path.name} did not make. "
            "Choose another name with configure --name, or use the file that it was launched with: --config FILE."
        )


def _create(work: Deployment, fields: Fields) -> Fields:
    tags = {TAG: work.config.deployment}
    made = _send(work, "CreateAgentRuntime", {"agentRuntimeName": work.config.name, **fields, "tags": tags})
    _remember(work, made)
    work.progress.step("Runtime", f"{made['agentRuntimeId']}, made, version {made['agentRuntimeVersion']}")
    return made


def _remember(work: Deployment, runtime: Fields) -> None:
    work.created.runtime_id = runtime["agentRuntimeId"]
    work.created.runtime_arn = runtime["agentRuntimeArn"]
    work.keep()


def _send(work: Deployment, operation: str, fields: Fields) -> Fields:
    """Create or update, with patience for a role that is new."""
    token = _token(work, operation, fields)

    def attempt() -> Fields | None:
        try:
            return work.aws.call(CONTROL, operation, clientToken=token, **fields)
        except Refused as error:
            if work.created.role and any(text in error.message.lower() for text in NOT_KNOWN_YET):
                work.progress.waiting("Runtime", "waiting until AgentCore knows the role")
                return None
            raise

    made = _until(work, attempt, ROLE_PATIENCE)
    if made is None:
        raise Trouble(
            f"AgentCore still can't take on the role {fields['roleArn']} after {ROLE_PATIENCE:.0f} seconds. "
            "Launch again in a minute; if that does not help, somebody has changed the role."
        )
    work.created.token = work.created.token_for = ""
    work.keep()
    return cast(Fields, made)


def _token(work: Deployment, operation: str, fields: Fields) -> str:
    """The same for the same request, until it is answered: AWS then does it once. A secret's value is in no file."""
    text = json.dumps([operation, fields], sort_keys=True)
    digest = hashlib.sha256(f"{work.config.deployment}{text}".encode()).hexdigest()
    if work.created.token_for != digest:
        work.created.token, work.created.token_for = uuid.uuid4().hex + uuid.uuid4().hex, digest
        work.keep()
    return work.created.token


def _same(found: Any, fields: Any) -> bool:
    """Whether a runtime is as wanted already; AWS adds defaults of its own."""
    if isinstance(fields, dict):
        return all(
            found.get(name, {}) == value if name == "environmentVariables" else _same(found.get(name), value)
            for name, value in fields.items()
        ) if isinstance(found, dict) else False  # fmt: skip
    return bool(found == fields)


def settled(work: Deployment, runtime: Fields | None, patience: float) -> Fields | None:
    """The runtime when nothing is under way with it any more; None when it is gone."""
    if runtime is None or runtime["status"] in {"READY", *FAILED}:
        return runtime
    identity = runtime["agentRuntimeId"]

    def look() -> Fields | str | None:
        found = work.aws.find(CONTROL, "GetAgentRuntime", agentRuntimeId=identity)
        if found is None:
            return "gone"
        if found["status"] in {"READY", *FAILED}:
            return found
        work.progress.waiting("Status", found["status"])
        return None

    found = _until(work, look, patience)
    if found is None:
        raise Trouble(
            f"The runtime {identity} is not ready after {patience:.0f} seconds. Look again: manage.py agentcore status"
        )
    return None if isinstance(found, str) else found


def ready(work: Deployment, runtime: Fields, patience: float) -> Fields:
    """Wait until it is READY; a failure is said with AWS's reason."""
    found = settled(work, runtime, patience)
    if found is None:
        raise Trouble("Somebody has removed the runtime meanwhile. Launch again.")
    if found["status"] in FAILED:
        raise Trouble(f"The runtime is {found['status']}: {why(found)}. Mend that, and launch again.")
    return found


def why(found: Fields) -> str:
    """AWS's reason for a failure."""
    return str(found.get("failureReason") or "AWS gives no reason").rstrip(".")


def endpoint(work: Deployment, version: str, patience: float) -> Fields | None:
    """Wait until the endpoint serves this version. None when there is no endpoint."""
    identity = work.created.runtime_id or "runtime-0000000000"
    seen = False

    def look() -> Fields | None:
        nonlocal seen
        found = look_at_endpoint(work, identity)
        if found is None:
            work.progress.waiting("Endpoint", f"waiting for {ENDPOINT}")
            return None
        seen = True
        if found["status"] in FAILED or (found["status"] == "READY" and found.get("liveVersion") == version):
            return found
        work.progress.waiting("Endpoint", f"{ENDPOINT} {found['status']}")
        return None

    found = _until(work, look, min(patience, ENDPOINT_PATIENCE)) or (
        _until(work, look, patience) if seen else None
    )
    work.progress.close()
    return found


def look_at_endpoint(work: Deployment, identity: str) -> Fields | None:
    return work.aws.find(CONTROL, "GetAgentRuntimeEndpoint", agentRuntimeId=identity, endpointName=ENDPOINT)


def other_endpoints(work: Deployment) -> list[str]:
    """Endpoints that somebody has added."""
    found = work.aws.find(CONTROL, "ListAgentRuntimeEndpoints", agentRuntimeId=work.created.runtime_id) or {}
    return [each["name"] for each in found.get("runtimeEndpoints", []) if each["name"] != ENDPOINT]


def remove(work: Deployment, patience: float) -> None:
    """Take the runtime away, with its endpoints, and wait until it is gone."""
    identity = work.created.runtime_id
    if not identity:
        return
    there = find(work)
    if settled(work, there, patience) is not None:  # AWS removes nothing that is just being changed
        _delete(work, identity, patience)
    created = work.created
    created.runtime_id = created.runtime_arn = ""
    work.keep()
    work.progress.step("Runtime", f"{identity}, {'removed' if there is not None else 'was gone already'}")


def _delete(work: Deployment, identity: str, patience: float) -> None:
    for name in other_endpoints(work):
        work.aws.find(CONTROL, "DeleteAgentRuntimeEndpoint", agentRuntimeId=identity, endpointName=name)
    work.aws.find(CONTROL, "DeleteAgentRuntime", agentRuntimeId=identity)
    left = settled(work, {"agentRuntimeId": identity, "status": "DELETING"}, patience)
    if left is not None:
        raise Trouble(f"The runtime {identity} is {left['status']}: {why(left)}. Try again in a minute.")


def _until(work: Deployment, attempt: Callable[[], Any], patience: float) -> Any:
    """What an attempt gives in the end, made ever more rarely; None when patience is over."""
    waited, pause = 0.0, 0.2
    while (found := attempt()) is None:
        if waited >= patience:
            return None
        work.aws.wait(pause)
        waited, pause = waited + pause, min(pause * 1.5, 5.0)
    return found
