"""How much a person can be asked to approve."""

from __future__ import annotations

import json
from typing import Any

from approvals.digest import canonical

MOST_APPROVED = 64_000  # bytes of canonical JSON; nobody reads more before saying yes
TOO_LONG = (
    f"The arguments are longer than {MOST_APPROVED:,} bytes. Nobody can be expected to have read them: "
    "the call can only be denied."
)


def too_long(arguments: Any) -> bool:
    """Whether these are more than a person may approve."""
    return len(canonical(arguments)) > MOST_APPROVED


def fills_a_page(value: Any) -> bool:
    """About the same of any JSON value, canonical form or none, in a tenth of the time."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":"))) > MOST_APPROVED
