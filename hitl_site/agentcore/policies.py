"""What the execution role allows: who may take it on, and what the agent may do with it. No more than it needs."""

from __future__ import annotations

import re
from typing import Any

from hitl_site.agentcore.config import Config

Document = dict[str, Any]
_VERSION = "2012-10-17"
# A profile for inference in several regions: us.anthropic.claude-…, global.anthropic.claude-…
_AREAS = "global|us|us-gov|eu|uk|apac|au|jp|kr|in|ca|mx|sa|me|il|af"
_PROFILE = re.compile(rf"(?P<area>{_AREAS})\.(?P<model>[a-z0-9-]+\..+)")


def trust(config: Config, account: str, partition: str) -> Document:
    """AgentCore may take the role on, for this account's runtimes in this region and for nobody else."""
    return {
        "Version": _VERSION,
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "bedrock-agentcore.amazonaws.com"},
                "Action": "sts:AssumeRole",
                "Condition": {
                    "StringEquals": {"aws:SourceAccount": account},
                    "ArnLike": {
                        "aws:SourceArn": f"arn:{partition}:bedrock-agentcore:{config.region}:{account}:*"
                    },
                },
            }
        ],
    }


def permissions(config: Config, account: str, partition: str) -> Document:
    """The models, the agent's own log, X-Ray; the image, if it runs from one."""
    statements = [*_models(config, account, partition), *_logs(config, account, partition), _XRAY]
    if ".dkr.ecr." in config.image:
        statements += _image(config, partition)
    return {"Version": _VERSION, "Statement": statements}


def _models(config: Config, account: str, partition: str) -> list[Document]:
    found = {arn: None for model in config.models for arn in _arns(model, config.region, account, partition)}
    statements = [
        _allow("Models", ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"], list(found))
    ]
    profiles = [model for model in config.models if ":application-inference-profile/" in model]
    if (
        profiles
    ):  # which model stands behind it only AWS knows: any, as long as it is asked through the profile
        through = _allow(
            "ThroughProfiles", statements[0]["Action"], [f"arn:{partition}:bedrock:*::foundation-model/*"]
        )
        statements.append(
            {**through, "Condition": {"StringEquals": {"bedrock:InferenceProfileArn": profiles}}}
        )
    return statements


def _arns(model: str, region: str, account: str, partition: str) -> list[str]:
    if model.startswith("arn:"):
        return [model]
    if model == "*":
        return [
            f"arn:{partition}:bedrock:*::foundation-model/*",
            f"arn:{partition}:bedrock:{region}:{account}:*",
        ]
    if found := _PROFILE.fullmatch(model):
        # It passes the question on to regions of its own choice; a global one names none at all.
        everywhere = [f"arn:{partition}:bedrock:*::foundation-model/{found['model']}"]
        if found["area"] == "global":
            everywhere.append(f"arn:{partition}:bedrock:::foundation-model/{found['model']}")
        return [f"arn:{partition}:bedrock:{region}:{account}:inference-profile/{model}", *everywhere]
    return [f"arn:{partition}:bedrock:{region}::foundation-model/{model}"]


def _logs(config: Config, account: str, partition: str) -> list[Document]:
    place = f"arn:{partition}:logs:{config.region}:{account}:log-group:"
    group = f"{place}/aws/bedrock-agentcore/runtimes/{config.name}-*"
    return [
        _allow("FindLog", ["logs:DescribeLogGroups"], [f"{place}*"]),
        _allow("OwnLog", ["logs:CreateLogGroup", "logs:DescribeLogStreams"], [group]),
        _allow("WriteLog", ["logs:CreateLogStream", "logs:PutLogEvents"], [f"{group}:log-stream:*"]),
    ]


def _image(config: Config, partition: str) -> list[Document]:
    registry, _, rest = config.image.partition("/")
    account, _, _, region = registry.split(".")[:4]
    repository = rest.partition("@")[0].partition(":")[0]
    arn = f"arn:{partition}:ecr:{region}:{account}:repository/{repository}"
    return [
        _allow("Image", ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], [arn]),
        _allow("Registry", ["ecr:GetAuthorizationToken"], ["*"]),  # it takes no narrower one
    ]


def _allow(sid: str, actions: list[str], resources: list[str]) -> Document:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}


_XRAY = _allow(
    "Traces",
    ["xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets"],
    ["*"],  # they take no narrower one
)
