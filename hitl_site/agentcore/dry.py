"""--dry-run: prints the calls instead of making them. Needs no credentials and no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hitl_site.agentcore.aws import Aws, NotThere
from hitl_site.agentcore.calls import Call, check
from hitl_site.agentcore.config import Config

ACCOUNT = "111122223333"
ID = "AbCdEf1234"


class DryRun(Aws):
    """Answers as AWS would when it has what agentcore.json says was made, and nothing else."""

    dry = True

    def __init__(self, config: Config, print_line: Callable[[str], object]) -> None:
        super().__init__(config.region)
        self._config = config
        self._print = print_line
        self._answers: Mapping[str, Callable[[dict[str, Any]], Any]] = {
            "GetCallerIdentity": self._identity,
            "GetRole": self._role,
            "CreateRole": lambda p: {"Role": {"Arn": self._role_arn(p["RoleName"])}},
            "GetRolePolicy": _nothing,
            "GetBucketTagging": _nothing,
            "HeadBucket": lambda p: _there(p["Bucket"] == config.created.bucket),
            "HeadObject": _nothing,
            "ListObjectsV2": lambda p: {"Contents": [{"Key": f"{p['Prefix']}CONTENT.zip"}]},
            "ListAgentRuntimes": lambda _: {"agentRuntimes": []},
            "CreateAgentRuntime": lambda p: {**self._runtime(p), "status": "CREATING"},
            "UpdateAgentRuntime": lambda p: {**self._runtime(p), "status": "UPDATING"},
            "GetAgentRuntime": self._runtime,
            "GetAgentRuntimeEndpoint": lambda _: {"status": "READY", "liveVersion": "1"},
            "ListAgentRuntimeEndpoints": lambda _: {"runtimeEndpoints": [{"name": "DEFAULT"}]},
        }
        self._deleted = False

    @property
    def account(self) -> str:
        return self._config.created.account or ACCOUNT

    def call(self, service: str, operation: str, /, **parameters: Any) -> dict[str, Any]:
        call = Call(service, operation, parameters)
        check(call)
        self._print(call.line())
        if operation == "DeleteAgentRuntime":
            self._deleted = True
        answer = self._answers.get(operation)
        return answer(parameters) if answer else {}

    def wait(self, seconds: float) -> None:
        """Nothing changes by waiting."""

    def _identity(self, parameters: dict[str, Any]) -> dict[str, Any]:
        return {"Account": self.account}

    def _role(self, parameters: dict[str, Any]) -> dict[str, Any]:
        name = parameters["RoleName"]
        _there(name == self._config.created.role)
        tags = [{"Key": "nod-agentcore", "Value": self._config.deployment}]
        return {"Role": {"Arn": self._role_arn(name), "AssumeRolePolicyDocument": {}, "Tags": tags}}

    def _role_arn(self, name: str) -> str:
        return f"arn:{self.partition()}:iam::{self.account}:role/{name}"

    def _runtime(self, parameters: dict[str, Any]) -> dict[str, Any]:
        _there(not self._deleted)
        created = self._config.created
        identity = created.runtime_id or f"{self._config.name}-{ID}"
        place = f"arn:{self.partition()}:bedrock-agentcore:{self.region}:{self.account}"
        return {
            "agentRuntimeId": identity,
            "agentRuntimeArn": created.runtime_arn or f"{place}:runtime/{identity}",
            "agentRuntimeVersion": "1",
            "status": "READY",
        }


def _there(there: bool) -> dict[str, Any]:
    if not there:
        raise NotThere
    return {}


def _nothing(parameters: dict[str, Any]) -> dict[str, Any]:
    raise NotThere
