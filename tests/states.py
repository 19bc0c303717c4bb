"""Makes every state that a page can be in, in a running system; prints where they are and who sees them, as JSON.

Run with that system's environment: `python -m tests.states`. Dora decides what carol and she herself ask for, and
sees nothing else; emil is new: nothing waits for him, and he has asked for nothing.
"""

from __future__ import annotations

import json
from typing import Any

LETTER = {"to": "dev@example.com", "subject": "Launch", "body": "Hello,\n\nwhich features will be in it?"}
ODD = {"to": "dev@ex\u0430mple.com", "subject": "Launch", "copies": 2, "urgent": True, "tags": ["a", "b"]}
SECRET = {"to": "dev@example.com", "body": f"The key is sk-proj-{'a1B2' * 9}, see https://example.com/x_y_z"}
LONG = {"to": "dev@example.com", "body": "Which features will be in it? " * 2_200}
# Each call says whom it goes to: a condition that finds no such argument counts as met, and tests beside this one write
# conditions about it.
SHORT = {"to": "dev@example.com"}
WORDS = """I can do that. See [the plan](https://example.com/plan).

| Feature | When |
| --- | --- |
| Search | Monday |

> Not before Monday.

1. Write `notes_of_the_launch.txt`
2. Send it

```
Launch notes
```
"""


def main() -> None:
    import django

    django.setup()
    from django.contrib.auth.models import User

    from tests.hostile_calls import cookie

    made = _desk() | _chats()
    people = {name: cookie(User.objects.get(username=name)) for name in ("carol", "dora", "emil", "admin")}
    print(json.dumps({"places": made, "cookies": people}))


# --- People and policies ------------------------------------------------------------------------------------


def _person(name: str, *groups: Any) -> Any:
    from django.contrib.auth.models import User

    user = User.objects.create(username=name)
    user.groups.set(groups)
    return user


def _group(name: str) -> Any:
    from django.contrib.auth.models import Group, Permission

    group = Group.objects.create(name=name)
    group.permissions.add(Permission.objects.get(codename="review_toolcall"))
    return group


def _policies(group: Any) -> None:
    """One for each agent whose name these calls carry, narrower than those of the demo; no other call meets them."""
    from approvals.models import ToolPolicy

    agents: dict[str, dict[str, Any]] = {
        "plain": {},
        "strict": {"risk": "high", "confirm": "send it", "justify": True},
        "two": {"quorum": 2},
        "own": {"requester_may_decide": True},
    }
    for name, terms in agents.items():
        policy = ToolPolicy.objects.create(
            name=f"Mails, {name}", tool="send_email", agent=name, effect="ask", when="true", **terms
        )
        policy.groups.set([group])


# --- Calls of agents that run elsewhere: no worker has anything to do with them ------------------------------


def _desk() -> dict[str, str]:
    from django.contrib.auth.models import Group

    from approvals.actions import calls as ledger
    from approvals.actions import together, trust
    from approvals.actions.together import Seen
    from approvals.audit import audited
    from approvals.models import TrustGrant
    from approvals.permissions import CHAT_USERS
    from approvals.states import Choice, Fault

    chats, group = Group.objects.get(name=CHAT_USERS), _group("launch desk")
    carol, dora = _person("carol", chats), _person("dora", chats, group)
    _person("emil", chats, _group("empty desk"))
    _policies(group)

    denied = _decide(_ask(carol, LETTER), dora, Choice.DENY, "Not before Monday.")
    trusted = _decide(_ask(carol, LETTER | {"copies": 1}), dora, Choice.TRUST, trust_same=("to",))
    ended = _decide(_ask(carol, LETTER | {"copies": 2}), dora, Choice.TRUST)
    trust.revoke(TrustGrant.objects.get(session=ended.session).pk, ended.session, dora)
    done, lost = (_decide(_ask(carol, LETTER | {"nr": nr}), dora, Choice.APPROVE) for nr in (1, 2))
    with audited():
        started = [ledger.start_approved(call, _request(carol, call), 1) for call in (done, lost)]
    ledger.record(started[0], succeeded=True, result=[{"text": "Email sent."}])
    with audited():
        ledger.mark_unknown(started[1], Fault.WORKER_DIED)
    undoable = _decide(_ask(carol, LETTER | {"nr": 3}), dora, Choice.APPROVE)
    half = _decide(_ask(carol, LETTER, "two"), dora, Choice.APPROVE)
    _decide(_ask(carol, LETTER | {"nr": 4}, session="past"), dora, Choice.DENY, "Keep it.")
    waiting = {
        "card": _ask(carol, LETTER, session="past", said="I send the mail now.", prompt="Email dev about it"),
        "odd": _ask(carol, ODD),
        "strict": _ask(carol, LETTER, "strict"),
        "secret": _ask(carol, SECRET),
        "long": _ask(carol, LONG),
    }
    alike = [_ask(carol, SHORT | {"subject": f"Part {number}"}, session="alike") for number in (1, 2, 3)]
    pair = [_ask(carol, SHORT | {"subject": f"Plan {number}"}, session="pair") for number in (1, 2)]
    seen = [Seen(call.pk, call.version, call.digest) for call in pair]
    batch, _ = together.decide_together(dora, seen, Choice.DENY, "Nobody needs them.")
    calls = waiting | {
        "denied": denied, "trusted": trusted, "done": done, "unknown": lost, "undoable": undoable, "half": half,
    }  # fmt: skip
    return {
        **{name: f"/approvals/{call.pk}/" for name, call in calls.items()},
        "together": f"/approvals/together/?ids={','.join(str(call.pk) for call in alike)}",
        "left": f"/approvals/together/?ids={alike[0].pk},{pair[0].pk}",
        "result": f"/approvals/together/{batch}/",
    }


def _ask(asker: Any, arguments: dict[str, Any], agent: str = "plain", session: str = "", **more: Any) -> Any:
    """A call that waits; `more`: of the request."""
    from uuid import uuid4

    from approvals.actions import calls as ledger
    from approvals.actions.verdicts import Request, examine
    from approvals.audit import audited
    from approvals.models import ToolCall

    use = more.pop("tool_use_id", uuid4().hex)
    request = Request(
        session=session or f"elsewhere-{use}", tool_use_id=use, tool="send_email", arguments=arguments,
        requested_by=asker.pk, agent=agent, **more,
    )  # fmt: skip
    with audited():
        ledger.ask([examine(request)])
    return ToolCall.objects.get(session=request.session, tool_use_id=use)


def _request(asker: Any, call: Any) -> Any:
    from approvals.actions.verdicts import Request

    return Request(
        session=call.session, tool_use_id=call.tool_use_id, tool=call.tool, arguments=call.arguments,
        requested_by=asker.pk, agent=call.agent, run=call.run, turn=call.turn,
    )  # fmt: skip


def _decide(call: Any, judge: Any, choice: Any, comment: str = "", **more: Any) -> Any:
    from approvals.actions import decisions

    ruling = decisions.Ruling(choice, version=call.version, digest=call.digest, comment=comment, **more)
    return decisions.decide(call.pk, judge, ruling)


# --- Chats --------------------------------------------------------------------------------------------------


def _chats() -> dict[str, str]:
    from datetime import timedelta

    from django.contrib.auth.models import User
    from django.utils import timezone

    from agents.models import Question
    from agents.states import QuestionStatus, RunStatus
    from approvals.models import ToolCall

    carol, dora = (User.objects.get(username=name) for name in ("carol", "dora"))
    now = timezone.now()
    said, _ = _chat(carol, RunStatus.DONE, ("Which features?", WORDS))
    said.messages.update(superseded=True)
    _say(said, "user", "What ran before: nothing.", note=True)
    _say(said, "user", "What is in the plan?", "Attached: plan.md", files=["plan.md"])
    _say(said, "assistant", WORDS)
    asked, run = _chat(carol, RunStatus.WAITING, ("Ask me which report to read", _use("handoff_to_user")))
    Question.objects.create(
        session=asked, run=run, turn=2, tool_use_id="handoff_to_user", status=QuestionStatus.OPEN,
        message="Which report should I read?", choices=["reports/2025-q3.txt", "reports/2025-q4.txt"],
    )  # fmt: skip
    late, run = _chat(carol, RunStatus.WAITING, ("Email dev about the launch", _use("late")))
    call = _ask(carol, LETTER, session=late.key, tool_use_id="late", run=str(run.pk), turn=2)
    ToolCall.objects.filter(pk=call.pk).update(requested_at=now - timedelta(minutes=11))
    own, run = _chat(dora, RunStatus.WAITING, ("Email dev about the launch", _use("own")))
    _ask(dora, LETTER, "own", session=own.key, tool_use_id="own", run=str(run.pk), turn=2)
    failed, run = _chat(carol, RunStatus.FAILED, ("What is the weather?", ""))
    run.error = "The model could not be reached. Please try again."
    run.save(update_fields=["error"])
    busy, run = _chat(carol, RunStatus.RUNNING, ("What is the weather?", ""))
    run.lease_until = now + timedelta(days=1)
    run.save(update_fields=["lease_until"])
    away, _ = _chat(carol, RunStatus.DONE, ("Thank you", "You are welcome."))
    away.archived_at = now
    away.save(update_fields=["archived_at"])
    found = {
        "said": said,
        "asked": asked,
        "late": late,
        "own": own,
        "failed": failed,
        "busy": busy,
        "away": away,
    }
    return {f"chat {name}": f"/chat/{session.pk}/" for name, session in found.items()}


def _use(name: str) -> dict[str, Any]:
    tool = name if name == "handoff_to_user" else "send_email"
    return {"toolUse": {"toolUseId": name, "name": tool, "input": LETTER}}


def _chat(person: Any, status: Any, said: tuple[str, Any]) -> Any:
    """A session with what was said, and its run."""
    from agents.models import Agent, Run, Session

    session = Session.objects.create(user=person, agent=Agent.objects.get(slug="assistant"), title=said[0])
    cost = {"input_tokens": 1240, "cache_read_tokens": 900, "output_tokens": 85, "model_ms": 2300}
    run = Run.objects.create(session=session, status=status, **cost)
    _say(session, "user", said[0])
    if said[1]:
        _say(session, "assistant", said[1])
    session.messages.update(run=run)
    return session, run


def _say(session: Any, role: str, *content: Any, **more: Any) -> None:
    from agents.models import Message

    blocks = [{"text": each} if isinstance(each, str) else each for each in content]
    seq = session.messages.count() + 1
    Message.objects.create(session=session, seq=seq, role=role, content=blocks, **more)


if __name__ == "__main__":
    main()
