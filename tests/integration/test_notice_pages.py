"""The page of notifications, and Nod as an installed app."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from approvals.models import AuditEntry
from approvals.notice_models import NoticePreference, PushSubscription

PAGE = "/notifications/"


@pytest.fixture
def client(rita):
    browser = Client()
    browser.force_login(rita)
    return browser


def test_it_is_for_reviewers(alice, client):
    assert client.get(PAGE).status_code == 200
    chatting = Client()
    chatting.force_login(alice)
    assert chatting.get(PAGE).status_code == 403
    assert chatting.post(f"{PAGE}email", {"email": "on"}).status_code == 403
    assert Client().get(PAGE).status_code == 302


def test_the_header_leads_to_it(client, alice):
    assert f'href="{PAGE}"' in client.get("/approvals/").text
    chatting = Client()
    chatting.force_login(alice)
    assert f'href="{PAGE}"' not in chatting.get("/chat/").text


def test_email_is_on_until_a_person_turns_it_off(client, rita):
    assert "rita@example.com" in client.get(PAGE).text
    client.post(f"{PAGE}email", {"email": "off"})
    assert not NoticePreference.objects.get(user=rita).email
    assert 'name="email" value="on"' in client.get(PAGE).text
    client.post(f"{PAGE}email", {"email": "off"})
    client.post(f"{PAGE}email", {"email": "on"})
    said = AuditEntry.objects.filter(kind="notices.changed").order_by("seq").values_list("data", flat=True)
    assert [data["email"] for data in said] == [False, True]


def test_looking_changes_nothing(client):
    before = AuditEntry.objects.count()
    client.get(PAGE)
    assert client.get(f"{PAGE}email").status_code == 405
    assert (NoticePreference.objects.count(), PushSubscription.objects.count()) == (0, 0)
    assert AuditEntry.objects.count() == before


def test_it_says_where_push_is_not_set_up(client, settings):
    settings.VAPID_KEY = ""
    assert 'data-push-key=""' in client.get(PAGE).text


def test_the_manifest_names_what_is_there(client):
    anybody = Client()
    answer = anybody.get("/manifest.webmanifest")
    about = answer.json()
    assert answer["Content-Type"] == "application/manifest+json"
    assert (about["start_url"], about["display"]) == (reverse("approvals:queue"), "standalone")
    assert sorted((icon["sizes"], icon["purpose"]) for icon in about["icons"]) == [
        ("192x192", "any"), ("512x512", "any"), ("512x512", "maskable"),
    ]  # fmt: skip
    assert all("?v=" in icon["src"] for icon in about["icons"]), "the files are there"
    assert 'rel="manifest" href="/manifest.webmanifest"' in anybody.get("/login/").text


def test_the_worker_is_served_from_the_root_and_never_kept(client):
    answer = Client().get("/sw.js")
    assert answer["Content-Type"].startswith("text/javascript")
    assert answer["Cache-Control"] == "no-cache"
    assert "caches." not in answer.text, "it keeps nothing"


def test_the_policy_of_pages_names_workers_and_manifests(client):
    policy = client.get(PAGE)["Content-Security-Policy"]
    assert "worker-src 'self'" in policy
    assert "manifest-src 'self'" in policy
