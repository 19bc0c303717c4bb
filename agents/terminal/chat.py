"""The conversation in a terminal: a message, the agent's answer, what it asks in between."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from uuid import UUID

from django.core.management import CommandError
from django.db.models import QuerySet

from agents.actions import conversations, runs
from agents.errors import AgentInactive, Busy
from agents.models import Agent, Message, Question, Run, Session
from agents.states import ACTIVE, QuestionStatus, RunStatus
from agents.terminal.driving import Follower
from agents.terminal.person import Person
from agents.terminal.screen import Leave, Screen
from agents.terminal.transcript import Transcript
from agents.terminal.waiting import Waiting
from approvals.errors import Refusal
from approvals.fields import storable
from approvals.models import ToolCall
from approvals.states import UNSETTLED
from approvals.visible import one_line

TAIL = 6  # messages that are shown of a conversation that goes on
WAITS = 3  # the exit code where something waits for a person

Keep = Callable[[str], None]


class Chat:
    """One person at one terminal. `keep`: offers a message that was not sent once more."""

    def __init__(
        self,
        screen: Screen,
        person: Person,
        session: Session | None,
        agent: Agent,
        keep: Keep = lambda text: None,
    ) -> None:
        self._screen, self._person, self._session, self._agent = screen, person, session, agent
        self._keep = keep
        self._tools: dict[str, str] = {}

    def talk(self) -> int:
        """Until the person leaves. Returns the exit code."""
        try:
            if self._session:
                self._resume(self._session)
            while True:
                self._say(self._screen.ask(f"{self._name}> "))
        except (Leave, KeyboardInterrupt):
            return self._leave()

    def send(self, lines: Iterator[str]) -> int:
        """Messages from a file or pipe: nobody is there to be asked."""
        failed = False
        try:
            if self._session:
                self._resume(self._session)
            for line in lines:
                if line.strip() and (ended := self._say(line)) != RunStatus.DONE:
                    failed = True
                    if ended == RunStatus.STOPPED:
                        break
        except Leave:
            return self._leave()
        return 1 if failed else 0

    @property
    def _name(self) -> str:
        return self._person.user.get_username()

    def _resume(self, session: Session) -> None:
        rows = Message.objects.filter(session=session, superseded=False).order_by("-seq")[:TAIL]
        transcript = Transcript(self._screen, self._tools)
        for row in reversed(rows):
            if row.written:
                self._screen.line(row.written, "cyan", first=f"{self._name}> ", rest="  ")
            else:
                transcript.said({"role": row.role, "content": row.content})
        if run := session.runs.filter(status__in=ACTIVE).first():
            self._follow(run)

    def _say(self, text: str) -> RunStatus | None:
        """Returns how the run ended; None where the message was not sent."""
        if not text.strip():
            return None
        try:
            run = self._post(text)
        except Busy as refused:
            self._screen.line(f"{refused.message} Your message was not sent.", "yellow")
            self._keep(text.strip())
            self._follow_active()
            return None
        except (Refusal, AgentInactive) as refused:
            self._screen.line(f"{refused.message} Your message was not sent.", "yellow")
            self._keep(text.strip())
            return None
        return self._follow(run)

    def _post(self, text: str) -> Run:
        user = self._person.now()
        if self._session:
            return conversations.post(self._session, text)
        self._session = conversations.open_with(user, self._agent.slug, text)
        return self._session.runs.get()

    def _follow_active(self) -> None:
        if self._session and (run := self._session.runs.filter(status__in=ACTIVE).first()):
            self._follow(run)

    def _follow(self, run: Run) -> RunStatus:
        """To the end of the run. Ctrl-C while the agent works stops it."""
        transcript = Transcript(self._screen, self._tools)
        follower = Follower(run, transcript)
        while run.status in (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING):
            try:
                follower.follow()
            except KeyboardInterrupt:
                self._stop(run, follower)
            if run.status == RunStatus.WAITING:
                Waiting(self._screen, self._person, run.session, run).settle()
        follower.follow()  # what a worker has done meanwhile
        self._tell_end(run)
        return RunStatus(run.status)

    def _stop(self, run: Run, follower: Follower) -> None:
        stopped = runs.stop(run, self._name)
        follower.stopped()
        run.refresh_from_db()
        if not stopped:
            self._screen.line("It had come to its end already.", "dim")

    def _tell_end(self, run: Run) -> None:
        if run.status == RunStatus.STOPPED:
            self._screen.line("Stopped.", "yellow")
        elif run.status in (RunStatus.FAILED, RunStatus.QUARANTINED):
            self._screen.line(one_line(run.error), "red")  # an agent elsewhere may have written it

    def _leave(self) -> int:
        if self._session is None:
            return 0
        waiting = self._waiting(self._session)
        for tool in waiting:
            self._screen.line(f"{tool} waits for a person. It was not approved.", "yellow")
        come_back = f"manage.py chat --as {self._name} --resume {self._session.pk}"
        self._screen.raw(f"To go on: {come_back}\n", "dim")  # in one piece, to be copied
        if not self._screen.interactive:
            self._screen.line("What else stood in the input was not sent.", "dim")
        return WAITS if waiting else 0

    def _waiting(self, session: Session) -> list[str]:
        calls = ToolCall.objects.filter(session=session.key, status__in=UNSETTLED).order_by("pk")
        asked = Question.objects.filter(session=session, status=QuestionStatus.OPEN).order_by("pk")
        return [*calls.values_list("tool", flat=True), *(f"“{one}”" for one in asked)]


# --- Which chat --------------------------------------------------------------------------------------------
def agent_named(slug: str) -> Agent:
    """The active agent with this slug; without one, the only agent there is. Raises CommandError."""
    active = Agent.objects.filter(active=True)
    found = active.filter(slug=storable(slug)).first() if slug else None
    if not slug and active.count() == 1:
        found = active.get()
    if found is None:
        known = ", ".join(active.values_list("slug", flat=True))
        if not known:
            raise CommandError("There is no agent yet. Make one in the admin, or run manage.py seed.")
        what = f"There is no agent “{slug}”." if slug else "Which agent?"
        raise CommandError(f"{what} Choose one: --agent SLUG. Agents: {known}.")
    return found


def session_of(person: Person, wanted: str) -> Session:
    """The session with this id; the person's newest where it is empty. Raises CommandError."""
    mine: QuerySet[Session] = Session.objects.select_related("agent").filter(user=person.user)
    if not wanted:
        if newest := mine.order_by("-active_at").first():
            return newest
        raise CommandError("You have no chat yet that could go on. Leave out --resume to begin one.")
    try:
        found = mine.filter(pk=UUID(wanted)).first()
    except ValueError:
        found = None
    if found is None:
        raise CommandError("There is no such chat, or it is not yours. --resume alone takes your newest.")
    return found


def input_lines() -> Iterator[str]:
    yield from sys.stdin
