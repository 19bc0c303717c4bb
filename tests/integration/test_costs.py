"""What a model cost is kept with the run, and shown where people look."""

import time

import pytest
from django.test import Client

from agents.actions import runs
from agents.models import Run
from agents.states import RunStatus
from tests.desk import approve, asks, chat, claim, last_run, pending, say, work
from tests.fakes.model import Meanwhile, Spends, Use


@pytest.fixture(autouse=True)
def people(desk):
    """The demo's."""


def told(run):
    return {name: getattr(run, name) for name in runs.COSTS if name != "model_ms"}


def page_of(user, session):
    client = Client()
    client.force_login(user)
    return client.get(f"/chat/{session.pk}/").content.decode()


def test_it_adds_up_what_each_question_cost(model, alice, rita):
    model.play(
        [asks(), Spends(100, 20, cache_read=1000, cache_write=50)], ["Sent.", Spends(130, 5, cache_read=1050)]
    )
    session = chat(alice)
    run = last_run(session)
    assert run.status == RunStatus.WAITING
    assert told(run) == {
        "input_tokens": 100, "output_tokens": 20, "cache_read_tokens": 1000, "cache_write_tokens": 50
    }  # fmt: skip
    assert "tokens in" not in page_of(alice, session), "it is not over"
    approve(pending(session), rita)
    work()
    run.refresh_from_db()
    assert told(run) == {
        "input_tokens": 230, "output_tokens": 25, "cache_read_tokens": 2050, "cache_write_tokens": 50
    }  # fmt: skip
    assert "2,330 tokens in (2,050 from the cache), 25 out · " in page_of(alice, session)


def test_a_run_that_fails_keeps_what_it_cost(model, alice):
    model.play([Use("get_weather", {"city": "Brno"}), Spends(10, 3)], [Spends(14, 1), RuntimeError("broken")])
    session = chat(alice)
    assert last_run(session).status == RunStatus.FAILED
    assert told(last_run(session))["input_tokens"] == 24
    assert "24 tokens in, 4 out" in page_of(alice, session)


def test_a_run_that_is_stopped_keeps_what_it_cost(model, alice):
    session = say(alice)

    def stop():
        assert runs.stop(last_run(session), "alice")

    model.play(["Going on…", Spends(10, 3), Meanwhile(stop)])
    work()
    assert last_run(session).status == RunStatus.STOPPED
    assert told(last_run(session))["input_tokens"] == 10


def test_a_worker_that_lost_its_run_changes_no_figures(model, alice):
    session = say(alice)
    lost = claim(last_run(session))
    Run.objects.update(epoch=5, claim="another", status=RunStatus.STOPPED, input_tokens=77)
    lost.input_tokens = 5
    runs.keep_cost(lost)
    assert last_run(session).input_tokens == 77


def test_a_step_that_starts_a_tool_stores_what_the_model_cost(model, alice):
    """A worker may be killed at any time later."""
    session = say(alice)
    seen = []
    model.play(
        [Use("get_weather", {"city": "Brno"}), Spends(10, 3)],
        [Meanwhile(lambda: seen.append(last_run(session).input_tokens)), "Sunny."],
    )
    work()
    assert seen == [10]


def test_what_tells_of_no_tokens_shows_none(model, alice):
    model.play("Hello.")
    session = chat(alice)
    assert last_run(session).model_ms == 0
    assert "tokens in" not in page_of(alice, session)


def test_the_api_and_the_lists_tell_it(model, alice, admin, remy, token):
    model.play(["Hello.", Spends(1200, 30, cache_read=40)])
    session = chat(alice)
    Run.objects.update(model_ms=2345)
    got = Client().get(f"/api/v1/sessions/{session.pk}", headers=token(alice, "chat")).json()
    assert got["usage"] == {
        "input_tokens": 1200, "output_tokens": 30, "cache_read_tokens": 40, "cache_write_tokens": 0, "model_ms": 2345
    }  # fmt: skip
    office = Client()
    office.force_login(admin)
    assert (
        "1,240 tokens in (40 from the cache), 30 out · 2.3 s"
        in office.get("/admin/agents/run/").content.decode()
    )
    html = " ".join(office.get("/insights/").content.decode().split())
    row = "<td>1</td><td>1,240</td><td>40</td><td>30</td><td>2.3 s</td><td>2.3 s</td>"
    assert row in html
    assert row not in " ".join(office.get("/insights/?tool=send_email").content.decode().split())
    assert row not in " ".join(office.get("/insights/?agent=nobody").content.decode().split())


def test_those_who_do_not_see_every_call_see_no_figures_of_models(model, alice, rita):
    model.play(["Hello.", Spends(1200, 30)])
    chat(alice)
    client = Client()
    client.force_login(rita)
    assert 'id="models"' not in client.get("/insights/").content.decode()


def test_the_time_of_tools_and_of_people_is_not_the_models(model, alice, rita, add_tool):
    def ponder() -> str:
        """Takes its time."""
        time.sleep(0.4)
        return "done"

    add_tool(ponder, effect="ask")
    model.play([Use("ponder", {}), Spends(10, 3)], ["Done.", Spends(14, 1)])
    session = chat(alice)
    approve(pending(session), rita)
    work()
    assert 0 <= last_run(session).model_ms < 400


def test_a_server_that_talks_nonsense_breaks_no_run(model, alice):
    model.play(["Hello.", Spends(10**30, -5)])
    run = last_run(chat(alice))
    assert run.status == RunStatus.DONE
    assert (run.input_tokens, run.output_tokens) == (10**9, 0)


def test_the_list_of_runs_shows_what_deceives_in_a_title(model, alice, admin):
    model.play("I see.")
    chat(alice, "Send it to \u202emoc.elpmaxe@ved")
    office = Client()
    office.force_login(admin)
    page = office.get("/admin/agents/run/").content.decode()
    assert '<td class="field-chat">Send it to ‹U+202E›moc.elpmaxe@ved</td>' in page
