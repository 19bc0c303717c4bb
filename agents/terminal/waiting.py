"""A run that waits for people: what the person at the terminal may answer is asked, all else is waited for."""

from __future__ import annotations

import time
from typing import Any

from agents.actions import answers
from agents.models import Question, Run, Session
from agents.states import QuestionStatus, RunStatus
from agents.terminal.deciding import Asking, mine
from agents.terminal.person import Person
from agents.terminal.screen import Leave, Screen, give_back
from approvals.actions import calls
from approvals.errors import Refusal
from approvals.letters import link
from approvals.models import ToolCall
from approvals.states import UNSETTLED, Status
from approvals.visible import one_line
from approvals.wording import deciders, state, stopped_by

LOOK_EVERY = 0.5  # seconds between two looks for what others have decided
EXPIRE_EVERY = 10  # looks until calls are looked for whose time is up: no worker may be there to do it
NO_REVIEW = "The token that you came with lacks the scope review."


class Waiting:
    """One run, as long as it waits."""

    def __init__(self, screen: Screen, person: Person, session: Session, run: Run) -> None:
        self._screen, self._person, self._session, self._run = screen, person, session, run
        self._decided: set[Any] = set()  # by the person at the terminal, who knows
        self._told: set[Any] = set()  # of which calls it was said that they wait

    def settle(self) -> None:
        """Until the run waits no more. Raises Leave: at once, where nobody can be asked."""
        if not self._screen.interactive:
            raise Leave
        while self._waits():
            if question := self._questions().first():
                self._answer(question)
            elif call := self._next():
                if Asking(self._screen, call, self._person).ask():
                    self._decided.add(call.pk)
            else:
                self._others()

    def _waits(self) -> bool:
        self._run.refresh_from_db()
        return self._run.status == RunStatus.WAITING

    # --- Questions of the agent -----------------------------------------------------------------------
    def _questions(self) -> Any:
        return Question.objects.filter(run=self._run, status=QuestionStatus.OPEN).order_by("asked_at", "id")

    def _answer(self, question: Question) -> None:
        self._screen.line()
        self._screen.line(question.message, "bold", first="  ")
        for place, choice in enumerate(question.choices, 1):
            self._screen.line(one_line(choice), first=f"  {place}) ", rest="     ")
        prompt = "Your answer (a number, or anything else): " if question.choices else "Your answer: "
        said = self._screen.ask(prompt, fresh=True).strip()
        try:
            answers.answer(
                self._session, question.pk, self._person.now(), _chosen(said, list(question.choices))
            )
        except Refusal as refused:
            self._screen.line(refused.message, "yellow")

    # --- Calls -----------------------------------------------------------------------------------------
    def _calls(self) -> Any:
        rows = ToolCall.objects.filter(run=str(self._run.pk)).select_related("requested_by")
        return rows.prefetch_related("decisions__by").order_by("pk")

    def _next(self) -> ToolCall | None:
        """The first pending call that is this person's to decide."""
        waiting = self._calls().filter(status=Status.PENDING)
        return next((call for call in waiting if not self._why_not(call)), None)

    def _why_not(self, call: ToolCall) -> str:
        return mine(self._person.now(), call) if self._person.decides else NO_REVIEW

    def _others(self) -> None:
        """Says what others have to decide, and returns when something has changed."""
        before = self._stand()
        self._tell_waiting([call for call in self._calls() if call.status in UNSETTLED])
        looks = 0
        while self._stand() == before:
            looks += 1
            if looks % EXPIRE_EVERY == 0:
                calls.expire_due()
            give_back()
            try:
                time.sleep(LOOK_EVERY)
            except KeyboardInterrupt:
                self._screen.line()
                raise Leave from None
        self._tell_changed(before)

    def _stand(self) -> Any:
        """All that this waits for a change of."""
        self._run.refresh_from_db()
        rows = self._calls().values_list("pk", "status", "version", "approvals")
        return self._run.status, list(rows), list(self._questions().values_list("pk"))

    def _tell_waiting(self, waiting: list[ToolCall]) -> None:
        people = deciders(waiting)
        for call in waiting:
            if (call.pk, call.status) in self._told:
                continue
            self._told.add((call.pk, call.status))
            if call.status == Status.UNKNOWN:
                self._screen.line(f"{call.tool}: {state(call).text}. {state(call).note}", "yellow")
                self._screen.line(f"It waits for {people[call.pk]}: {link(call)}", "dim")
            else:
                self._screen.line(f"{call.tool} waits for {people[call.pk]}. {self._why_not(call)}", "yellow")
                self._screen.line("Ctrl-C leaves; the call waits on.", "dim")

    def _tell_changed(self, before: Any) -> None:
        was = {pk: (status, approvals) for pk, status, _, approvals in before[1]}
        changed = [call for call in self._calls() if was.get(call.pk) != (call.status, call.approvals)]
        stopped = stopped_by(changed)
        for call in changed:
            if call.pk not in self._decided or call.quorum > 1:
                now = state(call, "more people", stopped.get(call.pk, ""))
                note = f" {one_line(now.note)}" if now.note else ""
                self._screen.line(f"{call.tool}: {now.text}.{note}", "dim")


def _chosen(said: str, choices: list[str]) -> str:
    """The choice with this number, or what was said."""
    place = int(said) if said.isascii() and said.isdecimal() and len(said) < 3 else 0
    return choices[place - 1] if 1 <= place <= len(choices) else said
