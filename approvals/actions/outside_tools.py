"""Tools that agents have which run elsewhere: entered into the catalogue the first time that one is asked for.

Names are those of one desk, since policies go by them: what Nod has already is that tool, for whoever names it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError
from django.db.models.functions import Now

from approvals import audit, schemas
from approvals.digest import definition_hash
from approvals.errors import DefinitionChanged, InvalidArguments, InvalidInput, TooManyTools
from approvals.models import Tool
from approvals.states import ELSEWHERE

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,99}")
MOST = 500  # tools of one person's agents; models invent names
MAX_DESCRIPTION = 8000
SEEN_EVERY = timedelta(hours=1)


@dataclass(frozen=True)
class Sketch:
    """What an agent says of its tool."""

    description: str
    schema: dict[str, Any]

    def hash_for(self, name: str) -> str:
        """Raises InvalidInput for what has no exact JSON form."""
        try:
            return definition_hash(name, self.description, self.schema)
        except InvalidArguments as error:
            raise InvalidInput(f"definition: {error.message.replace('arguments', 'definition')}") from None

    def check(self) -> None:
        """Raises InvalidInput."""
        if len(self.description) > MAX_DESCRIPTION or re.search("[\0\ud800-\udfff]", self.description):
            raise InvalidInput(
                f"definition: give a description of at most {MAX_DESCRIPTION:,} characters, all of them text."
            )
        schemas.check(self.schema)


UNTOLD = Sketch("", {})


def entered(name: str, sketch: Sketch | None, user: User) -> Tool:
    """The catalogue's row; a tool that it did not have, or has otherwise by now, is one that nobody has looked at.

    Raises InvalidInput, TooManyTools, and DefinitionChanged where the tool is not this person's to change.
    """
    if not NAME.fullmatch(name):
        raise InvalidInput(
            "tool: give a name of at most 100 ASCII letters, digits, “_”, “.”, “:”, “/” and “-”."
        )
    row = Tool.objects.filter(name=name).first()
    if row is not None and (sketch is None or sketch.hash_for(name) == row.definition):
        _note_seen(row)
        return row
    if sketch is not None:
        sketch.check()
    if row is None:
        return _added(name, sketch, user)
    return _changed(row, sketch or UNTOLD, user)


def _note_seen(row: Tool) -> None:
    """Now and then: a row that each call changed would make them wait for each other."""
    if row.provider == ELSEWHERE:
        Tool.objects.filter(pk=row.pk, last_seen__lt=Now() - SEEN_EVERY).update(last_seen=Now())


def _added(name: str, sketch: Sketch | None, user: User) -> Tool:
    if Tool.objects.filter(owner=user).count() >= MOST:
        raise TooManyTools(f"Your agents have {MOST} tools in the catalogue already. Ask for one of these.")
    sketch = sketch or UNTOLD
    try:
        with audit.audited():
            tool = Tool.objects.create(name=name, provider=ELSEWHERE, owner=user, **_columns(name, sketch))
            _record(tool, user, before=None)
    except IntegrityError:  # somebody else was first
        return entered(name, sketch, user)
    return tool


def _changed(row: Tool, sketch: Sketch, user: User) -> Tool:
    if row.provider != ELSEWHERE or row.owner_id not in (None, user.pk):
        whose = "Nod has" if row.provider != ELSEWHERE else "Agents of somebody else have"
        raise DefinitionChanged(
            f"{whose} another tool named {row.name}. Give yours another name, or leave its definition out."
        )
    with audit.audited():
        still = Tool.objects.filter(pk=row.pk, definition=row.definition, owner=row.owner_id)
        if still.update(owner=user, last_seen=Now(), **_columns(row.name, sketch)):
            before, row = row.definition, Tool.objects.get(pk=row.pk)
            _record(row, user, before=before)
            return row
    return entered(row.name, sketch, user)


def _columns(name: str, sketch: Sketch) -> dict[str, Any]:
    return {
        "description": sketch.description,
        "schema": sketch.schema,
        "definition": sketch.hash_for(name),
    }


def _record(tool: Tool, user: User, before: str | None) -> None:
    audit.record("tool.changed", user.get_username(), tool=tool.name, before=before, after=tool.definition)
