"""JSON kept as text, so that what is stored is byte for byte what was digested.

A jsonb column would reorder keys, reject the NUL character and lone surrogates, and be rewritten whole.
"""

import json
import re
from typing import Any

from django.db import models

from approvals.digest import canonical


def storable(text: str) -> str:
    """Text for a plain column: NUL and lone surrogates, which databases refuse, become U+FFFD."""
    return re.sub("[\0\ud800-\udfff]", "\ufffd", text)


class JSONTextField(models.TextField):  # type: ignore[type-arg]
    """Any JSON value, stored as compact ASCII text."""

    # what the type checker's Django plugin reads
    _pyi_private_set_type: Any
    _pyi_private_get_type: Any

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        return None if value is None else json.loads(value)

    def to_python(self, value: Any) -> Any:
        return value

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else self.dumps(value)

    def value_to_string(self, obj: models.Model) -> str:
        return self.dumps(self.value_from_object(obj))

    @staticmethod
    def dumps(value: Any) -> str:
        return json.dumps(value, separators=(",", ":"))


class CanonicalJSONField(JSONTextField):
    """A JSON value, stored as its RFC 8785 text."""

    @staticmethod
    def dumps(value: Any) -> str:
        return canonical(value).decode()
