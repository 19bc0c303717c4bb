"""Agents' models at the administrators' pages: what cannot work is refused, what might can be tried out."""

import json
import time

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from django.test import Client
from django.urls import reverse

from agents import trials, wakeups
from agents.models import Agent
from approvals.models import AuditEntry, Tool
from approvals.states import ELSEWHERE

ARN = "arn:aws:bedrock-agentcore:us-west-2:111122223333:runtime/assistant-AbCdEf1234"
MODEL = {"provider": "demo", "model_id": "", "parameters": '{"delay_ms": 0}', "runtime": "local"}
AGENT = {
    "name": "Clerk", "slug": "clerk", "max_steps": "5", "active": "on", "runtime_arn": "", "runtime_qualifier": "",
    **MODEL,
}  # fmt: skip
ADD = reverse("admin:agents_agent_add")
TEST = reverse("admin:agents_test_model")


@pytest.fixture(autouse=True)
def emptied(desk):
    caches["shared"].clear()


@pytest.fixture
def sent(monkeypatch):
    """What workers are told, kept back."""
    found: list[str] = []
    monkeypatch.setattr(wakeups, "try_model", found.append)
    return found


def errors_of(response):
    assert response.status_code == 200, "it was saved"
    return response.context["adminform"].form.errors


# --- Saving ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wrong", "field", "words"),
    [
        ({"provider": "oracle"}, "provider", "There is no provider"),
        ({"parameters": "[1]"}, "parameters", "Give an object"),
        ({"parameters": '{"temperature": 2}'}, "parameters", "There is no parameter temperature"),
        (
            {
                "provider": "bedrock",
                "parameters": '{"thinking": {"budget_tokens": 2000}, "temperature": 0.1}',
            },
            "parameters",
            "temperature and thinking do not go together",
        ),
        (
            {"provider": "anthropic", "parameters": '{"thinking": {"budget_tokens": 9000}}'},
            "parameters",
            "the whole answer may have 8192",
        ),
        (
            {"provider": "openai", "parameters": '{"api_key": "sk-1"}'},
            "parameters",
            "Keys stand in the environment",
        ),
        (
            {"provider": "openai", "parameters": '{"base_url": "https://me:key@example.com"}'},
            "parameters",
            "without a name or a key",
        ),
        (
            {
                "provider": "bedrock",
                "model_id": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
                "parameters": '{"region": "eu-central-1"}',
            },
            "model_id",
            "the region is eu-central-1",
        ),
        (
            {"provider": "bedrock", "model_id": "amazon.nova-pro-v1:0", "parameters": '{"cache": "5m"}'},
            "parameters",
            "cache is for Anthropic",
        ),
        ({"runtime": "agentcore"}, "runtime_arn", "needs its runtime"),
        ({"runtime": "agentcore", "runtime_arn": f"{ARN}/x"}, "runtime_arn", "needs its runtime"),
        (
            {"runtime": "agentcore", "runtime_arn": ARN, "runtime_qualifier": "a b"},
            "runtime_qualifier",
            "endpoint",
        ),
        ({"runtime_arn": ARN}, "runtime_arn", "Leave it empty"),
        ({"runtime_qualifier": "DEFAULT"}, "runtime_qualifier", "Leave it empty"),
    ],
)
def test_it_refuses_what_cannot_work(office, wrong, field, words):
    errors = errors_of(office.post(ADD, {**AGENT, **wrong}))
    assert list(errors) == [field]
    assert words in str(errors[field])
    assert not Agent.objects.filter(slug="clerk").exists()


def test_it_takes_what_can_and_writes_it_down(office):
    given = {"runtime": "agentcore", "runtime_arn": f" {ARN} ", "runtime_qualifier": "DEFAULT"}
    assert office.post(ADD, {**AGENT, **given}).status_code == 302
    agent = Agent.objects.get(slug="clerk")
    assert (agent.runtime_arn, agent.runtime_qualifier) == (ARN, "DEFAULT")
    after = AuditEntry.objects.filter(kind="agent.changed").latest("seq").data["after"]
    assert (after["runtime_arn"], after["runtime_qualifier"]) == (ARN, "DEFAULT")


def test_a_provider_that_is_gone_stays_until_somebody_chooses_another(office, agent):
    Agent.objects.update(provider="oracle")
    address = reverse("admin:agents_agent_change", args=[agent.pk])
    assert '<option value="oracle" selected>' in office.get(address).content.decode()


def test_tools_of_agents_elsewhere_are_not_offered(office, agent):
    Tool.objects.create(name="pay_invoice", provider=ELSEWHERE)
    page = office.get(reverse("admin:agents_agent_change", args=[agent.pk])).content.decode()
    assert "send_email" in page
    assert "pay_invoice" not in page


# --- Testing -----------------------------------------------------------------------------------------------
def test_it_asks_with_what_stands_in_the_form(office, sent):
    before = AuditEntry.objects.count()
    response = office.post(TEST, MODEL)
    assert response.status_code == 302
    [trial] = sent
    page = office.get(response.url).content.decode()
    assert "Asking demo: its default…" in page
    assert "Look again" in page
    trials.answer(trial)
    page = office.get(response.url).content.decode()
    assert "demo: its default</b> answered" in page
    assert "I am a scripted demo" in page
    assert "hx-get" not in page
    assert AuditEntry.objects.count() == before, "it is no change"
    assert not Agent.objects.filter(slug="clerk").exists()


def test_the_page_fetches_the_part_that_changes(office, sent):
    address = office.post(TEST, MODEL).url
    html = office.get(address, headers={"HX-Request": "true", "HX-Target": "trial"}).content.decode()
    assert html.strip().startswith('<div id="trial"')


def test_it_says_why_a_model_does_not_answer(office, sent):
    address = office.post(TEST, {**MODEL, "provider": "ollama", "parameters": "{}"}).url
    trials.answer(sent[0])
    assert "No model is chosen" in office.get(address).content.decode()


def test_what_cannot_work_is_not_asked(office, sent):
    response = office.post(TEST, {**MODEL, "parameters": '{"delay": 1}'})
    assert response.status_code == 422
    assert "There is no parameter delay" in response.content.decode()
    response = office.post(TEST, {**MODEL, "runtime": "agentcore"})
    assert "Save it, then chat with it" in response.content.decode()
    assert not sent


def test_it_says_that_no_worker_came(office, sent, monkeypatch):
    address = office.post(TEST, MODEL).url
    late = time.time() + trials.WAITS + 1
    monkeypatch.setattr(time, "time", lambda: late)
    page = office.get(address).content.decode()
    assert "No worker has taken this up" in page
    assert "hx-get" not in page


def test_a_second_worker_does_not_ask_again(office, sent):
    office.post(TEST, MODEL)
    trial = sent[0]
    trials.answer(trial)
    kept = json.dumps(caches["shared"].get(trials._key(trial)))
    trials.answer(trial)
    assert json.dumps(caches["shared"].get(trials._key(trial))) == kept


def test_a_trial_is_its_owners_alone(office, sent):
    address = office.post(TEST, MODEL).url
    other = User.objects.create_user("remy2", is_staff=True)
    other.groups.set(User.objects.get(username="admin").groups.all())
    client = Client()
    client.force_login(other)
    assert client.get(address).status_code == 404


@pytest.mark.parametrize("who", ["alice", "rita"])
def test_it_is_for_those_who_may_change_agents(sent, who):
    client = Client()
    client.force_login(User.objects.get(username=who))
    assert client.post(TEST, MODEL).status_code in (302, 403)
    assert not sent


def test_only_a_post_with_a_token_asks(office, admin, sent):
    assert office.get(TEST).status_code == 302
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin)
    assert strict.post(TEST, MODEL).status_code == 403
    assert not sent


def test_the_button_stands_in_the_form(office, agent):
    html = office.get(reverse("admin:agents_agent_change", args=[agent.pk])).content.decode()
    assert f'formaction="{TEST}" formtarget="_blank" formnovalidate' in html


def test_it_says_so_where_redis_is_away(office, settings, sent, tmp_path):
    redis = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"unix://{tmp_path}/none"}
    settings.CACHES = {**settings.CACHES, "shared": redis}
    response = office.post(TEST, MODEL)
    assert response.status_code == 503
    assert "Redis does not answer" in response.content.decode()
    assert not sent
