"""The execution role: what the agent may do at AWS."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hitl_site.agentcore import policies
from hitl_site.agentcore.aws import Refused
from hitl_site.agentcore.config import Config
from hitl_site.agentcore.deployment import TAG, Deployment
from hitl_site.agentcore.trouble import Trouble

POLICY = "nod-agent"
LONGEST = 64


def name_of(config: Config) -> str:
    """AWS's own policy BedrockAgentCoreFullAccess lets its holders pass on roles with these words in their names."""
    name = f"NodBedrockAgentCore-{config.region}-{config.name}"
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def ensure(work: Deployment, account: str) -> str:
    """The ARN of the role, which is made or brought up to date if it is Nod's own."""
    if work.config.role:
        work.progress.step("Role", work.config.role)
        return work.config.role
    name, partition = name_of(work.config), work.aws.partition()
    trust = policies.trust(work.config, account, partition)
    found = work.aws.find("iam", "GetRole", RoleName=name)
    if found is None:
        arn = _create(work, name, trust)
        did = "made"
    else:
        arn, did = _update_trust(work, found["Role"], trust)
    if _put_permissions(work, name, policies.permissions(work.config, account, partition)):
        did = did or "permissions changed"
    work.progress.step("Role", f"{name}, {did or 'nothing to change'}")
    return arn


def _create(work: Deployment, name: str, trust: policies.Document) -> str:
    work.created.role = name
    work.keep()
    made = work.aws.call(
        "iam",
        "CreateRole",
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps(trust),
        Description=f"What the agent {work.config.name} of Nod may do on Amazon Bedrock AgentCore",
        Tags=[{"Key": TAG, "Value": work.config.deployment}],
    )
    return str(made["Role"]["Arn"])


def _update_trust(work: Deployment, role: dict[str, Any], trust: policies.Document) -> tuple[str, str]:
    """Whoever can make a role of this name beforehand must not get the agent to run with theirs."""
    name = name_of(work.config)
    if {"Key": TAG, "Value": work.config.deployment} not in role.get("Tags", []):
        raise Trouble(
            f"There is a role {name} already that {work.path.name} did not make. "
            "Give it with configure --role ARN, or choose another name."
        )
    work.created.role = name
    work.keep()
    if role["AssumeRolePolicyDocument"] == trust:
        return str(role["Arn"]), ""
    work.aws.call("iam", "UpdateAssumeRolePolicy", RoleName=name, PolicyDocument=json.dumps(trust))
    return str(role["Arn"]), "trust changed"


def _put_permissions(work: Deployment, name: str, wanted: policies.Document) -> bool:
    found = work.aws.find("iam", "GetRolePolicy", RoleName=name, PolicyName=POLICY)
    if found and found["PolicyDocument"] == wanted:
        return False
    work.aws.call("iam", "PutRolePolicy", RoleName=name, PolicyName=POLICY, PolicyDocument=json.dumps(wanted))
    return True


def recall(work: Deployment) -> None:
    """Remember a role that was made from here, by its tag: the file may be older than what it launched."""
    found = work.aws.find("iam", "GetRole", RoleName=name_of(work.config))
    if found and {"Key": TAG, "Value": work.config.deployment} in found["Role"].get("Tags", []):
        work.created.role = name_of(work.config)
        work.keep()


def remove(work: Deployment) -> str:
    """Take the role away, if it is Nod's own. Tells what stays, and why."""
    name = work.created.role
    if not name:
        return ""
    found = work.aws.find("iam", "GetRole", RoleName=name)
    if found is not None:
        tags = found["Role"].get("Tags", [])
        if {"Key": TAG, "Value": work.config.deployment} not in tags:
            return f"role {name}: somebody else has made it meanwhile"
        work.aws.find("iam", "DeleteRolePolicy", RoleName=name, PolicyName=POLICY)
        try:
            work.aws.find("iam", "DeleteRole", RoleName=name)
        except Refused as error:
            if error.code != "DeleteConflict":
                raise
            return f"role {name}: somebody has given it further policies"
    work.created.role = ""
    work.keep()
    work.progress.step("Role", f"{name}, {'removed' if found is not None else 'was gone already'}")
    return ""
