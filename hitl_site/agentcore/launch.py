"""`launch`: from agentcore.json to a runtime that answers. Whatever is there already stays; it may be interrupted and
run again at any point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hitl_site.agentcore import bucket, bundle, role, runtime
from hitl_site.agentcore.deployment import Deployment
from hitl_site.agentcore.trouble import Trouble


def launch(
    work: Deployment, make: Callable[[], bundle.Bundle] | None, *, patience: float, wait: bool
) -> None:
    """Make or update everything, then wait until it serves. `make` gives the zip; without it (in a dry run) the calls
    tell of CONTENT."""
    account = work.account()
    environment = work.config.environment(hidden=work.aws.dry)
    code = None if work.config.image or make is None else make()
    work.created.account = account
    work.keep()
    arn = role.ensure(work, account)
    artifact = _artifact(work, account, code)
    made = runtime.ensure(work, runtime.wanted(work.config, arn, artifact, environment), patience)
    if wait:
        _wait(work, made, patience)
    _tell(work, made["agentRuntimeArn"])


def the_zip(work: Deployment, root: Path, folder: Path, given: Path | None) -> bundle.Bundle:
    """The zip that was given, or one made of the tree, in a folder."""
    if given is None:
        work.progress.waiting("Zip", "installing the libraries for Linux on ARM, which can take a minute")
        found = bundle.build(root, folder, work.config.name, work.config.python)
    else:
        found = bundle.look(given)
    work.progress.step("Zip", str(found))
    return found


def _artifact(work: Deployment, account: str, code: bundle.Bundle | None) -> runtime.Fields:
    if work.config.image:
        work.progress.step("Image", work.config.image)
        return runtime.image(work.config)
    name = bucket.ensure(work, account)
    key = bucket.key_of(work.config, code.content if code else "CONTENT")
    bucket.upload(work, account, name, key, code.path if code else None)
    return runtime.code(work.config, name, key)


def _wait(work: Deployment, made: runtime.Fields, patience: float) -> None:
    found = runtime.ready(work, made, patience)
    version = found["agentRuntimeVersion"]
    work.progress.step("Status", f"{found['status']}, version {version}")
    endpoint = runtime.endpoint(work, version, patience)
    if endpoint is None:
        raise Trouble(
            f"The runtime is ready, but its endpoint {runtime.ENDPOINT} does not serve version {version} yet. "
            "Look again: manage.py agentcore status"
        )
    if endpoint["status"] != "READY":
        raise Trouble(
            f"The endpoint is {endpoint['status']}: {runtime.why(endpoint)}. Mend that, and launch again."
        )
    work.progress.step("Endpoint", f"{runtime.ENDPOINT} {endpoint['status']}, version {version}")


def _tell(work: Deployment, arn: str) -> None:
    if work.aws.dry:
        return
    work.progress.line()
    work.progress.line(arn)
    work.progress.line(
        "In Nod's admin, on the agent's page: Runtime “On Amazon Bedrock AgentCore”, "
        f"and this ARN as Runtime's ARN; Runtime's endpoint may stay empty ({runtime.ENDPOINT})."
    )
