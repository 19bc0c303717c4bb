"""The chat pages. Everything that changes something is a POST and an action; everybody sees only their own sessions."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from agents import deciding, presentation, streaming
from agents.actions import answers, attachments, conversations, rewriting, runs, sessions
from agents.actions.attachments import Attachment
from agents.errors import Busy
from agents.mailbox import mails
from agents.models import Agent, Message, Question, Run, Session
from agents.sidebar import Sidebar, sidebar
from agents.states import ACTIVE, QuestionStatus, RunStatus
from approvals import permissions
from approvals.actions import decisions, nudging, trust
from approvals.errors import InvalidInput, NotFound, Refusal
from approvals.models import ToolCall, TrustGrant
from approvals.requests import Request, as_uuid, wants
from approvals.states import UNSETTLED

MESSAGES = 200


def _chatter(request: Request) -> None:
    if not permissions.may_chat(request.user):
        raise Http404("There is no chat for you.")


def _session(request: Request, session_id: UUID) -> Session:
    _chatter(request)
    found = Session.objects.select_related("agent", "user").filter(pk=session_id, user=request.user).first()
    if found is None:
        raise Http404("There is no such chat, or it is not yours.")
    return found


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: Request) -> HttpResponse:
    """A new chat; the first message begins the session."""
    _chatter(request)
    if request.method == "POST":
        return _begin(request)
    if wants(request, "sessions"):
        return render(request, "_sessions.html", {"sidebar": _sidebar(request)})
    return _new(request)


@never_cache
@require_safe
def session(request: Request, session_id: UUID) -> HttpResponse:
    """One conversation."""
    found = _session(request, session_id)
    if wants(request, "sessions"):
        return render(request, "_sessions.html", {"session": found, "sidebar": _sidebar(request)})
    return _page(request, found)


@never_cache
@require_safe
def draft(request: Request, session_id: UUID) -> HttpResponse:
    """The answer that is being written: what pages fetch while they show it grow."""
    found = _session(request, session_id)
    run = _last_run(found)
    said = list(found.messages.filter(run=run, role="assistant"))
    context = {"draft": streaming.draft(run, presentation.draft(said, run)), "run": run}
    return render(request, "chat.html#draft", context)


@never_cache
@require_POST
def post(request: Request, session_id: UUID) -> HttpResponse:
    """Send a message; or the answer to the one question that the page showed."""
    found = _session(request, session_id)
    text = request.POST.get("text", "")
    try:
        if request.POST.get("question"):
            _answer_as_message(request, found, text)
        else:
            conversations.post(found, text, files=_attached(request))
    except Refusal as refused:
        told = answers.meanwhile(found) if isinstance(refused, Busy) else ""
        return _page(request, found, status=refused.http_status, text=text, error=told or refused.message)
    return _done(request, found)


def _answer_as_message(request: Request, found: Session, text: str) -> None:
    """The answer to the only open question that the page showed; never to one that nobody has seen."""
    if request.FILES:
        raise InvalidInput("Files go with a message, not with an answer. Answer first, then send them.")
    answers.answer(found, as_uuid(request.POST.get("question", "")), request.user, text)


@never_cache
@require_POST
def edit(request: Request, session_id: UUID, seq: int) -> HttpResponse:
    """Write the last message anew; what was said after it is folded away."""
    found = _session(request, session_id)
    text = request.POST.get("text", "")
    try:
        rewriting.rewrite(found, seq, text, request.user.get_username())
    except Refusal as refused:
        problem = {"message_seq": seq, "message": refused.message, "text": text}
        return _page(request, found, status=refused.http_status, problem=problem)
    return _done(request, found)


@never_cache
@require_POST
def stop(request: Request, session_id: UUID) -> HttpResponse:
    """Stop what the agent is doing; what it has not started is cancelled."""
    found = _session(request, session_id)
    for run in found.runs.filter(status__in=ACTIVE):
        runs.stop(run, request.user.get_username())
    return _done(request, found)


@never_cache
@require_POST
def retry(request: Request, session_id: UUID) -> HttpResponse:
    """Answer the last message once more."""
    found = _session(request, session_id)
    try:
        conversations.retry(found)
    except Refusal as refused:
        return _page(request, found, status=refused.http_status, error=refused.message)
    return _done(request, found)


@never_cache
@require_POST
def decide(request: Request, session_id: UUID, call_id: UUID) -> HttpResponse:
    """Approve or deny a call of this chat, for those who may; the action says who that is."""
    found = _session(request, session_id)
    _own_call(found, call_id)
    try:
        decisions.decide(call_id, request.user, deciding.ruling(request.POST))
    except Refusal as refused:
        said = {"choice": request.POST.get("choice", ""), "comment": request.POST.get("comment", "")}
        problem = {"call": str(call_id), "message": refused.message, **said}
        return _page(request, found, status=refused.http_status, problem=problem)
    return _done(request, found)


@never_cache
@require_POST
def nudge(request: Request, session_id: UUID, call_id: UUID) -> HttpResponse:
    """Remind those who may decide a call that waits for long."""
    found = _session(request, session_id)
    _own_call(found, call_id)
    try:
        nudging.nudge(call_id, request.user)
    except Refusal as refused:
        problem = {"call": str(call_id), "message": refused.message}
        return _page(request, found, status=refused.http_status, problem=problem)
    return _done(request, found)


def _own_call(found: Session, call_id: UUID) -> None:
    if not ToolCall.objects.filter(pk=call_id, session=found.key).exists():
        raise Http404("There is no such call in this chat.")


@never_cache
@require_POST
def answer(request: Request, session_id: UUID, question_id: UUID) -> HttpResponse:
    """Answer what the agent asks: one of its choices, or in words."""
    found = _session(request, session_id)
    text = request.POST.get("choice", "") or request.POST.get("answer", "")
    try:
        answers.answer(found, question_id, request.user, text)
    except NotFound as missing:
        raise Http404(missing.message) from None
    except Refusal as refused:
        problem = {"question": str(question_id), "message": refused.message, "answer": text}
        return _page(request, found, status=refused.http_status, problem=problem)
    return _done(request, found)


@never_cache
@require_POST
def rename(request: Request, session_id: UUID) -> HttpResponse:
    """Give a chat another name."""
    found = _session(request, session_id)
    title = request.POST.get("title", "")
    try:
        sessions.rename(found, title, request.user.get_username())
    except Refusal as refused:
        return _page(request, found, status=refused.http_status, title=title, title_error=refused.message)
    return _done(request, found)


@never_cache
@require_POST
def archive(request: Request, session_id: UUID) -> HttpResponse:
    """Put a chat away, or take it back."""
    found = _session(request, session_id)
    back = bool(request.POST.get("back"))
    (sessions.unarchive if back else sessions.archive)(found, request.user.get_username())
    return redirect("agents:session", found.pk) if back else redirect("agents:new")


@never_cache
@require_POST
def revoke(request: Request, session_id: UUID, grant_id: UUID) -> HttpResponse:
    """End trust in a tool; from now on its calls are asked for again."""
    found = _session(request, session_id)
    if not TrustGrant.objects.filter(pk=grant_id, session=found.key).exists():
        raise Http404("There is no such trust in this chat.")
    trust.revoke(grant_id, found.key, request.user)
    return _done(request, found)


@never_cache
@require_safe
def outbox(request: Request) -> HttpResponse:
    """The mails that the demo sent: they only ever go to files."""
    if not settings.DEMO:
        raise Http404("The outbox belongs to the demo.")
    return render(request, "outbox.html", {"mails": mails(settings.OUTBOX_DIR)})


def _begin(request: Request) -> HttpResponse:
    text = request.POST.get("text", "")
    try:
        made = conversations.open_with(request.user, request.POST.get("agent", ""), text, _attached(request))
    except Refusal as refused:
        return _new(request, status=refused.http_status, text=text, error=refused.message)
    address = reverse("agents:session", args=[made.pk])
    return HttpResponseClientRedirect(address) if request.htmx else redirect(address)


def _attached(request: Request) -> list[Attachment]:
    """The files of the form. One that is too large is read no further than it takes to say so."""
    files = request.FILES.getlist("files")
    return [Attachment(each.name or "", each.read(attachments.LARGEST + 1)) for each in files]


def _new(request: Request, status: int = 200, text: str = "", error: str = "") -> HttpResponse:
    agents = list(Agent.objects.filter(active=True))
    text = text or request.GET.get("text", "")[: settings.MESSAGE_MAX_CHARS]
    context = {"sidebar": _sidebar(request), "agents": agents, "text": text, "error": error}
    context["chosen_agent"] = request.POST.get("agent", "")
    context["examples"] = presentation.examples(agents)
    template = "chat_new.html#new" if wants(request, "chat") else "chat_new.html"
    return render(request, template, context, status=status)


def _done(request: Request, found: Session) -> HttpResponse:
    if wants(request, "chat"):
        return _page(request, found)
    return redirect("agents:session", found.pk)


def _page(request: Request, found: Session, status: int = 200, **sent: Any) -> HttpResponse:
    """The chat as it stands. `sent`: of a form that was refused, what was typed and why it was not taken."""
    context = _conversation(found, request.GET.get("before", ""), request.user)
    context |= {"sidebar": _sidebar(request), **sent}
    template = "chat.html#live" if wants(request, "chat") else "chat.html"
    return render(request, template, context, status=status)


def _conversation(found: Session, before: str, user: User) -> dict[str, Any]:
    messages, earlier = _messages(found, before)
    run = _last_run(found)
    calls = list(_calls(found, messages))
    asked = list(_questions(found, messages))
    open_now = [one for one in asked if one.status == QuestionStatus.OPEN]
    items = presentation.flow(found, messages, [*calls, *asked], run)
    if run is None or run.status not in ACTIVE:
        last = next((one for one in reversed(messages) if _written(one)), None)
        items = presentation.offer_edit(items, last.seq) if last and not before else items
    return {
        "session": found,
        "run": run,
        "items": items,
        "offers": deciding.offers(user, calls),
        "draft": streaming.draft(run, presentation.draft(messages, run)),
        "thinking": presentation.thinking(run),
        "active": run is not None and run.status in ACTIVE,
        "waiting": run is not None and run.status == RunStatus.WAITING,
        "waits_for_you": bool(open_now),
        "answers": open_now[0].pk if len(open_now) == 1 and not before else None,
        "waits_for_others": sum(call.status in UNSETTLED for call in calls),
        "retryable": run is not None and run.status in (RunStatus.FAILED, RunStatus.STOPPED),
        "broken": run is not None
        and run.status in (RunStatus.FAILED, RunStatus.STOPPED, RunStatus.QUARANTINED),
        "earlier": messages[0].seq if earlier else None,
        "before": before if before.isdecimal() else "",
        "trust": TrustGrant.objects.filter(TrustGrant.live(), session=found.key).select_related("granted_by"),
    }


def _written(message: Message) -> bool:
    """By the person, and standing."""
    return not message.superseded and bool(message.written)


def _questions(found: Session, messages: list[Message]) -> QuerySet[Question]:
    if not messages:
        return Question.objects.none()
    return found.questions.filter(turn__gte=messages[0].seq, turn__lte=messages[-1].seq)


def _last_run(found: Session) -> Run | None:
    return found.runs.order_by("-created_at", "-pk").first()


def _messages(found: Session, before: str) -> tuple[list[Message], bool]:
    """The last messages, oldest first, and whether there are earlier ones."""
    rows = found.messages.select_related("run").order_by("-seq")
    if before.isdecimal() and len(before) < 10:
        rows = rows.filter(seq__lt=int(before))
    newest = list(rows[: MESSAGES + 1])
    return newest[:MESSAGES][::-1], len(newest) > MESSAGES


def _calls(found: Session, messages: list[Message]) -> QuerySet[ToolCall]:
    if not messages:
        return ToolCall.objects.none()
    shown = Q(turn__gte=messages[0].seq, turn__lte=messages[-1].seq)
    return ToolCall.objects.filter(shown, session=found.key).prefetch_related("decisions__by")


def _sidebar(request: Request) -> Sidebar:
    """The person's chats; those that are searched for stay while the open chat goes on."""
    if request.method == "POST":
        return sidebar(request.user, request.POST.get("q", ""))
    return sidebar(request.user, request.GET.get("q", ""), archived="archived" in request.GET)
