"""`destroy`: takes away what `launch` made, and nothing else."""

from __future__ import annotations

from contextlib import suppress

from hitl_site.agentcore import bucket, role, runtime
from hitl_site.agentcore.deployment import Deployment


def recall(work: Deployment, account: str) -> None:
    """Look for what the file tells nothing of: the answer never arrived, or the file is an older copy."""
    if not work.created.runtime_id:
        with suppress(runtime.NotOurs):
            runtime.find(work)
    if not work.created.role:
        role.recall(work)
    if not work.created.bucket:
        bucket.recall(work, account)


def removed(work: Deployment) -> list[str]:
    """What will be taken away, one line each."""
    created = work.created
    endpoints = runtime.other_endpoints(work) if created.runtime_id else []
    return [
        *([f"the runtime {created.runtime_arn}"] if created.runtime_id else []),
        *(f"its endpoint {name}" for name in endpoints),
        *(
            [f"its code in s3://{created.code_bucket}/{bucket.folder_of(work.config)}"]
            if created.code_bucket
            else []
        ),
        *([f"the bucket {created.bucket}, if nothing else is in it"] if created.bucket else []),
        *([f"the role {created.role}"] if created.role else []),
    ]


def kept(work: Deployment) -> list[str]:
    """What stays."""
    config, created = work.config, work.created
    log = f"/aws/bedrock-agentcore/runtimes/{created.runtime_id or config.name}-{runtime.ENDPOINT}"
    return [
        *([f"the role {config.role}, which is yours"] if config.role else []),
        *([f"the bucket {config.bucket}, which is yours"] if config.bucket and not created.bucket else []),
        *([f"the image {config.image}"] if config.image else []),
        f"the log group {log} in CloudWatch",
        f"the configuration {work.path}",
    ]


def destroy(work: Deployment, account: str, patience: float) -> list[str]:
    """Take it away, the runtime first. Tells what stays against expectation."""
    runtime.remove(work, patience)
    bucket.remove_code(work, account)
    stayed = [text for text in (bucket.remove(work, account), role.remove(work)) if text]
    work.created.account = "" if not stayed else work.created.account
    work.keep()
    return stayed
