"""Policies as a file: YAML or JSON, checked against policy-file.schema.json, with the line of each mistake."""

from approvals.policy_files.entries import Entry, entry_of
from approvals.policy_files.read import BadPolicyFile, read
from approvals.policy_files.write import write

__all__ = ["BadPolicyFile", "Entry", "entry_of", "read", "write"]
