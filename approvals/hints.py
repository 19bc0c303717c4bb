"""What somebody may have meant who wrote a name that there is not."""

import difflib
from collections.abc import Sequence


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """A sentence: the nearest of the known names, or all of them, in their order, where none is near."""
    near = difflib.get_close_matches(name, known, 1)
    return f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known) or 'none'}."
