"""The gate of a run: the port's Gate over the approval desk's ledger.

The runtime's side is async; all database work happens in one thread of the worker, a step at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from agents.actions import conversations, questions, runs
from agents.definitions import definition
from agents.models import Message, Question, Run
from agents.runtimes import port
from agents.runtimes.clocks import Deadline
from agents.states import QuestionStatus
from agents.tools import registry
from approvals import audit
from approvals.actions import calls
from approvals.actions.limits import limited
from approvals.actions.verdicts import Judged, Request, examine
from approvals.digest import canonical
from approvals.errors import DefinitionChanged, InvalidArguments, LostClaim, NotFound
from approvals.failpoints import reach
from approvals.fields import storable
from approvals.models import ToolCall
from approvals.prepared import Select, Slot
from approvals.states import UNSETTLED, Effect, Fault, Status

REPEATED = "Invalid call: its id was used before in this session. Nothing was done."
CHANGED = "Cancelled: the call is not what was asked for. Nothing was done."


class LedgerGate:
    """One run's gate. Messages wait here until a step that has to be durable stores them with it."""

    def __init__(self, run: Run, tool_names: tuple[str, ...], last: Message | None) -> None:
        """`last`: the session's last message; when it asks for tools, these are what the run goes on with."""
        self.run = run
        self.session = run.session
        self.lost: Exception | None = None  # why this worker must stop, if so
        self._tools = tool_names
        self._messages: list[port.Message] = []
        self.handed_over = False  # the agent stops here, and its user goes on
        self._asked: dict[str, Judged] = {}
        self._questions: dict[str, Question] = {}  # to its user
        self._blocked: dict[str, Judged] = {}
        self._said = ""
        self._order: list[str] = []  # the tool-use ids of the message that asks, as the model ordered them
        self._known_calls: dict[str, ToolCall] = {}  # what the ledger has under these ids
        self._looked_up = False
        self._still_pending = False
        self.turn = last.seq if last else 0
        if last and last.role == "assistant":
            self._note(last.content)

    # --- the port ----------------------------------------------------------------------------------
    async def verdict(self, use: port.ToolUse) -> port.Proceed | port.Refuse | port.Ask:
        answer: port.Proceed | port.Refuse | port.Ask = await _in_order(self._guarded(self._verdict))(use)
        return answer

    async def start(self, use: port.ToolUse) -> port.Started | port.Settled | port.Ask:
        answer: port.Started | port.Settled | port.Ask = await _in_order(self._guarded(self._begin))(use)
        return answer

    async def record(self, started: port.Started, *, succeeded: bool, content: port.Blocks) -> None:
        """Not guarded: what happened is recorded, whatever became of the run; the call knows its own claim."""
        await _in_order(self._recorded)(started.handle, succeeded, content)

    async def lose(self, started: port.Started, *, timed_out: bool) -> port.Settled | port.Ask:
        answer: port.Settled | port.Ask = await _in_order(self._lose)(started.handle, timed_out)
        return answer

    # --- what the driver does ------------------------------------------------------------------------
    def hear(self, message: port.Message) -> None:
        """A whole message; it is stored with the next durable step."""
        message = {**message, "content": [_readable(block) for block in message["content"]]}
        self._messages.append(message)
        if message["role"] == "assistant":
            self._note(message["content"])
            self.run.steps += 1

    # Each of these updates the run first: that checks the epoch and holds the run until the commit.
    @audit.audited(durable=True)
    def pause(self, state: dict[str, Any]) -> None:
        """One transaction: messages, state, pending calls, and the run asleep."""
        runs.wait(self.run)
        self._store(state)
        calls.ask([self._asked[use_id] for use_id in sorted(self._asked, key=self._order.index)])
        questions.ask([self._questions[use_id] for use_id in sorted(self._questions, key=self._order.index)])
        self._questions = {}
        if self._still_pending:
            runs.wake_if_decided(str(self.run.pk))  # it may have been decided since it was read

    @audit.audited(durable=True)
    def finish(self, state: dict[str, Any]) -> None:
        runs.finish(self.run)
        self._store(state)

    def fail(self, code: str, message: str) -> None:
        with audit.audited(durable=True):
            runs.fail(self.run, code, message)
            self._store(None)
        runs.tie_up(self.run.pk)

    @property
    def asks(self) -> bool:
        return self._still_pending or bool(self._asked) or bool(self._questions)

    @property
    def holds_approvals(self) -> bool:
        """Whether something is approved that has not begun, so that giving up would cost people another decision."""
        return ToolCall.objects.filter(run=str(self.run.pk), status=Status.APPROVED).exists()

    def _note(self, content: port.Blocks) -> None:
        self._said = "\n".join(block["text"] for block in content if "text" in block)
        self._order = [block["toolUse"]["toolUseId"] for block in content if "toolUse" in block]
        self._known_calls.clear()
        self._looked_up = False

    # --- steps ---------------------------------------------------------------------------------------
    def _verdict(self, use: port.ToolUse) -> port.Proceed | port.Refuse | port.Ask:
        if not _usable(use.id):
            return port.Refuse("Invalid call: its id cannot be kept. Nothing was done.")
        call = self._find(use)
        if call is not None:
            return self._known(call)
        if use.name == questions.TOOL and (question := questions.of(self.session, use.id)):
            return self._known_question(question)
        if use.id in self._blocked and self._blocked[use.id].request.turn != self._this_turn():
            return port.Refuse(REPEATED)
        try:
            use = self._whole(use)
            return self._answer(use, examine(self._request(use)))
        except DefinitionChanged as error:
            return port.Refuse(f"Cancelled: {error.message} Nothing was done.")
        except (NotFound, InvalidArguments) as error:
            return port.Refuse(f"Invalid arguments: {error.message}")

    def _answer(self, use: port.ToolUse, judged: Judged) -> port.Proceed | port.Refuse | port.Ask:
        if use.name == questions.TOOL and judged.verdict.effect != Effect.BLOCK:
            return self._question(use)  # no policy lets anybody else answer for the user
        judged = limited(judged, about_to_ask=len(self._asked.keys() - {use.id}))
        if judged.verdict.asks:
            self._asked[use.id] = judged
            return port.Ask(_reason(judged))
        if judged.verdict.effect == Effect.BLOCK:
            self._blocked[use.id] = judged
            return port.Refuse(conversations.blocked(judged.verdict.policy, judged.verdict.why))
        return port.Proceed()

    def _question(self, use: port.ToolUse) -> port.Proceed | port.Refuse | port.Ask:
        """To the user; it is stored when the run pauses for it, or at once where no answer is awaited."""
        question = questions.draft(self.run, self._this_turn(), use.id, use.arguments)
        if question.status == QuestionStatus.HANDED_OVER:
            return port.Proceed()
        asked = questions.asked_by(self.session, question.turn) + len(self._questions.keys() - {use.id})
        if asked >= questions.OPEN_A_TURN:
            return port.Refuse(questions.TOO_MANY)
        self._questions[use.id] = question
        return port.Ask({"question": question.message})

    def _known_question(self, question: Question) -> port.Proceed | port.Refuse | port.Ask:
        if question.turn != self._this_turn():
            return port.Refuse(REPEATED)
        return self._wait_for_answer() if question.status == QuestionStatus.OPEN else port.Proceed()

    def _wait_for_answer(self) -> port.Ask:
        self._still_pending = True
        return port.Ask({})

    def _begin_question(self, use: port.ToolUse) -> port.Settled | port.Ask | None:
        """What the user answered; None where it is no question."""
        if use.name != questions.TOOL:
            return None
        question = questions.of(self.session, use.id)
        if question is None:
            answer = self._verdict(use)  # the verdict of before may be of another moment
            if not isinstance(answer, port.Proceed):
                return (
                    port.Settled(False, [{"text": answer.text}])
                    if isinstance(answer, port.Refuse)
                    else answer
                )
            question = questions.draft(self.run, self._this_turn(), use.id, self._whole(use).arguments)
            questions.ask([question])
        if question.status == QuestionStatus.OPEN:
            return self._wait_for_answer()
        self.handed_over = self.handed_over or question.status == QuestionStatus.HANDED_OVER
        status, content = questions.result(question)
        return port.Settled(status == "success", content)

    def _known(self, call: ToolCall) -> port.Proceed | port.Refuse | port.Ask:
        """What is in the ledger is answered from there, whatever this code makes of the call by now."""
        if call.turn != self._this_turn():
            return port.Refuse(REPEATED)
        if call.status in UNSETTLED:
            return self._wait_for(call)
        return port.Proceed()  # `start` says what became of it

    def _wait_for(self, call: ToolCall) -> port.Ask:
        self._still_pending = True
        return port.Ask({"call": str(call.pk)})

    def _whole(self, use: port.ToolUse) -> port.ToolUse:
        """The use with the tool's defaults filled in, since that is what will run.

        Raises InvalidArguments: the model is told, and people are not asked about what cannot run.
        """
        tool = registry.catalogue().get(use.name)
        if tool is None or use.name not in self._tools:
            raise NotFound(f"there is no tool named {use.name}. Use one of: {', '.join(self._tools)}.")
        try:
            return port.ToolUse(use.id, use.name, tool.validate(use.arguments))
        except registry.InvalidArguments as error:
            raise InvalidArguments(str(error)) from None

    def _begin(self, use: port.ToolUse) -> port.Started | port.Settled | port.Ask:
        reach("starting", self.session.key)
        start_by = Deadline.after(settings.START_WITHIN.total_seconds())  # counted from before the claim
        answer = self._start(use)
        if isinstance(answer, port.Started):
            answer = replace(answer, start_by=start_by)
            reach("started", self.session.key)
        return answer

    @audit.audited(durable=True)
    def _start(self, use: port.ToolUse) -> port.Started | port.Settled | port.Ask:
        runs.check_epoch(self.run)
        self._store(None)
        call = self._find(use)
        if call is None and (settled := self._begin_question(use)):
            return settled
        if call is None:
            try:
                use = self._whole(use)
                started = calls.start_new(self._request(use), self.run.epoch)
            except (NotFound, InvalidArguments, DefinitionChanged) as error:
                return port.Settled(False, [{"text": f"Cancelled: {error.message} Nothing was done."}])
            if isinstance(started, Judged):
                return self._late(use, started)
            call = self._known_calls[use.id] = started
        else:
            call = self._known_calls[use.id] = self._start_known(call, use)
        if call.status in UNSETTLED:
            return self._wait_for(call)
        if call.status != Status.STARTED or call.epoch != self.run.epoch:
            return _settled(call)
        return port.Started(
            arguments=call.arguments,
            timeout=registry.catalogue()[call.tool].timeout,
            handle=call,
            edited=call.proposed is not None,
            session=call.session,
            key=calls.idempotency_key(call),
        )

    def _start_known(self, call: ToolCall, use: port.ToolUse) -> ToolCall:
        """A call that the ledger has already: claim it if it was approved, or if it may be started again."""
        if call.status == Status.APPROVED:
            if fault := self._misfit(call, use):
                return calls.lapse(call, fault)
            return calls.start_approved(call, self._request(use, call.arguments), self.run.epoch)
        if call.status == Status.STARTED and call.epoch < self.run.epoch:
            if self._misfit(call, use):
                return calls.leave_unknown(call)
            return calls.start_again(call, self._request(use, call.arguments), self.run.epoch)
        return call

    def _misfit(self, call: ToolCall, use: port.ToolUse) -> Fault | None:
        """Why what the agent asks for, with the tool as it has it now, is not the call of the ledger."""
        tool = registry.catalogue().get(call.tool)
        if tool is None or call.tool not in self._tools or definition(tool).hash != call.definition:
            return Fault.DEFINITION
        try:
            return None if _same(call, self._whole(use)) else Fault.REQUEST
        except (NotFound, InvalidArguments):
            return Fault.REQUEST

    def _late(self, use: port.ToolUse, judged: Judged) -> port.Settled | port.Ask:
        """The verdict changed between the gate and the claim: policies and trust count as they are now."""
        answer = self._answer(use, judged)
        if isinstance(answer, port.Ask):
            return answer
        return port.Settled(False, [{"text": answer.text if isinstance(answer, port.Refuse) else CHANGED}])

    def _recorded(self, call: ToolCall, succeeded: bool, content: port.Blocks) -> None:
        try:
            reach("acted", self.session.key)
            try:
                calls.record(call, succeeded=succeeded, result=content)
            except (OperationalError, InterfaceError):
                connection.close()  # the database may have been restarted under this connection
                calls.record(call, succeeded=succeeded, result=content)
            reach("recorded", self.session.key)
            mine = runs.still_mine(self.run)
        except Exception as error:
            self.lost = error
            raise
        if not mine:  # stopped meanwhile: the model is not asked once more
            self.lost = LostClaim(runs.STOPPED)

    def _lose(self, call: ToolCall, timed_out: bool) -> port.Settled | port.Ask:
        try:
            try:
                return self._lost_call(call, timed_out)
            except (OperationalError, InterfaceError):
                connection.close()
                return self._lost_call(call, timed_out)
        except Exception as error:
            self.lost = error
            raise

    def _lost_call(self, call: ToolCall, timed_out: bool) -> port.Settled | port.Ask:
        fault = Fault.TIMED_OUT if timed_out else Fault.STOPPED
        if registry.catalogue()[call.tool].idempotent:
            content = [{"text": f"The tool failed: {fault.label}. It may be tried again."}]
            calls.record(call, succeeded=False, result=content)
            return port.Settled(False, content)
        calls.mark_unknown(call, fault)
        call.refresh_from_db()
        if call.status in UNSETTLED:
            return self._wait_for(call)
        return _settled(call)

    def _store(self, state: dict[str, Any] | None) -> None:
        """In the caller's transaction, which holds the run: what waits to be stored."""
        if self._messages:
            self.turn = conversations.append(self.session, self.run, self._messages, after=self.turn)
            self._messages = []
        for judged in self._blocked.values():
            calls.block(judged)
        self._blocked = {}
        if state is not None:
            conversations.save_state(self.session, state)

    def _find(self, use: port.ToolUse) -> ToolCall | None:
        """The ledger's row; those of a whole message are looked up at once."""
        if not self._looked_up:
            ids = {use.id, *filter(_usable, self._order)}
            found = (_CALL.first(session=self.session.key, use=each) for each in ids)
            self._known_calls = {call.tool_use_id: call for call in found if call}
            self._looked_up = True
        return self._known_calls.get(use.id)

    def _request(self, use: port.ToolUse, arguments: dict[str, Any] | None = None) -> Request:
        return Request(
            session=self.session.key,
            run=str(self.run.pk),
            turn=self._this_turn(),
            tool_use_id=use.id,
            tool=use.name,
            arguments=use.arguments if arguments is None else arguments,
            agent=self.session.agent.slug,
            requested_by=self.session.user_id,
            definition=definition(registry.catalogue()[use.name]).hash,
            said=self._said,
            prompt=self._prompt,
        )

    @cached_property
    def _prompt(self) -> str:
        """What the person wrote that this run answers. Results and a note may stand before it."""
        first = Message.objects.filter(run=self.run).order_by("seq")[:3]
        return next((message.written for message in first if message.written), "")

    def _this_turn(self) -> int:
        """The number that the message which asks has, or will have once it is stored."""
        return self.turn + len(self._messages)

    def _guarded(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Notes what ends this worker's right to the run, since Strands turns exceptions into results."""

        def guarded(*args: Any, **kwargs: Any) -> Any:
            if self.lost:
                raise LostClaim("The run was stopped or taken over.")
            try:
                return step(*args, **kwargs)
            except Exception as error:
                self.lost = error
                raise

        return guarded


_CALL = Select(lambda: ToolCall.objects.filter(session=Slot("session"), tool_use_id=Slot("use")).order_by())


def _settled(call: ToolCall) -> port.Settled:
    status, content = conversations.outcome(call)
    return port.Settled(status == "success", content)


def _readable(block: dict[str, Any]) -> dict[str, Any]:
    """A block whose text every page, database and model takes; tool uses stay as they are."""
    return {**block, "text": storable(block["text"])} if "text" in block else block


def _usable(tool_use_id: str) -> bool:
    """Ids come from a model: any text is possible, and not every text can be stored."""
    return 0 < len(tool_use_id) <= 200 and tool_use_id.isprintable()


def _same(call: ToolCall, use: port.ToolUse) -> bool:
    """The model asks for what the ledger says it asked for."""
    return call.tool == use.name and canonical(use.arguments) == canonical(_proposed(call))


def _proposed(call: ToolCall) -> Any:
    return call.arguments if call.proposed is None else call.proposed


def _reason(judged: Judged) -> dict[str, Any]:
    """Why the run is interrupted, as JSON."""
    return {
        "tool": judged.request.tool,
        "digest": judged.digest,
        "policy": judged.verdict.policy,
        "why": judged.verdict.why,
        "risk": judged.verdict.risk,
    }


def _in_order(step: Callable[..., Any]) -> Callable[..., Any]:
    """One database thread a run: siblings of a turn take turns."""
    return sync_to_async(step, thread_sensitive=True)
