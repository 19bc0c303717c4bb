"""The answer that is being written, as Markdown so far. Pages put what they hear meanwhile behind it, as plain text.

Lengths count code points of the text as the model wrote it, so that nothing is shown twice and nothing is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.utils.safestring import SafeString

from agents.models import Run
from agents.presentation import markdown

# What may still become anything: half a fence, a bullet without its text (read now, it would underline a heading).
_BEGUN = re.compile(r"\s*(?:(?:\A|\n)[ \t]*[-=*_+#>`~|\d.)]{1,5}[ \t]*)?\Z")


@dataclass(frozen=True)
class Draft:
    """`html`: the text as far as it has a form. `rest`: what follows it and has none yet. `length`: of both."""

    run: str
    html: SafeString
    rest: str
    length: int

    def __bool__(self) -> bool:
        return self.length > 0


def draft(run: Run | None, text: str) -> Draft:
    """An open code fence runs to the end of the text, as CommonMark has it."""
    rest = _rest(text)
    formed = text[: len(text) - len(rest)]
    return Draft(str(run.pk) if run else "", markdown(formed), rest, len(text))


def _rest(text: str) -> str:
    found = _BEGUN.search(text[-200:])
    return found[0] if found else ""
