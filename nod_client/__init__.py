"""Ask Nod, the approval desk, before an agent acts. Needs nothing of Nod's own code; see README.md."""

from nod_client.calls import Call
from nod_client.client import Nod
from nod_client.errors import AlreadyRan, NodError, NotApproved, Unreachable

__all__ = ["AlreadyRan", "Call", "Nod", "NodError", "NotApproved", "Unreachable"]
