"""Every address of the site, found by walking the URLs: a new one is tried without anybody's doing."""

import json
import re

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import URLPattern, get_resolver

from agents.models import Message, Question, Run, Session
from approvals.actions import tokens
from approvals.models import AuditEntry, Decision, ToolCall, TrustGrant
from tests.desk import asks, chat, pending, trust, work

NOBODY = "018f0000-0000-7000-8000-000000000000"
OPEN = {
    "login/",
    "admin/login/",
    "favicon.ico",
    "sw.js",
    "manifest.webmanifest",
    "healthz",
    "readyz",
    "metrics",  # on a laptop; test_metrics.py has who may read it elsewhere
    "api/v1/openapi.json",
    "api/v1/docs",
}
METHODS = ("GET", "POST", "DELETE", "PUT", "PATCH")


def _routes(patterns, prefix=""):
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield route
        else:
            yield from _routes(pattern.url_patterns, route)


ROUTES = sorted(set(_routes(get_resolver("hitl_site.urls").url_patterns)))
OF_THINGS = [route for route in ROUTES if "<" in route and not route.startswith("admin/")]


def _fill(route, **ids):
    """The address; what no id is given for becomes something that is not there."""
    route = re.sub(r"\(\?P<app_label>(\w+)[^)]*\)", r"\1", route)
    route = re.sub(r"\(\?P<url>[^)]*\)", "x", route)
    filled = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: str(ids.get(found[1], NOBODY)), route)
    return "/" + filled.replace("^", "").rstrip("$")


@pytest.fixture(autouse=True)
def well(monkeypatch):
    """There is no worker to ask here."""
    for part in ("_database", "_redis", "_worker"):
        monkeypatch.setattr(f"hitl_site.health.{part}", lambda: "ok")


@pytest.fixture
def call(model, alice, rita):
    """One that waits, in a session in which another is trusted."""
    model.play(asks(), asks(), asks(subject="Another"), "Done.")
    session = chat(alice)
    trust(pending(session), rita, trust_uses=1)
    work()
    return pending(session)


@pytest.fixture
def ids(call):
    return {
        "session_id": call.session,
        "call_id": call.pk,
        "grant_id": TrustGrant.objects.get().pk,
        "question_id": asked(call).pk,
    }


def asked(call):
    run = Run.objects.get(pk=call.run)
    return Question.objects.create(
        session_id=run.session_id,
        run=run,
        turn=call.turn,
        tool_use_id="asked",
        message="Which?",
        status="open",
    )


def everything():
    return [
        list(model.objects.order_by("pk").values())
        for model in (ToolCall, Decision, TrustGrant, Run, Message, Question, Session)
    ]


def test_the_walk_finds_addresses():
    some = {"approvals/<uuid:call_id>/decide", "chat/<uuid:session_id>/stop", "api/v1/calls/<call_id>/undo"}
    assert some <= set(OF_THINGS)
    assert len(OF_THINGS) >= 15
    assert set(ROUTES) >= OPEN


@pytest.mark.parametrize("route", ROUTES)
def test_who_is_not_signed_in_gets_nowhere(desk, request, route):
    ids = request.getfixturevalue("ids") if route in OF_THINGS else {}
    before = everything()
    for method in METHODS:
        response = Client().generic(method, _fill(route, **ids))
        if route in OPEN:
            assert response.status_code < 500
            continue
        to_sign_in = response.status_code == 302 and "/login/" in response["Location"]
        assert to_sign_in or response.status_code in (401, 404, 405), (method, response.status_code)
    assert everything() == before


@pytest.mark.parametrize("route", OF_THINGS)
@pytest.mark.parametrize("who", ["bob", "a reviewer of other calls"])
def test_who_has_no_business_with_it_learns_nothing(ids, call, bob, remy, who, route):
    """The same answer as for what is not there, by page and by token, whatever is sent."""
    user = bob if who == "bob" else remy
    group = Group.objects.create(name="finance")
    group.permissions.set(Group.objects.get(name="reviewers").permissions.all())
    remy.groups.set([group])
    client = Client(headers={"Authorization": f"Bearer {tokens.create(user, ['chat', 'review', 'agent'])}"})
    client.force_login(user)
    body = {
        "decision": "approve",  # the API's word, "choice" the page's
        "choice": "approve",
        "outcome": "give_up",
        "lease": "x" * 30,
        "status": "failed",
        "version": call.version,
        "digest": call.digest,
        "comment": "I say so.",
        "note": "I say so.",
        "text": "Hello.",
        "question": str(ids["question_id"]),
        "answer": "Yes.",
    }
    before, audited = everything(), set(AuditEntry.objects.values_list("pk", flat=True))
    for method in METHODS:
        mine, nobody_s = _fill(route, **ids), _fill(route)
        answers = [_send(client, method, address, body) for address in (mine, nobody_s)]
        assert {answer.status_code for answer in answers} <= {403, 404, 405}, [method, answers]
        assert answers[0].status_code == answers[1].status_code
        if route.startswith("api/"):
            assert answers[0].content == answers[1].content
    assert everything() == before
    told = AuditEntry.objects.exclude(pk__in=audited).values_list("kind", flat=True)
    assert set(told) <= {"decision.refused"}


def _send(client, method, address, body):
    if method != "POST":
        return client.generic(method, address)
    if address.startswith("/api/"):
        return client.post(address, json.dumps(body), content_type="application/json")
    return client.post(address, body)


# --- Cookies and headers -----------------------------------------------------------------------------------
def test_a_right_token_from_another_site_counts_for_nothing(call, rita):
    client = Client(enforce_csrf_checks=True)
    client.force_login(rita)
    client.get("/approvals/")
    token = client.cookies["csrftoken"].value
    form = {"choice": "approve", "version": call.version, "digest": call.digest}
    address = f"/approvals/{call.pk}/decide"
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}):
        response = client.post(address, form | {"csrfmiddlewaretoken": token}, headers=headers)
        assert response.status_code == 403
    call.refresh_from_db()
    assert call.status == "pending"
    own = {"Origin": "http://testserver"}
    assert client.post(address, form | {"csrfmiddlewaretoken": token}, headers=own).status_code < 400
    call.refresh_from_db()
    assert call.status == "approved"


def test_cookies_go_to_this_site_alone(desk):
    client = Client()
    client.get("/login/")
    answer = client.post("/login/", {"username": "rita", "password": "nod"})
    assert answer.status_code == 302
    session, token = client.cookies["sessionid"], client.cookies["csrftoken"]
    assert session["httponly"]
    assert {session["samesite"], token["samesite"]} <= {"Lax", "Strict"}


@pytest.mark.parametrize(
    "address", ["/login/", "/approvals/", "/chat/", "/audit/", "/admin/", "/no/such/page"]
)
def test_pages_run_no_foreign_script_and_stand_in_no_frame(admin, address):
    client = Client()
    if address != "/login/":
        client.force_login(admin)
    response = client.get(address)
    rules = {
        rule.split()[0]: set(rule.split()[1:]) for rule in response["Content-Security-Policy"].split(";")
    }
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    for rule in ("frame-ancestors", "object-src", "base-uri"):
        assert rules[rule] == {"'none'"}
    assert rules["default-src"] == rules["style-src"] == rules["form-action"] == {"'self'"}
    assert len(rules["script-src"]) <= 2
    assert all(source == "'self'" or source.startswith("'nonce-") for source in rules["script-src"])
    for tag in re.findall(rb"<script\b[^>]*>", response.content):
        assert b"src=" in tag or b"application/json" in tag, "no script in a page"
