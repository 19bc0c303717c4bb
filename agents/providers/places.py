"""Which AWS regions a Bedrock model id belongs to, as far as the id itself says so."""

from __future__ import annotations

import re

from agents.providers.problems import ModelProblem

# The prefixes of inference profiles across regions -> what the names of these regions begin with. Only what is
# certain: some regions outside may call one too, such as Canada the American ones.
PREFIXES = {
    "us": ("us-", "ca-"),
    "us-gov": ("us-gov-",),
    "eu": ("eu-", "il-"),
    "apac": ("ap-", "me-"),
    "jp": ("ap-",),
    "au": ("ap-",),
}
_PREFIX = re.compile(r"^(us-gov|us|eu|apac|jp|au)\.[a-z0-9-]+\.")
_ARN = re.compile(
    r"^arn:aws[a-z-]*:(?:bedrock|sagemaker):(?P<region>[a-z0-9-]*):(?P<account>[0-9]*):(?P<what>.+)$"
)


def is_claude(model_id: str) -> bool:
    return "anthropic" in model_id.lower() or "claude" in model_id.lower()


def check(model_id: str, region: str | None) -> None:
    """Refuse a model id that cannot work there; `region` None: not known yet.

    Raises:
        ModelProblem: `wrong_region`, or `unknown_model` for an ARN that is none of Bedrock's.
    """
    if model_id.startswith("arn:"):
        _check_arn(model_id, region)
    elif region and (found := _PREFIX.match(model_id)):
        prefix = found[1]
        governmental = region.startswith("us-gov-") and prefix != "us-gov"
        if governmental or not region.startswith(PREFIXES[prefix]):
            raise ModelProblem(
                "wrong_region",
                f"The model {model_id} is for the regions of “{prefix}.”, and the region is {region}. "
                f"Ask an administrator to set a model id for {region}, or another region.",
            )


def _check_arn(arn: str, region: str | None) -> None:
    found = _ARN.match(arn)
    if found is None:
        raise ModelProblem(
            "unknown_model",
            "The model's ARN is not one of Amazon Bedrock. Ask an administrator for one such as "
            "arn:aws:bedrock:eu-central-1:111122223333:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0.",
        )
    if region and found["region"] and found["region"] != region:
        raise ModelProblem(
            "wrong_region",
            f"The model's ARN is of the region {found['region']}, and the region is {region}. "
            "Ask an administrator to make the two the same.",
        )
