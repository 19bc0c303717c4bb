"""Showing a value that looks like a secret. Nothing changes but the audit trail."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib.auth.models import User

from approvals import audit
from approvals.errors import InvalidInput
from approvals.fields import storable
from approvals.models import ToolCall
from approvals.presentation import key_of
from approvals.secrecy import secrets_in


@audit.audited(durable=True)
def reveal(call: ToolCall, user: User, keys: Sequence[str]) -> frozenset[str]:
    """Note who is shown which arguments (their names in forms); the caller has checked that they see the call.

    Raises InvalidInput for an argument that holds nothing hidden.
    """
    hidden = {key_of(name): name for name in secrets_in(call.arguments)}
    if not keys or any(key not in hidden for key in keys):
        raise InvalidInput("There is nothing hidden in that argument. Reload the page.")
    names = [hidden[key] for key in dict.fromkeys(keys)]
    for name in names:
        audit.record("secret.revealed", user.get_username(), call=call, argument=storable(name))
    return frozenset(names)
