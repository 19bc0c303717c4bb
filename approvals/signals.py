"""What `approvals` tells those who build on it, without knowing them. All are sent inside the transaction."""

from django.dispatch import Signal

settled = Signal()
"""A call that waited for a person waits no more: decided, settled, expired or cancelled. `call`: the row."""

reopened = Signal()
"""A decision was undone and the call waits again. `call`: the row; `was`: its status before. A receiver raises a
Refusal when the decision has been acted upon already; nothing has changed then."""

resumed = Signal()
"""What did not happen is to run again. `call`: the row. A receiver raises a Refusal when nobody would run it."""
