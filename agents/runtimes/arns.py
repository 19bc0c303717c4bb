"""What the address of an AgentCore runtime looks like. Apart, so that web processes need no boto3 for it."""

import re

# The pattern of agentRuntimeArn in botocore's model of bedrock-agentcore-control.
ARN = re.compile(
    r"arn:aws(-[^:]+)?:bedrock-agentcore:(?P<region>[a-z0-9-]+):[0-9]{12}:runtime/"
    r"[A-Za-z][A-Za-z0-9_]{0,47}-[A-Za-z0-9]{10}"
)
