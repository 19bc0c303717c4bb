"""Asks the person about one call, inline: y, n or t. What they say goes the same way as a click on the desk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from django.conf import settings
from django.contrib.auth.models import User

from agents.terminal import card as cards
from agents.terminal.person import Person
from agents.terminal.screen import Screen
from approvals import answers, hooks, permissions
from approvals.actions import decisions, secrets
from approvals.actions.decisions import Ruling
from approvals.cards import Card
from approvals.errors import (
    CommentRequired,
    ConfirmRequired,
    InvalidInput,
    NotTrustable,
    Refusal,
    SelfApproval,
    TooLong,
)
from approvals.letters import link
from approvals.models import ToolCall
from approvals.presentation import key_of
from approvals.secrecy import secrets_in
from approvals.states import Choice, Status
from approvals.wording import number

# These say what to do otherwise: the question stands.
MENDABLE = (CommentRequired, ConfirmRequired, InvalidInput, NotTrustable, SelfApproval, TooLong)


class Asking:
    """One call in front of one person, as it was loaded: the decision is on exactly that."""

    def __init__(self, screen: Screen, call: ToolCall, person: Person) -> None:
        self._screen, self._call, self._person = screen, call, person
        self._user = person.user
        self._card = Card(call, self._user)
        self._custom = bool(settings.NOD_EVALUATE or settings.NOD_EVALUATE_TRUST)

    def ask(self) -> bool:
        """Until it is decided, or turns out not to be this person's to decide. Raises Leave; nothing is decided then.

        Returns whether this person has decided.
        """
        self._show()
        while True:
            said = self._screen.ask(self._question(), fresh=True).strip()
            if (choice := self._choice(said)) is None:
                continue
            try:
                made = self._decide(choice)
            except MENDABLE as refused:
                self._screen.line(f"{refused.message} Nothing was decided.", "yellow")
            except Refusal as refused:
                self._screen.line(refused.message, "yellow")
                return False
            else:
                self._screen.line(_told(made, choice), "red" if choice == Choice.DENY else "green")
                return True

    def _show(self) -> None:
        cards.show(self._screen, self._card)
        if self._trustable and not self._card.too_long:
            self._screen.line(f"t: {self._trust}", "dim", rest="   ")

    @property
    def _trustable(self) -> bool:
        own = self._user.pk == self._call.requested_by_id
        return self._call.trustable and (not own or bool(self._call.term("requester_may_trust")))

    @property
    def _trust(self) -> str:
        """What trust would cover, and for how long."""
        uses = self._call.term("trust_max_uses")
        most = f", {uses} {'call' if uses == 1 else 'calls'} at most" if uses else ""
        return (
            f"approve, and do not ask again for {self._call.tool} in this chat, whatever its arguments, "
            f"for {self._card.trust_options[-1][1]}{most}"
        )

    def _question(self) -> str:
        if self._card.too_long:
            return "(n, ? for help): "
        if self._custom:
            return "(n, or what Nod was set up to take for a yes; ? for help): "
        return f"(y/n{'/t' if self._trustable else ''}, ? for help): "

    def _choice(self, said: str) -> Choice | None:
        """What a line decides. None where it asks for something else, or says nothing clear."""
        if said == "?":
            self._help()
        elif said == "s" and self._card.hidden:
            self._reveal()
        elif answers.declines(said):
            return Choice.DENY
        elif said:
            return self._approves(said)
        return None

    def _approves(self, said: str) -> Choice | None:
        try:
            choice = hooks.choice_of(said, trustable=self._trustable)
        except Exception as error:  # whatever the operator's functions raise
            self._screen.line(f"{type(error).__name__}: {error}. Nothing was decided.", "yellow")
            return None
        if choice != Choice.DENY:
            return choice
        if answers.trusts(said) and not self._custom:
            self._screen.line("This call cannot be trusted, only approved or denied.", "yellow")
        else:
            self._screen.line("Nothing was decided: that is none of the answers.", "yellow")
        return None

    def _decide(self, choice: Choice) -> ToolCall:
        ruling = self._ruling(choice)  # asks, and whoever is asked takes their time
        return decisions.decide(self._call.pk, self._person.now(), ruling)

    def _ruling(self, choice: Choice) -> Ruling:
        """With the word and the reason that this choice takes."""
        ruling = Ruling(choice, self._call.version, self._call.digest)
        if choice == Choice.DENY:
            return replace(ruling, comment=self._screen.ask("Why not? The agent gets to read it: ").strip())
        word = self._card.word
        typed = self._screen.ask(f"Type “{word}” to approve: ", fresh=True) if word else ""
        reason = self._screen.ask("Why? The policy wants a reason: ").strip() if self._card.justify else ""
        return replace(ruling, confirm=typed, comment=reason)

    def _reveal(self) -> None:
        hidden = secrets_in(self._call.arguments)
        shown = secrets.reveal(self._call, self._person.now(), [key_of(name) for name in hidden])
        self._card = Card(self._call, self._user, shown=shown)
        self._show()

    def _help(self) -> None:
        lines = ["y  approve: it runs once, with exactly these arguments"] if not self._card.too_long else []
        lines += ["n  deny: it does not run; you are asked for a reason"]
        lines += [f"t  {self._trust}"] if self._trustable and not self._card.too_long else []
        lines += ["s  show what is masked"] if self._card.hidden else []
        lines += ["Ctrl-C  leave; the call waits on"]
        if permissions.may_see(self._user, self._call):
            lines += [f"To change the arguments: {link(self._call)}"]
        for line in lines:
            self._screen.line(line, first="  ", rest="     ")


def _told(call: ToolCall, choice: Choice) -> str:
    if call.status == Status.PENDING:
        left = call.quorum - call.approvals
        return f"Your approval counts. {number(left).capitalize()} more {'has' if left == 1 else 'have'} to approve."
    words = {Choice.APPROVE: "Approved.", Choice.DENY: "Denied.", Choice.TRUST: "Approved and trusted."}
    return words[choice]


def mine(user: User, call: ToolCall) -> str:
    """Why a pending call is not this person's to decide now; empty where it is."""
    if refused := permissions.refusal(user, call):
        return refused.message
    approved: Callable[[], bool] = call.decisions.filter(by=user, undone_at=None, round=call.round).exists
    return "You have approved this." if call.quorum > 1 and approved() else ""
