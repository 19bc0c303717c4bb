"""Single sign-on: a real Nod, and a real OpenID provider on loopback."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.system import PATIENCE, System

PEOPLE = [
    {"sub": "1", "preferred_username": "carol", "email": "carol@example.com", "groups": ["reviewers", "x"]},
    {"sub": "2", "preferred_username": "dora", "groups": ["administrators", "demo people"]},
    {"sub": "3", "preferred_username": "rita", "email": "rita@example.com", "groups": ["administrators"]},
    {"sub": "4", "preferred_username": "erin"},
    {"sub": "5", "preferred_username": "mallory"},
    {"sub": "6", "preferred_username": "Rita"},
    {"sub": "7", "preferred_username": "System"},
    {"sub": "8", "preferred_username": "frank"},
]
SECRET = "s3cret"

pytestmark = pytest.mark.xdist_group("sso")


@pytest.fixture(scope="module")
def provider():
    """In a process of its own: its libraries warn of each other."""
    port = free_port()
    people = [word for person in PEOPLE for word in ("--user-claims", json.dumps(person))]
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "-p", str(port), *people]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        await_answer(f"{url}/.well-known/openid-configuration", process)
        yield url
    finally:
        process.terminate()
        process.wait(PATIENCE)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_answer(url, process):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        assert process.poll() is None, "the provider did not start"
        try:
            return httpx.get(url).raise_for_status()
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the provider does not answer")


@pytest.fixture(scope="module")
def nod(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sso")
    env = {
        "OIDC_SERVER_URL": provider,
        "OIDC_CLIENT_ID": "nod",
        "OIDC_CLIENT_SECRET": SECRET,
        "OIDC_NAME": "Example & Co",
        "OIDC_GROUPS_CLAIM": "groups",
    }
    system = System(folder, **env).prepare()
    with system.up():
        yield system


@pytest.fixture
def browser(nod):
    with httpx.Client(base_url=nod.url, follow_redirects=True) as client:
        yield client


def sign_in(browser, sub, after="/"):
    """Follows the link, says who one is at the provider, and comes back."""
    at_provider = browser.get("/sso/oidc/login/", params={"next": after})
    assert at_provider.status_code == 200, at_provider.text[:500]
    return browser.post(str(at_provider.url), data={"sub": sub})


def groups(nod, name):
    """Whether the person is staff, has a password, and their groups; from the file, as starting Django takes long."""
    person = "SELECT id, is_staff, password NOT LIKE '!%' FROM auth_user WHERE username = ?"
    theirs = "SELECT name FROM auth_group JOIN auth_user_groups ON group_id = auth_group.id WHERE user_id = ?"
    with closing(sqlite3.connect(nod.folder / "nod.sqlite3")) as database:
        [(key, staff, password)] = database.execute(person, [name])
        return [bool(staff), bool(password), sorted(group for (group,) in database.execute(theirs, [key]))]


def test_a_reviewer_comes_in_and_to_the_page_they_wanted(nod, browser):
    assert "Sign in with Example &amp; Co" in browser.get("/approvals/history/").text
    page = sign_in(browser, "1", "/approvals/history/")
    assert (page.status_code, urlsplit(str(page.url)).path) == (200, "/approvals/history/")
    assert groups(nod, "carol") == [False, False, ["reviewers"]]
    entries = [json.loads(line) for line in nod.manage("audit", "export").splitlines()]
    kinds = [(entry["kind"], entry["actor"]) for entry in entries if "carol" in json.dumps(entry)]
    assert ("person.changed", "single sign-on") in kinds
    assert ("person.signed_in", "carol") in kinds


def test_an_administrator_by_the_providers_word(nod, browser):
    page = sign_in(browser, "2", "/admin/")
    assert (page.status_code, urlsplit(str(page.url)).path) == (200, "/admin/")
    assert groups(nod, "dora") == [True, False, ["administrators"]]


def test_nobody_takes_over_a_name_that_somebody_has(nod, browser):
    page = sign_in(browser, "3")
    assert page.status_code == 409
    assert "There is a person named rita here already" in page.text
    assert groups(nod, "rita") == [False, True, ["demo people", "reviewers"]]
    assert "/login/" in str(browser.get("/approvals/").url)


def test_without_the_claim_there_are_no_rights(nod, browser):
    page = sign_in(browser, "4")
    assert page.status_code == 200
    assert groups(nod, "erin") == [False, False, []]
    assert browser.get("/approvals/").status_code == 403


def test_who_was_made_inactive_does_not_come_in(nod, browser):
    assert sign_in(browser, "8").status_code == 200
    change = "User.objects.filter(username='frank').update(is_active=False)"
    nod.manage("shell", "--no-imports", "--command", f"from django.contrib.auth.models import User; {change}")
    browser.cookies.clear()
    page = sign_in(browser, "8")
    assert page.status_code == 403
    assert "may not sign in here" in page.text


def test_an_answer_to_no_question_is_refused(nod, browser):
    page = browser.get("/sso/oidc/login/callback/", params={"code": "x", "state": "y"})
    assert page.status_code in (401, 403)
    assert "You are not signed in" in page.text


def test_nobody_ties_an_account_to_who_is_signed_in(nod, browser):
    """A link that others may have sent: the provider's person would come in as admin from then on."""
    form = {"username": "admin", "password": "nod", "csrfmiddlewaretoken": ""}
    browser.get("/login/")
    browser.post("/login/", data={**form, "csrfmiddlewaretoken": browser.cookies["csrftoken"]})
    at_provider = browser.get("/sso/oidc/login/", params={"process": "connect"})
    page = browser.post(str(at_provider.url), data={"sub": "5"})
    assert page.status_code == 403
    assert "This only signs people in." in page.text
    script = (
        "from allauth.socialaccount.models import SocialAccount; "
        "print('links', SocialAccount.objects.filter(uid='5').count())"
    )
    assert "links 0" in nod.manage("shell", "--no-imports", "--command", script)


@pytest.mark.parametrize("sub", ["6", "7"])
def test_names_that_mean_somebody_else_are_refused(nod, browser, sub):
    assert sign_in(browser, sub).status_code == 409


def test_the_secret_and_pkce_go_to_the_provider_alone(nod, browser):
    browser.follow_redirects = False
    where = browser.get("/sso/oidc/login/").headers["Location"]
    asked = parse_qs(urlsplit(where).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert SECRET not in where


def test_no_trace_is_left_in_the_log(nod, browser):
    sign_in(browser, "1")
    assert "Traceback" not in nod.log()


@pytest.mark.parametrize("missing", ["OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"])
def test_half_a_setting_stops_the_start_with_one_line(tmp_path, provider, missing):
    env = {"OIDC_SERVER_URL": provider, "OIDC_CLIENT_ID": "nod", "OIDC_CLIENT_SECRET": "x"}
    del env[missing]
    with pytest.raises(subprocess.CalledProcessError) as failed:
        System(tmp_path, **env).manage("check")
    assert "OIDC_SERVER_URL is set: OIDC_CLIENT_ID and OIDC_CLIENT_SECRET" in failed.value.stderr
