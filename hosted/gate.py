"""The hosted agent's gate: it knows what the request brought along, and halts at everything else."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from agents.definitions import definition
from agents.runtimes import port, wire
from agents.runtimes.clocks import Deadline
from agents.tools.registry import InvalidArguments, Tool
from approvals.digest import call_digest
from approvals.errors import InvalidArguments as NoExactForm
from hosted.payloads import Approved, Decision, Refused

GRANTS = 10_000  # of the latest, so that a process never grows


class Grants:
    """Those that this process has taken. A request that comes twice, by whatever retries, acts once."""

    def __init__(self) -> None:
        self._taken: OrderedDict[str, None] = OrderedDict()

    def take(self, decided: dict[str, Approved | Decision]) -> None:
        """All or none.

        Raises:
            Refused: `already_begun`.
        """
        new = [each.decision.grant for each in decided.values() if isinstance(each, Approved)]
        new = [grant for grant in new if grant]
        if any(grant in self._taken for grant in new):
            raise Refused("already_begun", "A call of this request was begun before. Nothing was done again.")
        self._taken.update(dict.fromkeys(new))
        while len(self._taken) > GRANTS:
            self._taken.popitem(last=False)


class WireGate:
    """The port's gate over the decisions of one request. `emit` gets what became of each call at once."""

    def __init__(
        self,
        tools: dict[str, Tool],
        session: str,
        decided: dict[str, Approved | Decision],
        emit: Callable[[wire.Event], None],
    ) -> None:
        self.lost: Exception | None = None
        self.asked: dict[str, wire.Asked] = {}
        # A decision is about a call of the state that came with it: a model may give a later one the same id.
        self._decided = dict(decided)
        self._tools, self._session, self._emit = tools, session, emit
        self._arrived = Deadline.after(0)

    async def verdict(self, use: port.ToolUse) -> port.Proceed | port.Refuse | port.Ask:
        if use.id in self._decided:
            return port.Proceed()
        tool = self._tools.get(use.name)
        if tool is None:
            names = ", ".join(self._tools)
            return port.Refuse(f"Invalid arguments: there is no tool named {use.name}. Use one of: {names}.")
        try:
            arguments = tool.validate(use.arguments)
            self.asked[use.id] = self._ask(use.id, tool, arguments)
        except (InvalidArguments, NoExactForm) as error:
            return port.Refuse(f"Invalid arguments: {error}")
        return port.Ask({"call": use.id})

    def _ask(self, use_id: str, tool: Tool, arguments: dict[str, Any]) -> wire.Asked:
        known = definition(tool).hash
        digest = call_digest(session=self._session, tool=tool.name, definition=known, arguments=arguments)
        return wire.Asked(use_id, tool.name, arguments, known, digest)

    async def start(self, use: port.ToolUse) -> port.Started | port.Settled | port.Ask:
        match self._decided.pop(use.id, None):
            case Approved() as approved:
                return self._begin(use, approved)
            case Decision(decision="deny", comment=comment):
                return port.Settled(False, [{"text": f"Denied by a reviewer: {comment}".rstrip(": ")}])
            case Decision(status=status, content=content):
                return port.Settled(status == "succeeded", content)
        return port.Ask({"call": use.id})

    def _begin(self, use: port.ToolUse, approved: Approved) -> port.Started:
        decision = approved.decision
        within, before = decision.start_within, decision.start_before
        return port.Started(
            arguments=approved.arguments,
            timeout=decision.timeout or self._tools[use.name].timeout,
            handle=use.id,
            edited=approved.edited,
            start_by=self._arrived.later(within, before),
            session=self._session,
            key=decision.key,
        )

    async def record(self, started: port.Started, *, succeeded: bool, content: port.Blocks) -> None:
        self._emit(wire.Result(started.handle, "succeeded" if succeeded else "failed", content))

    async def lose(self, started: port.Started, *, timed_out: bool) -> port.Ask:
        self._emit(wire.Result(started.handle, "lost", timed_out=timed_out))
        return port.Ask({"call": started.handle})

    def untouched(self) -> list[wire.Result]:
        """What was approved and has not begun, now that the loop has ended."""
        approved = [name for name, each in self._decided.items() if isinstance(each, Approved)]
        return [wire.Result(each, "untouched") for each in sorted(approved)]
