"""The agent as it lives on Amazon Bedrock AgentCore Runtime: no database, and nothing kept for Nod between requests."""
