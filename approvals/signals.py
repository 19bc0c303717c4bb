"""What `approvals` tells those who build on it, without knowing them."""

from django.dispatch import Signal

settled = Signal()
"""Sent inside the transaction in which a pending call was decided, expired or was cancelled. `call`: the row."""
