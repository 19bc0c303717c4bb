"""The answers of a hook (hooks.py): a call is given out once, and what comes back is a person's decision or nothing."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.models import User
from django.db.models.functions import Now

from approvals import audit, hooks
from approvals.actions import decisions
from approvals.errors import InvalidInput, NotAReviewer, Refusal
from approvals.fields import storable
from approvals.hooks import Answer, Asked
from approvals.letters import link
from approvals.models import ApiToken, AuditEntry, ToolCall
from approvals.permissions import may_sign_in
from approvals.secrecy import hide_in
from approvals.states import Choice, Status
from approvals.visible import one_line

ACTOR = "hook"
LOOKED_AT = 200  # pending calls, the newest, that a sweep looks at


def prompt(call: ToolCall) -> str:
    """What a person is asked, in a line: secrets masked, what deceives made visible."""
    arguments = json.dumps(hide_in(call.arguments), ensure_ascii=False)
    return f'Tool "{call.tool}" requires human approval. Input: {one_line(arguments)}'


@audit.audited(durable=True)
def give_out(call_id: Any) -> Asked | None:
    """A pending call, once: none that was given out before, or does not wait any more."""
    waiting = ToolCall.objects.select_for_update(of=("self",)).filter(
        pk=call_id, status=Status.PENDING, expires_at__gt=Now()
    )
    call = waiting.first()
    if call is None or _given_out([str(call.pk)]):
        return None
    audit.record("hook.asked", ACTOR, call=call)
    return _asked(call)


def not_given_out() -> list[str]:
    """Pending calls that no hook was given yet: its wake-up was lost, or all threads were busy."""
    newest = ToolCall.objects.filter(status=Status.PENDING).order_by("-pk")[:LOOKED_AT]
    ids = [str(pk) for pk in newest.values_list("pk", flat=True)]
    given = _given_out(ids) if ids else set()
    return [one for one in reversed(ids) if one not in given]


def _given_out(ids: list[str]) -> set[str]:
    return set(AuditEntry.objects.filter(call__in=ids, kind="hook.asked").values_list("call", flat=True))


def _asked(call: ToolCall) -> Asked:
    person = User.objects.only("username").get(pk=call.requested_by_id)
    return Asked(
        id=str(call.pk),
        version=call.version,
        digest=call.digest,
        session=call.session,
        tool=call.tool,
        arguments=call.arguments,
        risk=call.risk,
        reason=call.why,
        policy=call.policy,
        requested_by=person.get_username(),
        trustable=call.trustable,
        word=call.term("confirm") or "",
        expires_at=call.expires_at,
        url=link(call),
        prompt=prompt(call),
    )


def decide(asked: Asked, answer: Answer) -> ToolCall:
    """The answer as a decision of the person whom it names, on exactly what the hook was given.

    Raises a Refusal; nothing has changed then, and the call waits on.
    """
    call = decisions.find(asked.id)
    try:
        person, ruling = _person(answer.decided_by), _ruling(asked, answer)
    except Refusal as refused:
        decisions.record_refusal(call, User(username=ACTOR), refused, storable(str(answer.response))[:50])
        raise
    made = decisions.decide(asked.id, person, ruling)
    with audit.audited():
        audit.record("hook.answered", ACTOR, call=made, by=person.get_username(), choice=ruling.choice)
    return made


def _person(name: object) -> User:
    """Who is said to have decided: a person who may sign in, and no account that programs act by."""
    if not isinstance(name, str) or not name:
        raise InvalidInput("The hook does not say who decided. Give a person's name in decided_by.")
    person = User.objects.filter(username=storable(name), is_active=True).first()
    if person is None or not may_sign_in(person):
        raise NotAReviewer(f"There is no active person named {name!r}.")
    live = ApiToken.objects.filter(user=person, revoked_at=None)
    if any("agent" in token.scopes for token in live):
        raise NotAReviewer(f"{name} has a token by which agents ask (scope agent): programs do not decide.")
    return person


def _ruling(asked: Asked, answer: Answer) -> decisions.Ruling:
    """Where the policy demands a word, it is the response itself or stands beside it."""
    word = "" if answer.confirm else asked.word
    choice = hooks.choice_of(answer.response, trustable=asked.trustable, word=word)
    typed = answer.confirm or (answer.response if isinstance(answer.response, str) else "")
    comment = answer.comment
    if choice == Choice.DENY and not comment:
        comment = f"The answer was “{str(answer.response)[:200]}”."
    return decisions.Ruling(
        choice,
        asked.version,
        asked.digest,
        comment,
        confirm=typed,
        trust_for=answer.trust_for,
        trust_uses=answer.trust_uses,
    )
