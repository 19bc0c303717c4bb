"""What `approvals` tells those who build on it, without knowing them. All are sent inside the transaction."""

from django.dispatch import Signal

settled = Signal()
"""A call that waited for a person waits no more: decided, settled, expired or cancelled. `call`: the row."""

reopening = Signal()
"""A decision is being undone: the call will wait again. `call`: the row as it was decided. A receiver raises a
Refusal when the decision has been acted upon already; nothing changes then."""

resumed = Signal()
"""What did not happen is to run again. `call`: the row. A receiver raises a Refusal when nobody would run it."""

asked = Signal()
"""A call begins to wait for a person. `call`: the row."""

known_agents = Signal()
"""Which agents are there? Each receiver answers with their slugs."""
