"""One run: a chat that asks for a mail, a reviewer who decides by the seed, a fault, and what must hold in the end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.chaos.faults import Fault
from tests.chaos.site import Site

PLANS = ("approve", "approve", "approve", "trust", "edit", "deny")
PATIENCE = 180.0  # seconds for a run, its fault included
LOOK_EVERY = 0.5  # seconds; ten who look all the time would take one processor
LIMIT = 30.0  # seconds that a run may stand still once its fault is over
ONLY_IF_APPROVED = ("started", "acted", "recorded")  # places that a denied call never comes to
AFTER_THE_TOOL = ("acted", "recorded")  # places that a call of unknown outcome may never have come to
TOO_LATE = "stood still for too long before it began. Nothing was done."  # what the model is told then
# Between their commit and these places, the fault of a run beside it may have taken the process.
AFTER_A_COMMIT = ("posted", "paused", "decided", "started", "recorded")
# What an administrator does in the admin, after a look.
LET_IT_TRY_AGAIN = """
from agents.actions import runs
from agents.models import Run
for run in Run.objects.filter(session=SESSION, status="quarantined"):
    runs.release_from_quarantine(run, "admin")
"""


@dataclass
class Outcome:
    """What became of one run. `problems` is empty when everything holds."""

    point: str
    fault: str
    seed: int
    plan: str
    fired: bool = False
    status: str = ""
    mails: int = 0
    set_aside: int = 0
    too_late: bool = False
    unknown: list[str] = field(default_factory=list)
    stood: float = (
        0.0  # seconds that it waited for Nod, not for people, after its fault and with no other under way
    )
    problems: list[str] = field(default_factory=list)


class Client:
    """The API, for a client that does not give up when the server is away."""

    def __init__(self, site: Site, user: str, scope: str) -> None:
        headers = {"Authorization": f"Bearer {site.system.token(user, scope)}"}
        self._http = httpx.AsyncClient(base_url=f"{site.system.url}/api/v1/", headers=headers, timeout=20)

    async def __call__(self, method: str, path: str, body: Any = None) -> httpx.Response:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await self._http.request(method, path, json=body)
                if answer.status_code < 500:
                    return answer
            if time.monotonic() > deadline:
                raise TimeoutError(f"{method} {path}")
            await asyncio.sleep(0.2)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.aclose()


class Case:
    """Plays one run."""

    def __init__(self, site: Site, alice: Client, rita: Client, point: str, fault: str, seed: int) -> None:
        self._site, self._alice, self._rita = site, alice, rita
        self._random = random.Random(f"{point} {fault} {seed}")
        self._to = f"{point}-{fault}-{seed}-{self._random.randrange(10**9)}@example.com"
        self._subject = ""
        self._early = False
        self._disturbed = False  # by the fault of a run beside it
        self.outcome = Outcome(point, fault, seed, self._random.choice(PLANS))
        self._if_not = self._random.choice(("run_again", "give_up"))  # the former is refused for a while

    async def play(self) -> Outcome:
        made = await self._alice("POST", "sessions", {"agent": "assistant"})
        session = made.json()["id"]
        fault = Fault(self._site, self.outcome.point, self.outcome.fault, session)
        fault.arm()
        happening = asyncio.create_task(fault.happen())
        try:
            shown = await asyncio.wait_for(self._go_on(session, happening), PATIENCE)
            self.outcome.status = ", ".join(call["status"] for call in shown["calls"])
        except TimeoutError:
            self.outcome.problems.append("stuck: it did not come to an end")
            shown = (await self._alice("GET", f"sessions/{session}")).json()
        self.outcome.fired = fault.fired
        if fault.fired:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(happening, 60)
        happening.cancel()
        self._judge(shown)
        return self.outcome

    async def _go_on(self, session: str, happening: asyncio.Task[None]) -> dict[str, Any]:
        """Says what it wants, then decides and settles whatever comes, until the chat is idle."""
        text = f"Please send an email to {self._to} saying hello"
        path = f"sessions/{session}"
        # still: since when it could have gone on. From before the message is sent: the server that stored it may be
        # killed by the run beside it, and the client's second attempt does not come to the place
        looked = still = time.monotonic()
        await self._alice("POST", f"{path}/messages", {"text": text, "idempotency_key": "once"})
        while True:
            shown: dict[str, Any] = (await self._alice("GET", path)).json()
            before, looked = looked, time.monotonic()
            disturbed = self._site.disturbed(before, looked)
            self._disturbed |= disturbed
            if disturbed or not happening.done():
                still = looked
            self.outcome.stood = max(self.outcome.stood, looked - still)
            if "set aside" in shown["error"]:
                await self._let_it_try_again(session)
                still = time.monotonic()
                continue
            if shown["status"] in ("idle", "failed") and shown["messages"]:
                return shown
            if await self._as_people(shown["calls"]):
                still = time.monotonic()  # what people take is not Nod's
            await asyncio.sleep(LOOK_EVERY)

    async def _let_it_try_again(self, session: str) -> None:
        """Faults of runs beside it took its worker five times: that is for an administrator to see."""
        code = f"SESSION = {session!r}\n{LET_IT_TRY_AGAIN}"
        with contextlib.suppress(
            subprocess.CalledProcessError
        ):  # the database is away: it is looked at again
            await asyncio.to_thread(self._site.system.manage, "shell", "--no-imports", "--command", code)
            self.outcome.set_aside += 1

    async def _as_people(self, calls: list[dict[str, Any]]) -> bool:
        """Decides and settles. True where the run waits for people, or for the time until they may say "run again"."""
        for call in calls:
            if call["status"] == "pending":
                await self._decide(call)
            elif call["status"] == "unknown":
                await self._settle(call)
        return any(call["status"] in ("pending", "unknown") for call in calls)

    async def _decide(self, call: dict[str, Any]) -> None:
        self._early |= bool(self._mails())
        body = {"version": call["version"], "digest": call["digest"], "decision": "approve", "comment": ""}
        self._subject = call["arguments"]["subject"]
        match self.outcome.plan:
            case "trust":
                body |= {"decision": "trust"}
            case "deny":
                body |= {"decision": "deny", "comment": "No."}
            case "edit":
                self._subject = "Edited"
                body |= {"arguments": {**call["arguments"], "subject": "Edited"}}
        answer = await self._rita("POST", f"calls/{call['id']}/decisions", body)
        if answer.status_code not in (200, 409):
            self.outcome.problems.append(f"decision: {answer.status_code} {answer.text[:200]}")

    async def _settle(self, call: dict[str, Any]) -> None:
        """A person looks into the outbox, and says what is there."""
        outcome = "happened" if self._mails() else self._if_not
        body = {
            "outcome": outcome,
            "version": call["version"],
            "digest": call["digest"],
            "comment": "I looked.",
        }
        answer = await self._rita("POST", f"calls/{call['id']}/settlement", body)
        if answer.status_code == 200:
            self.outcome.unknown.append(outcome)
        elif answer.status_code != 409:
            self.outcome.problems.append(f"settlement: {answer.status_code} {answer.text[:200]}")

    def _judge(self, shown: dict[str, Any]) -> None:
        mails, problems = self._mails(), self.outcome.problems
        self.outcome.mails = len(mails)
        given_up = "give_up" in self.outcome.unknown
        self.outcome.too_late = any(TOO_LATE in str(call["result"]) for call in shown["calls"])
        wanted = 0 if self.outcome.plan == "deny" or given_up or self.outcome.too_late else 1
        if self._early:
            problems.append("without approval: a mail was there before the decision")
        if len(mails) > max(wanted, 0):
            problems.append(f"doubled or forbidden: {len(mails)} mails, {wanted} wanted")
        if len(mails) < wanted:
            problems.append(
                f"lost: {len(mails)} mails, {wanted} wanted; {shown['status']}; {self.outcome.status}"
            )
        if any(mail["Subject"] != self._subject for mail in mails):
            problems.append("other words were sent than those approved")
        if self.outcome.stood > LIMIT:
            problems.append(f"stuck: it stood still for {self.outcome.stood:.1f} s after the fault")
        denied = self.outcome.plan == "deny" and self.outcome.point in ONLY_IF_APPROVED
        # The fault of a run beside it took this one's worker in the middle of its tool: it went on without the tool.
        overtaken = bool(self.outcome.unknown) and self.outcome.point in AFTER_THE_TOOL
        overtaken |= self.outcome.point in AFTER_A_COMMIT and self._disturbed
        if not self.outcome.fired and not denied and not overtaken:
            problems.append("no fault: it never came to the place")
        if self.outcome.fired and denied:
            problems.append("without approval: a denied call came to the place")

    def judge_again(self) -> None:
        """When everything is over, since a worker that stood still may wake late: nothing more may have been sent."""
        more = len(self._mails()) - self.outcome.mails
        if more:
            self.outcome.problems.append(f"doubled: {more} mails more, after the end")

    def _mails(self) -> list[Any]:
        return [mail for mail in self._site.system.mails() if mail["To"] == self._to]
