"""The API: every status and code of its contract."""

import asyncio
import json
import time
from datetime import timedelta

import jsonschema
import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.core import mail
from django.db.models.functions import Now
from django.test import AsyncClient, Client
from redis.exceptions import ConnectionError as RedisConnectionError

from agents.actions import conversations, runs
from agents.errors import AgentInactive
from agents.models import Run, Session
from agents.states import RunStatus
from approvals import api as approvals_api
from approvals import events
from approvals.actions import calls as call_actions
from approvals.actions import tokens
from approvals.fields import storable
from approvals.hub import Hub
from approvals.models import ApiToken, AuditEntry, ToolCall, TrustGrant
from approvals.states import Fault, Status
from tests.desk import MAIL, approve, calls, chat, deny, last_run, pass_by, pending, trust, work
from tests.fakes.model import Use

NOBODY = "018f0000-0000-7000-8000-000000000000"
SCOPES = ("chat", "review", "agent", "admin")


class Api:
    """An API client with a token."""

    def __init__(self, headers):
        self.headers, self.client = headers, Client()

    def __call__(self, method, path, body=None, **more):
        if body is not None:
            more |= {"data": json.dumps(body), "content_type": "application/json"}
        return self.client.generic(method, f"/api/v1/{path}", headers=self.headers, **more)

    def get(self, path):
        return self("GET", path)

    def post(self, path, body=None):
        return self("POST", path, {} if body is None else body)


@pytest.fixture
def as_(token):
    """as_(alice, "chat"): a client."""
    return lambda user, *scopes: Api(token(user, *scopes))


@pytest.fixture
def chatting(as_, alice):
    return as_(alice, "chat")


@pytest.fixture
def reviewing(as_, rita):
    return as_(rita, "review")


@pytest.fixture
def session(model, alice):
    model.play(["I will write.", Use("send_email", MAIL, id="u1")], "Done.")
    return chat(alice, "Write to them.")


@pytest.fixture
def call(session):
    return pending(session)


def problem(response, status, code):
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert (body["status"], body["code"]) == (status, code)
    assert {"type", "title", "detail"} <= set(body)
    return body


def decision(call, word="approve", **more):
    return {"decision": word, "version": call.version, "digest": call.digest, **more}


# --- Tokens ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "header", [None, "", "Bearer ", "Bearer nod_wrong", "Basic YWxpY2U6bm9k", "Bearer \x00"]
)
def test_it_wants_a_token(desk, header):
    api = Api({} if header is None else {"Authorization": header})
    assert problem(api.get("calls"), 401, "unauthenticated")
    assert api.get("calls")["WWW-Authenticate"] == "Bearer"


def test_it_takes_no_session_cookie(alice):
    api = Api({})
    api.client.force_login(alice)
    problem(api.post("sessions", {"agent": "assistant"}), 401, "unauthenticated")


def test_it_keeps_only_a_hash_of_a_token(alice):
    key = tokens.create(alice, ["chat"])
    row = ApiToken.objects.get()
    stored = json.dumps([str(value) for value in ApiToken.objects.values_list().get()])
    assert key not in stored
    assert key[10:] not in stored
    assert row.hash == tokens.hashed(key)
    assert key not in str(list(AuditEntry.objects.values()))


def test_it_refuses_a_revoked_token(as_, alice, admin):
    api = as_(alice, "chat")
    assert api.post("sessions", {"agent": "assistant"}).status_code == 201
    tokens.revoke(ApiToken.objects.get(), "admin")
    tokens.revoke(ApiToken.objects.get(), "admin")
    problem(api.post("sessions", {"agent": "assistant"}), 401, "unauthenticated")
    assert AuditEntry.objects.filter(kind="token.revoked", actor="admin").count() == 1


def test_it_refuses_the_token_of_somebody_who_left(as_, rita, call):
    api = as_(rita, "review")
    User.objects.filter(pk=rita.pk).update(is_active=False)
    problem(api.post(f"calls/{call.pk}/decisions", decision(call)), 401, "unauthenticated")


ENDPOINTS = {
    ("POST", "sessions"): {"chat"},
    ("POST", "sessions/{session}/messages"): {"chat"},
    ("GET", "sessions/{session}"): {"chat"},
    ("POST", "sessions/{session}/stop"): {"chat"},
    ("DELETE", "sessions/{session}/trust/{none}"): {"chat", "review"},
    ("GET", "calls"): {"review"},
    ("GET", "calls/{call}"): {"chat", "review", "agent"},
    ("POST", "calls/{call}/decisions"): {"review"},
    ("POST", "calls"): {"agent"},
    ("POST", "calls/{call}/claim"): {"agent"},
    ("POST", "calls/{call}/outcome"): {"agent"},
    ("POST", "calls/{call}/cancel"): {"agent"},
}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("method", "path"), ENDPOINTS, ids=lambda word: word)
def test_it_keeps_the_scopes_apart(as_, call, method, path, scope):
    """A person with every right, whose token has one scope."""
    everyone = User.objects.get(username="alice")
    everyone.groups.set(Group.objects.all())
    body = {"agent": "assistant", "text": "Hello.", **decision(call)}
    address = path.format(session=call.session, call=call.pk, none=NOBODY)
    response = as_(everyone, scope)(method, address, body if method == "POST" else None)
    if scope in ENDPOINTS[method, path]:
        assert response.status_code != 401
        assert response.headers["Content-Type"].startswith("application/")
        assert response.json().get("code") != "missing_scope"
    else:
        assert scope not in problem(response, 403, "missing_scope")["detail"]


# --- Sessions ----------------------------------------------------------------------------------------------
def test_it_starts_a_session(chatting):
    response = chatting.post("sessions", {"agent": "assistant"})
    assert response.status_code == 201
    assert set(response.json()) == {"id", "agent", "status"}
    assert (response.json()["agent"], response.json()["status"]) == ("assistant", "idle")


def test_it_chats(chatting, model):
    session = chatting.post("sessions", {"agent": "assistant"}).json()["id"]
    response = chatting.post(f"sessions/{session}/messages", {"text": "Hello."})
    assert response.status_code == 202
    assert Run.objects.get().pk.hex == response.json()["run"].replace("-", "")
    assert chatting.get(f"sessions/{session}").json()["status"] == "running"
    model.play("Hi.")
    work()
    shown = chatting.get(f"sessions/{session}").json()
    assert shown["status"] == "idle"
    assert shown["messages"] == [
        {"role": "user", "content": [{"text": "Hello."}]},
        {"role": "assistant", "content": [{"text": "Hi."}]},
    ]


def test_it_shows_all_of_a_waiting_session(chatting, session, call):
    shown = chatting.get(f"sessions/{session.key}").json()
    assert shown["status"] == "waiting"
    assert shown["messages"][1]["content"][1]["toolUse"]["toolUseId"] == "u1"
    assert [each["id"] for each in shown["calls"]] == [str(call.pk)]
    assert shown["trust"] == []


def test_it_shows_why_a_run_failed(chatting, model, alice):
    model.play(RuntimeError("boom"))
    session = chat(alice)
    shown = chatting.get(f"sessions/{session.key}").json()
    assert shown["status"] == "failed"
    assert shown["error"]


def test_it_takes_a_message_once_for_a_key(chatting, session):
    runs.stop(last_run(session), "alice")
    body = {"text": "Hello.", "idempotency_key": "k"}
    first, second = (chatting.post(f"sessions/{session.key}/messages", body) for _ in range(2))
    assert first.status_code == second.status_code == 202
    assert first.json() == second.json()
    assert session.messages.filter(content__contains="Hello.").count() == 1


def test_it_says_when_the_agent_is_busy(chatting, session):
    problem(chatting.post(f"sessions/{session.key}/messages", {"text": "And?"}), 409, "busy")


def test_it_stops(chatting, session):
    response = chatting.post(f"sessions/{session.key}/stop")
    assert (response.status_code, response.json()["status"]) == (202, "idle")
    assert [call.status for call in calls(session)] == [Status.CANCELLED]
    assert chatting.post(f"sessions/{session.key}/stop").status_code == 202


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("sessions", {"agent": "nobody"}, 404, "not_found"),
        ("sessions", {"agent": "\0\ud800"}, 404, "not_found"),
        ("sessions", {}, 422, "invalid_input"),
        ("sessions/{session}/messages", {"text": " "}, 422, "invalid_input"),
        ("sessions/{session}/messages", {"text": "x" * 20_001}, 422, "invalid_input"),
        ("sessions/{session}/messages", {"text": 5}, 422, "invalid_input"),
        ("sessions/{session}/messages", {"text": "x", "idempotency_key": "k" * 201}, 422, "invalid_input"),
        ("sessions/{session}/messages", {}, 422, "invalid_input"),
        (f"sessions/{NOBODY}/messages", {"text": "Hello."}, 404, "not_found"),
        (f"sessions/{NOBODY}/stop", {}, 404, "not_found"),
        ("sessions/xyz/stop", {}, 422, "invalid_input"),
    ],
)
def test_it_refuses_in_a_chat(chatting, session, path, body, status, code):
    problem(chatting.post(path.format(session=session.key), body), status, code)


def test_it_keeps_odd_characters(chatting, model):
    session = chatting.post("sessions", {"agent": "assistant"}).json()["id"]
    odd = "NUL \0 half \ud800 bidi \u202e"
    response = chatting.post(f"sessions/{session}/messages", {"text": odd, "idempotency_key": "\0"})
    assert response.status_code == 202
    model.play("Hi.")
    work()
    shown = json.loads(chatting.get(f"sessions/{session}").content)
    assert shown["messages"][0]["content"] == [{"text": storable(odd)}]


def test_it_lets_only_chat_users_chat(as_, rita):
    problem(as_(rita, "chat").post("sessions", {"agent": "assistant"}), 403, "not_a_chat_user")


@pytest.mark.parametrize(
    ("method", "path"), [key for key in ENDPOINTS if "{" in key[1]], ids=lambda word: word
)
@pytest.mark.parametrize("who", ["bob", "admin"])
def test_it_hides_what_is_somebody_else_s(as_, call, method, path, who):
    """Nobody else's chat token learns so much as that it is there."""
    scopes = SCOPES if who == "bob" else ("chat", "agent")
    api = as_(User.objects.get(username=who), *scopes)
    outcome = {"lease": "x" * 30, "status": "failed"}
    body = {"text": "Hello.", **outcome, **decision(call)} if method == "POST" else None
    theirs = api(method, path.format(session=call.session, call=call.pk, none=NOBODY), body)
    nobodys = api(method, path.format(session=NOBODY, call=NOBODY, none=NOBODY), body)
    assert (theirs.status_code, theirs.content) == (nobodys.status_code, nobodys.content)
    assert theirs.status_code in ((404,) if who == "bob" else (403, 404))
    call.refresh_from_db()
    assert (call.status, call.version) == (Status.PENDING, 1)


# --- Calls -------------------------------------------------------------------------------------------------
def test_it_shows_a_call_whole(reviewing, call, alice):
    shown = reviewing.get(f"calls/{call.pk}").json()
    assert shown == {
        "id": str(call.pk),
        "session": call.session,
        "agent": "assistant",
        "tool": "send_email",
        "arguments": MAIL,
        "proposed": None,
        "definition": call.definition,
        "digest": call.digest,
        "version": 1,
        "status": "pending",
        "risk": "medium",
        "requested_by": "alice",
        "requested_at": call.requested_at.isoformat(),
        "policy": "Ask before mail goes out",
        "why": "",
        "fault": "",
        "trustable": True,
        "quorum": 1,
        "approvals": 0,
        "confirm": "",
        "justify": False,
        "expires_at": call.expires_at.isoformat(),
        "decisions": [],
        "result": None,
    }


def test_it_undoes_a_decision(reviewing, call):
    body = {"decision": "approve", "version": 1, "digest": call.digest}
    assert reviewing.post(f"calls/{call.pk}/decisions", body).json()["version"] == 2
    shown = reviewing.post(f"calls/{call.pk}/undo", {"version": 2})
    assert (shown.status_code, shown.json()["status"], shown.json()["version"]) == (200, "pending", 3)
    assert shown.json()["decisions"][0]["undone_at"]
    again = reviewing.post(f"calls/{call.pk}/undo", {"version": 3})
    assert (again.status_code, again.json()["code"]) == (409, "too_late")


def test_it_settles_what_nobody_knows(reviewing, as_, call, rita, alice):
    approve(call, rita)
    ToolCall.objects.update(status=Status.STARTED)
    call_actions.mark_unknown(ToolCall.objects.get(), Fault.WORKER_DIED)
    seen = reviewing.get(f"calls/{call.pk}").json()
    assert (seen["status"], seen["fault"]) == ("unknown", "worker_died")
    body = {"outcome": "happened", "version": seen["version"], "digest": seen["digest"]}
    path = f"calls/{call.pk}/settlement"
    assert as_(alice, "chat", "review").post(path, body).status_code == 403
    assert reviewing.post(path, body).json()["code"] == "comment_required"
    assert reviewing.post(path, body | {"outcome": "perhaps"}).status_code == 422
    shown = reviewing.post(path, body | {"comment": "It is there."})
    assert (shown.status_code, shown.json()["status"]) == (200, "succeeded")
    assert reviewing.post(path, body | {"comment": "Once more."}).json()["code"] == "already_decided"


def test_it_shows_the_audit_trail_to_administrators(as_, call, admin, rita):
    api = as_(admin, "admin")
    entries = api.get("audit").json()["items"]
    mine = [entry for entry in entries if entry["call"] == str(call.pk)]
    assert [entry["kind"] for entry in mine] == ["call.requested", "call.pending"]
    assert mine[1]["prev"] == mine[0]["hash"]
    assert [entry["seq"] for entry in api.get(f"audit?after={mine[0]['seq']}").json()["items"]][0] == mine[1][
        "seq"
    ]
    assert api.get(f"audit?after={10**30}").json() == {"items": [], "next": None}
    assert as_(rita, "admin").get("audit").json()["code"] == "not_an_auditor"
    assert as_(admin, "review").get("audit").json()["code"] == "missing_scope"


def test_it_pages_through_the_audit_trail(as_, admin, monkeypatch):
    monkeypatch.setattr(approvals_api, "ENTRIES", 3)
    api, seen = as_(admin, "admin"), []
    after: int | None = 0
    while after is not None:
        answer = api.get(f"audit?after={after}").json()
        seen += [entry["seq"] for entry in answer["items"]]
        after = answer["next"]
    assert seen == sorted(set(seen))
    assert len(seen) == AuditEntry.objects.count()


def test_it_shows_a_call_to_its_parties(as_, call, alice, rita, admin):
    for api in (as_(alice, "chat"), as_(alice, "agent"), as_(rita, "review"), as_(admin, "review")):
        assert api.get(f"calls/{call.pk}").status_code == 200


def test_it_lists_what_waits(reviewing, model, alice, bob, call):
    model.play([Use("send_email", MAIL), Use("get_weather", {})])
    other = chat(bob)
    items = reviewing.get("calls?status=pending").json()["items"]
    assert [item["id"] for item in items] == [str(call.pk), str(pending(other).pk)]
    [item] = reviewing.get(f"calls?session={other.key}").json()["items"]
    assert item["requested_by"] == "bob"
    assert reviewing.get("calls?status=denied").json() == {"items": [], "next": None}
    assert reviewing.get("calls?session=%00").json()["items"] == []


def test_it_lists_only_what_one_may_see(as_, call, remy, rita, model, alice):
    ToolCall.objects.update(groups="|finance|")
    assert as_(rita, "review").get("calls").json()["items"] == []
    remy.groups.add(Group.objects.create(name="finance"))
    assert len(as_(remy, "review").get("calls").json()["items"]) == 1
    assert as_(alice, "review").get("calls").json()["items"] == []


def test_it_turns_pages(reviewing, model, alice, monkeypatch):
    monkeypatch.setattr(approvals_api, "PAGE", 2)
    model.play([Use("send_email", {**MAIL, "subject": name}) for name in "abcde"])
    chat(alice)
    pages = [reviewing.get("calls").json()]
    while pages[-1]["next"]:
        pages.append(reviewing.get(f"calls?cursor={pages[-1]['next']}").json())
    seen = [[item["arguments"]["subject"] for item in page["items"]] for page in pages]
    assert seen == [["a", "b"], ["c", "d"], ["e"]]


@pytest.mark.parametrize("query", ["status=nonsense", "cursor=x"])
def test_it_refuses_a_wrong_filter(reviewing, query):
    problem(reviewing.get(f"calls?{query}"), 422, "invalid_input")


# --- Decisions ---------------------------------------------------------------------------------------------
def test_it_approves(reviewing, chatting, session, call):
    response = reviewing.post(f"calls/{call.pk}/decisions", decision(call, comment="Go."))
    assert response.status_code == 200
    shown = response.json()
    assert (shown["status"], shown["version"]) == ("approved", 2)
    [made] = shown["decisions"]
    assert (made["by"], made["decision"], made["comment"]) == ("rita", "approve", "Go.")
    assert (made["digest"], made["version"]) == (call.digest, 1)
    work()
    [shown] = chatting.get(f"sessions/{session.key}").json()["calls"]
    assert shown["status"] == "succeeded"
    assert "Email sent" in shown["result"][0]["text"]
    assert len(mail.outbox) == 1


def test_it_edits(reviewing, call):
    edited = {**MAIL, "subject": "Later"}
    shown = reviewing.post(f"calls/{call.pk}/decisions", decision(call, arguments=edited)).json()
    assert (shown["arguments"], shown["proposed"]) == (edited, MAIL)
    assert shown["digest"] == shown["decisions"][0]["digest"] != call.digest


def test_it_trusts(reviewing, chatting, session, call):
    terms = {"expires_in": "15m", "max_uses": 2}
    response = reviewing.post(f"calls/{call.pk}/decisions", decision(call, "trust", trust=terms))
    assert response.status_code == 200
    [shown] = chatting.get(f"sessions/{session.key}").json()["trust"]
    assert (shown["tool"], shown["granted_by"], shown["max_uses"], shown["uses"]) == (
        "send_email",
        "rita",
        2,
        0,
    )
    grant = TrustGrant.objects.get()
    lasts = grant.expires_at - grant.granted_at
    assert lasts == pytest.approx(timedelta(minutes=15), abs=timedelta(seconds=1))


def test_it_answers_the_second_with_who_was_first(reviewing, as_, remy, call):
    deny(call, remy)
    body = problem(reviewing.post(f"calls/{call.pk}/decisions", decision(call)), 409, "already_decided")
    assert (body["decided_by"], body["call_status"]) == ("remy", "denied")
    assert body["decided_at"]


def test_it_keeps_the_problem_s_own_status(reviewing, call, remy):
    """RFC 9457: `status` is the HTTP status, also where a refusal says more."""
    approve(call, remy)
    response = reviewing.post(f"calls/{call.pk}/decisions", decision(call))
    assert response.json()["status"] == response.status_code == 409


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"version": 2}, 409, "stale"),
        ({"digest": "0" * 64}, 409, "stale"),
        ({"digest": "\0"}, 409, "stale"),
        ({"decision": "deny"}, 422, "comment_required"),
        ({"decision": "deny", "comment": " "}, 422, "comment_required"),
        ({"arguments": {"to": 5}}, 422, "invalid_arguments"),
        ({"arguments": {**MAIL, "body": "\ud800"}}, 422, "invalid_arguments"),
        ({"decision": "trust", "trust": {"expires_in": "soon"}}, 422, "invalid_input"),
        ({"decision": "trust", "trust": {"expires_in": 0}}, 422, "invalid_input"),
        ({"decision": "trust", "trust": {"max_uses": 0}}, 422, "invalid_input"),
        ({"decision": "trust", "trust": {"max_uses": 10**30}}, 422, "invalid_input"),
        ({"decision": "yes"}, 422, "invalid_input"),
        ({"version": "one"}, 422, "invalid_input"),
        ({"version": 10**30}, 409, "stale"),
        ({"version": -1}, 409, "stale"),
        ({"comment": "x" * 2001}, 422, "invalid_input"),
    ],
)
def test_it_refuses_a_decision(reviewing, call, more, status, code):
    problem(reviewing.post(f"calls/{call.pk}/decisions", decision(call) | more), status, code)
    call.refresh_from_db()
    assert (call.status, call.version) == (Status.PENDING, 1)
    assert not TrustGrant.objects.exists()


def test_it_refuses_what_has_expired(reviewing, call):
    pass_by(ToolCall.objects, "expires_at")
    problem(reviewing.post(f"calls/{call.pk}/decisions", decision(call)), 409, "expired")


def test_it_refuses_self_approval(as_, alice, call):
    alice.groups.add(Group.objects.get(name="reviewers"))
    api = as_(alice, "chat", "review")
    problem(api.post(f"calls/{call.pk}/decisions", decision(call)), 403, "self_approval")


def test_it_refuses_an_administrator_who_is_no_reviewer(as_, admin, call):
    api = as_(admin, "review", "admin")
    problem(api.post(f"calls/{call.pk}/decisions", decision(call)), 403, "not_a_reviewer")


def test_it_refuses_trust_in_what_is_always_asked(reviewing, model, alice):
    model.play(Use("delete_files", {"paths": ["tmp/old.log"]}))
    call = pending(chat(alice))
    assert not reviewing.get(f"calls/{call.pk}").json()["trustable"]
    problem(reviewing.post(f"calls/{call.pk}/decisions", decision(call, "trust")), 422, "not_trustable")


# --- Trust -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("who", "scope"), [("alice", "chat"), ("rita", "review"), ("remy", "review")])
def test_it_revokes_trust(as_, rita, call, who, scope):
    trust(call, rita)
    grant = TrustGrant.objects.get()
    api = as_(User.objects.get(username=who), scope)
    address = f"sessions/{call.session}/trust/{grant.pk}"
    assert api("DELETE", address).status_code == 204
    assert api("DELETE", address).status_code == 204
    grant.refresh_from_db()
    assert grant.revoked_by == User.objects.get(username=who)


@pytest.mark.parametrize(("who", "scope"), [("bob", "chat"), ("rita", "chat"), ("alice", "review")])
def test_it_lets_no_stranger_revoke_trust(as_, rita, call, who, scope):
    trust(call, rita)
    grant = TrustGrant.objects.get()
    api = as_(User.objects.get(username=who), scope)
    response = api("DELETE", f"sessions/{call.session}/trust/{grant.pk}")
    if (who, scope) == ("alice", "review"):
        assert response.status_code == 204, "it is her session, and the scope is one that may"
        return
    problem(response, 404, "not_found")
    grant.refresh_from_db()
    assert grant.revoked_at is None


def test_it_knows_the_session_of_a_grant(as_, alice, rita, call, model):
    trust(call, rita)
    model.play("Hi.")
    other = chat(alice)
    api = as_(alice, "chat")
    problem(api("DELETE", f"sessions/{other.key}/trust/{TrustGrant.objects.get().pk}"), 404, "not_found")


# --- All of it ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "nothing", 404, "not_found"),
        ("POST", "calls/nothing/at/all", 404, "not_found"),
        ("GET", "sessions", 405, "method_not_allowed"),
        ("DELETE", "calls", 405, "method_not_allowed"),
        ("PUT", f"calls/{NOBODY}", 405, "method_not_allowed"),
    ],
)
def test_it_answers_with_problems_alone(chatting, method, path, status, code):
    problem(chatting(method, path), status, code)


def test_it_refuses_a_body_that_is_no_json(chatting):
    response = chatting("POST", "sessions", data="{", content_type="application/json")
    problem(response, 400, "invalid_json")


def test_it_tells_no_internals_of_a_fault(chatting, monkeypatch, caplog):
    def broken(*args):
        raise RuntimeError("secret internals")

    monkeypatch.setattr("agents.actions.conversations.begin", broken)
    body = problem(chatting.post("sessions", {"agent": "assistant"}), 500, "fault")
    assert "secret" not in json.dumps(body)
    assert "secret internals" in caplog.text, "the log has it"


def everything():
    """All rows of Nod's own tables."""
    models = [*apps.get_app_config("agents").get_models(), *apps.get_app_config("approvals").get_models()]
    return {model.__name__: list(model._default_manager.order_by("pk").values()) for model in models}


def test_it_changes_nothing_by_get(as_, alice, rita, call, session):
    """Mail scanners and link previews follow every address."""
    everyone = User.objects.get(username="rita")
    everyone.groups.set(Group.objects.all())
    reader, chatter = as_(everyone, *SCOPES), as_(alice, *SCOPES)
    before = everything()
    for _, path in ENDPOINTS:
        address = path.format(session=session.key, call=call.pk, none=NOBODY)
        for method in ("GET", "HEAD", "OPTIONS"):
            for api in (reader, chatter):
                assert (
                    api(method, f"{address}?decision=approve&version=1&digest={call.digest}").status_code
                    < 500
                )
    assert everything() == before


def test_it_describes_itself(client):
    document = client.get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.")
    described = {
        (method.upper(), path.removeprefix("/api/v1/").replace("_id}", "}"))
        for path, item in document["paths"].items()
        for method in item
    }
    assert {(method, path.replace("{none}", "{grant}")) for method, path in ENDPOINTS} <= described
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    references = set(_references(document))
    assert references
    assert references <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["security"] and operation["summary"] for operation in operations)
    assert client.get("/api/v1/docs").status_code == 200


def _references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def test_it_answers_as_it_describes(client, chatting, reviewing, call):
    schemas = client.get("/api/v1/openapi.json").json()["components"]["schemas"]
    shown = {
        "SessionOut": chatting.get(f"sessions/{call.session}").json(),
        "CallOut": reviewing.get(f"calls/{call.pk}").json(),
        "CallsOut": reviewing.get("calls").json(),
        "Problem": chatting.get("calls").json(),
    }
    for name, body in shown.items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        jsonschema.Draft202012Validator(schema).validate(body)


# --- Waiting -----------------------------------------------------------------------------------------------
@pytest.fixture
def waiting(live, session, call, token, alice):
    """waiting(seconds): a request that waits for the call."""
    headers = token(alice, "chat")

    async def ask(seconds):
        return await AsyncClient().get(f"/api/v1/calls/{call.pk}?wait={seconds}", headers=headers)

    return ask


async def heard_on(layer, group):
    async with asyncio.timeout(10):
        while not layer.groups.get(group):
            await asyncio.sleep(0.01)


async def test_it_waits_until_it_is_decided(live, waiting, call, rita):
    request = asyncio.create_task(waiting(60))
    await heard_on(live, events.group(events.session_topic(call.session)))
    assert not request.done()
    began = time.monotonic()
    await sync_to_async(deny)(call, rita)
    response = await asyncio.wait_for(request, 9)
    assert time.monotonic() - began < 9, "the doorbell, not the look every 10 s"
    assert response.json()["status"] == "denied"
    assert live.groups[events.group(events.session_topic(call.session))] == set()


async def test_who_waits_loses_what_they_may_not_see_any_more(live, waiting, call, rita):
    request = asyncio.create_task(waiting(60))
    await heard_on(live, events.group(events.session_topic(call.session)))
    await sync_to_async(ApiToken.objects.update)(revoked_at=Now())
    await sync_to_async(deny)(call, rita)
    response = await asyncio.wait_for(request, 9)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_it_answers_at_the_end_of_the_wait(waiting):
    response = await waiting(0.05)
    assert (response.status_code, response.json()["status"]) == (200, "pending")


async def test_it_does_not_wait_for_what_is_decided(live, waiting, call, rita):
    await sync_to_async(approve)(call, rita)
    async with asyncio.timeout(9):
        assert (await waiting(60)).json()["status"] == "approved"
    assert not live.groups


@pytest.mark.parametrize("seconds", ["nan", "-5", "x"])
async def test_it_takes_any_wait(waiting, seconds):
    async with asyncio.timeout(9):
        assert (await waiting(seconds)).status_code in (200, 422)


@pytest.mark.parametrize("error", [ConnectionError("no Redis"), RedisConnectionError("no Redis")], ids=repr)
async def test_it_waits_without_redis(live, waiting, call, rita, monkeypatch, error):
    """It looks every second instead."""

    def down(self, topic):
        raise error

    monkeypatch.setattr(Hub, "listen", down)
    response = await waiting(0.05)
    assert (response.status_code, response.json()["status"]) == (200, "pending")
    request = asyncio.create_task(waiting(60))
    await asyncio.sleep(0.1)
    await sync_to_async(deny)(call, rita)
    async with asyncio.timeout(5):
        assert (await request).json()["status"] == "denied"


def finance():
    """A group that reviews, though not these calls."""
    group = Group.objects.create(name="finance")
    group.permissions.add(Permission.objects.get(codename="review_toolcall"))
    return group


# --- People and agents that change -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "sessions/{session}", None),
        ("POST", "sessions/{session}/messages", {"text": "Hi."}),
        ("POST", "sessions/{session}/stop", {}),
        ("POST", "sessions", {"agent": "assistant"}),
    ],
    ids=["show", "post", "stop", "start"],
)
def test_it_ends_with_the_right_to_chat(chatting, alice, call, method, path, body):
    alice.groups.clear()
    problem(chatting(method, path.format(session=call.session), body), 403, "not_a_chat_user")
    call.refresh_from_db()
    assert call.status == Status.PENDING


def test_it_says_when_the_agent_is_switched_off(chatting, session, agent):
    runs.stop(last_run(session), "alice")
    agent.active = False
    agent.save()
    body = problem(chatting.post(f"sessions/{session.key}/messages", {"text": "Hi."}), 409, "agent_inactive")
    assert "Assistant is switched off" in body["detail"]
    Run.objects.update(status=RunStatus.FAILED)
    with pytest.raises(AgentInactive):
        conversations.retry(Session.objects.get(pk=session.pk))
    assert session.runs.count() == 1
    problem(chatting.post("sessions", {"agent": "assistant"}), 404, "not_found")


def test_it_lets_no_reviewer_of_another_group_revoke_trust(as_, rita, remy, call):
    trust(call, rita)
    grant = TrustGrant.objects.get()
    remy.groups.set([finance()])
    api = as_(remy, "review")
    problem(api("DELETE", f"sessions/{call.session}/trust/{grant.pk}"), 404, "not_found")
    grant.refresh_from_db()
    assert grant.revoked_at is None


def test_it_says_why_the_requester_may_not_decide(as_, alice, call):
    """She knows of the call, so this is no secret to her: 403, and not 404."""
    api = as_(alice, "chat", "review")
    problem(api.post(f"calls/{call.pk}/decisions", decision(call)), 403, "not_a_reviewer")
    alice.groups.add(Group.objects.get(name="reviewers"))
    problem(as_(alice, "review").post(f"calls/{call.pk}/decisions", decision(call)), 403, "self_approval")
    call.refresh_from_db()
    assert call.status == Status.PENDING


def test_it_hides_from_others_what_they_may_not_decide(as_, bob, remy, call):
    remy.groups.set([finance()])
    for user in (bob, remy):
        api = as_(user, "chat", "review")
        problem(api.post(f"calls/{call.pk}/decisions", decision(call)), 404, "not_found")
