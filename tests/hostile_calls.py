"""Makes the calls and conversations of tests/hostile.py in a running system; prints where they are, as JSON.

Run with that system's environment: `python -m tests.hostile_calls`. Of each value: a call that waits, one that was
denied, one that was done, and the chat in which all three were asked for. Beside them the same with harmless values.
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from tests.hostile import CORPUS, Hostile

WORDS = "harmless words"
LONG = 64_000  # bytes of JSON, beyond which a call is not shown like others
BATCH = 15  # values an audit page holds
MOST = 2000  # characters of a reason
EVERY_DAY = ("markup", "htmx", "bidi", "look-alikes", "formulas", "tricks")
STEP = 18


class Subject(NamedTuple):
    """What is asked for: a tool, its arguments, the words around it. `kind`: those of a kind have the same page."""

    name: str
    kind: str
    tool: str
    arguments: dict[str, Any]
    words: str


def subject(hostile: Hostile) -> Subject:
    value = hostile.value
    long = _size(value) > LONG
    if hostile.keys:
        return Subject(hostile.name, f"names {len(value)}", "make_note", value, WORDS)
    if hostile.text and value.strip() and _size(everywhere(value)) < LONG:
        return Subject(hostile.name, "text", "send_email", everywhere(value), value)
    kind = f"value {'long' if long else ''}"
    arguments = {"to": "dev@example.com", "subject": "Launch", "value": value}
    return Subject(hostile.name, kind, "send_email", arguments, value if hostile.text and long else WORDS)


def _size(value: Any) -> int:
    """Bytes, nearly as Nod counts them; no value of the corpus is near the limit."""
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def everywhere(text: str) -> dict[str, Any]:
    mail = {"to": text, "subject": text, "body": text}
    return {**mail, "value": text, "list": [text, text], "object": {"inside": text}}


def harmless(kind: str) -> Subject:
    """What the pages of this kind are compared with."""
    sort, _, more = kind.partition(" ")
    if sort == "names":
        return Subject(kind, kind, "make_note", {f"name {number}": "x" for number in range(int(more))}, WORDS)
    if sort == "text":
        return Subject(kind, kind, "send_email", everywhere(WORDS), WORDS)
    value = WORDS * (LONG // len(WORDS) * 2 if more else 1)
    arguments = {"to": "dev@example.com", "subject": "Launch", "value": value}
    return Subject(kind, kind, "send_email", arguments, value if more else WORDS)


def families() -> dict[str, list[Hostile]]:
    """Those that are looked at: all with HOSTILE=all, otherwise a part of some families, for every day."""
    found: dict[str, list[Hostile]] = {}
    for hostile in CORPUS:
        if not hostile.refused:
            found.setdefault(hostile.family, []).append(hostile)
    if os.environ.get("HOSTILE") == "all":
        return found
    return {family: found[family][::STEP] for family in EVERY_DAY}


# --- What runs in the system's environment ------------------------------------------------------------------


def _main() -> None:
    import django

    django.setup()
    from django.contrib.auth.models import User

    _prepare()
    made = {family: _family(family, of) for family, of in families().items()}
    print(json.dumps({"families": made, "admin": cookie(User.objects.get(username="admin"))}))


def _prepare() -> None:
    from approvals.digest import definition_hash
    from approvals.models import Tool, ToolPolicy

    ToolPolicy.objects.all().delete()  # each family has one of its own
    schema = {"type": "object"}
    definition = definition_hash("make_note", "Makes a note.", schema)
    Tool.objects.create(
        name="make_note",
        description="Makes a note.",
        schema=schema,
        definition=definition,
        looked_at=definition,
    )


def _family(family: str, of: list[Hostile]) -> dict[str, Any]:
    from approvals.models import AuditEntry

    people = _people(family)
    subjects = [subject(hostile) for hostile in of]
    references = [harmless(kind) for kind in dict.fromkeys(one.kind for one in subjects)]
    made, batches = {}, []
    for start in range(0, len(subjects), BATCH):
        for one in references + subjects[start : start + BATCH]:
            name = f"{one.name}|{start}" if one.name in made else one.name
            made[name] = _ask(family, one, *people)
        batches.append(AuditEntry.objects.order_by("-seq").values_list("seq", flat=True)[0] + 1)
    for one in references:  # the last decision is the same, whichever call is looked at
        _ask(family, one, *people)
    return {
        "made": made,
        "audit": batches,
        "cookies": [cookie(person) for person in people],
    }


def _people(family: str) -> Any:
    """Somebody who chats and somebody who reviews, who see this family and nothing else."""
    from django.contrib.auth.models import Group, Permission, User

    from approvals.models import ToolPolicy
    from approvals.permissions import CHAT_USERS

    group = Group.objects.create(name=f"hostile {family}")
    group.permissions.add(Permission.objects.get(codename="review_toolcall"))
    asker = User.objects.create(username=f"asker-{family}")
    asker.groups.add(Group.objects.get(name=CHAT_USERS))
    judge = User.objects.create(username=f"judge-{family}")
    judge.groups.add(group)
    policy = ToolPolicy.objects.create(
        name=f"Ask about {family}", tool="*", agent=f"hostile-{family}", effect="ask"
    )
    policy.groups.set([group])
    return asker, judge


def cookie(user: Any) -> str:
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    store = SessionStore()
    store[SESSION_KEY], store[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
    store[BACKEND_SESSION_KEY] = "approvals.auth.PeopleBackend"
    store.create()
    return str(store.session_key)


def _ask(family: str, one: Subject, asker: Any, judge: Any) -> dict[str, str]:
    from agents.models import Agent, Message, Run, Session
    from agents.states import RunStatus
    from approvals.actions import calls as ledger
    from approvals.actions.verdicts import Request, examine
    from approvals.audit import audited
    from approvals.fields import storable

    title = storable(one.words)[:200]
    session = Session.objects.create(user=asker, agent=Agent.objects.get(slug="assistant"), title=title)
    run = Run.objects.create(session=session, status=RunStatus.WAITING)
    small = (
        {"to": "dev@example.com"}
        if _size(one.arguments) > LONG or len(one.arguments) > 100
        else one.arguments
    )
    inputs = {"pending": one.arguments, "denied": {**small, "nr": 1}, "done": {**small, "nr": 2}}
    uses = [
        {"toolUse": {"toolUseId": use, "name": one.tool, "input": given}} for use, given in inputs.items()
    ]
    Message.objects.create(session=session, run=run, seq=1, role="user", content=[{"text": one.words}])
    content = [{"text": one.words}, *uses]
    Message.objects.create(session=session, run=run, seq=2, role="assistant", content=content)
    requests = {
        use: Request(
            session=session.key, run=str(run.pk), turn=2, tool_use_id=use, tool=one.tool, arguments=given,
            agent=f"hostile-{family}", requested_by=asker.pk, said=one.words[:20_000],
        )
        for use, given in inputs.items()
    }  # fmt: skip
    with audited():
        ledger.ask([examine(request) for request in requests.values()])
    _settle(session.key, requests, f"Because: {one.words}"[:MOST], judge)
    keys = {call.tool_use_id: str(call.pk) for call in _calls(session.key)}
    return {"kind": one.kind, "session": session.key, **keys}


def _calls(session: str) -> Any:
    from approvals.models import ToolCall

    return ToolCall.objects.filter(session=session)


def _settle(session: str, requests: Any, words: str, judge: Any) -> None:
    """The second is denied, the third is approved and done; the words are the reason and the result."""
    from approvals.actions import calls as ledger
    from approvals.actions import decisions
    from approvals.audit import audited
    from approvals.states import Choice

    calls = {call.tool_use_id: call for call in _calls(session)}
    for use, choice in (("denied", Choice.DENY), ("done", Choice.APPROVE)):
        ruling = decisions.Ruling(choice, version=calls[use].version, digest=calls[use].digest, comment=words)
        calls[use] = decisions.decide(calls[use].pk, judge, ruling)
    with audited():
        started = ledger.start_approved(calls["done"], requests["done"], 1)
    ledger.record(started, succeeded=True, result=[{"text": words}])


if __name__ == "__main__":
    _main()
