"""`status`: how the runtime and its endpoint stand."""

from __future__ import annotations

from hitl_site.agentcore import dry, runtime
from hitl_site.agentcore.deployment import Deployment
from hitl_site.agentcore.trouble import Trouble


def status(work: Deployment) -> None:
    """Print it; Trouble when it cannot be called."""
    found = runtime.find(work)
    if work.aws.dry:
        runtime.look_at_endpoint(work, work.created.runtime_id or f"{work.config.name}-{dry.ID}")
        return
    if found is None:
        raise Trouble(
            f"{work.config.name} is not on AgentCore in {work.config.region}. Put it there: manage.py agentcore launch"
        )
    _print(work, found, "Runtime", found["agentRuntimeName"], f"version {found['agentRuntimeVersion']}")
    endpoint = runtime.look_at_endpoint(work, found["agentRuntimeId"])
    if endpoint is None:
        work.progress.step("Endpoint", f"{runtime.ENDPOINT} is not there (yet)")
    else:
        _print(work, endpoint, "Endpoint", runtime.ENDPOINT, _versions(endpoint))
    work.progress.step("ARN", found["agentRuntimeArn"])
    if any(each["status"] in runtime.FAILED for each in (found, endpoint or {"status": ""})):
        raise Trouble("It does not run. Mend what stands under “Reason”, and launch again.")


def _print(work: Deployment, found: runtime.Fields, what: str, name: str, version: str) -> None:
    work.progress.step(
        what, f"{name}: {found['status']}, {version}, last changed {found['lastUpdatedAt']:%Y-%m-%d %H:%M %Z}"
    )
    if found.get("failureReason"):
        work.progress.step("Reason", found["failureReason"])


def _versions(endpoint: runtime.Fields) -> str:
    live, target = endpoint.get("liveVersion"), endpoint.get("targetVersion")
    if target and live != target:
        return f"serves version {live or 'none yet'}, on its way to {target}"
    return f"version {live}"
