"""`manage.py agentcore`: puts the agent of `hosted/` on Amazon Bedrock AgentCore Runtime, with boto3 alone.

What an operator says is in config.py, what AWS is told in calls.py and aws.py (or dry.py, which only prints it);
bundle.py makes the zip of the code; role.py, bucket.py and runtime.py each look after one thing at AWS;
configure.py, launch.py, status.py, invoke.py and destroy.py are the verbs.
"""
