"""The scripted demo: what it understands, what it says, and how it streams."""

import string
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strands import Agent, tool

from agents import providers
from agents.providers.demo import DemoModel, Outcome, answer, plan, report
from agents.providers.problems import ModelProblem

ALL = ["send_email", "delete_files", "get_weather", "list_files", "read_file"]


def user(*texts):
    return {"role": "user", "content": [{"text": text} for text in texts]}


def called(*uses):
    blocks = [
        {"toolUse": {"toolUseId": f"t{n}", "name": name, "input": given}}
        for n, (name, given) in enumerate(uses)
    ]
    return {"role": "assistant", "content": [{"text": "I will."}, *blocks]}


def results(*texts, status="success"):
    blocks = [
        {"toolResult": {"toolUseId": f"t{n}", "status": status, "content": [{"text": text}]}}
        for n, text in enumerate(texts)
    ]
    return {"role": "user", "content": blocks}


def recipients(text):
    return [arguments["to"] for name, arguments in plan(text) if name == "send_email"]


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("what is the weather in Brno", [("get_weather", {"city": "Brno"})]),
        ("What's the weather like in São Paulo today?", [("get_weather", {"city": "São Paulo"})]),
        ("How is the weather?", [("get_weather", {})]),
        ("weather", [("get_weather", {})]),
        (
            "weather in Brno and Prague",
            [("get_weather", {"city": "Brno"}), ("get_weather", {"city": "Prague"})],
        ),
        ("list the files", [("list_files", {})]),
        ("List the files in the workspace.", [("list_files", {})]),
        ("what files are in reports", [("list_files", {"folder": "reports"})]),
        ("show me the files in the reports folder", [("list_files", {"folder": "reports"})]),
        ("list reports", [("list_files", {"folder": "reports"})]),
        ("read notes.txt", [("read_file", {"path": "notes.txt"})]),
        ("Please read reports/2025-q4.txt.", [("read_file", {"path": "reports/2025-q4.txt"})]),
        ("what is in notes.txt?", [("read_file", {"path": "notes.txt"})]),
        ('read "my notes.txt"', [("read_file", {"path": "my notes.txt"})]),
        ("read ../secret", [("read_file", {"path": "../secret"})]),
        (
            "read notes.txt and tmp/old.log",
            [("read_file", {"path": p}) for p in ("notes.txt", "tmp/old.log")],
        ),
        ("delete tmp/old.log and notes.txt", [("delete_files", {"paths": ["tmp/old.log", "notes.txt"]})]),
        ("delete the temp files", [("delete_files", {"paths": ["tmp/old.log"]})]),
        ("Delete the temp files.", [("delete_files", {"paths": ["tmp/old.log"]})]),
        ("delete /etc/passwd", [("delete_files", {"paths": ["/etc/passwd"]})]),
        ("loop weather", [("get_weather", {})]),
        (
            "show me the files and the weather in Brno",
            [("list_files", {}), ("get_weather", {"city": "Brno"})],
        ),
        (
            "Read notes.txt, then delete tmp/old.log. What is the weather?",
            [
                ("read_file", {"path": "notes.txt"}),
                ("delete_files", {"paths": ["tmp/old.log"]}),
                ("get_weather", {}),
            ],
        ),
        ("delete everything", []),
        ("send an email about the launch", []),
        ("hello", []),
        ("", []),
    ],
)
def test_plan_understands(text, calls):
    assert plan(text) == calls


@pytest.mark.parametrize(
    ("text", "to"),
    [
        (
            "Please send an email to dev@example.com asking which features will be in the launch",
            ["dev@example.com"],
        ),
        ("email a@example.com and b@example.com about the launch", ["a@example.com", "b@example.com"]),
        ("send a@x.org and b@y.org an e-mail that we ship and the docs are late", ["a@x.org", "b@y.org"]),
        ("send an email about the launch to a@x.org, b@y.org and c@z.org", ["a@x.org", "b@y.org", "c@z.org"]),
        ("email a@x.org about the launch, and also b@y.org", ["a@x.org", "b@y.org"]),
        ("email a@x.org about X, b@y.org about Y and c@z.org about Z", ["a@x.org", "b@y.org", "c@z.org"]),
        ("Hi! Can you tell dev@example.com that the export works?", ["dev@example.com"]),
        ("Hey you there write an email to o'brien@x.org", ["o'brien@x.org"]),
        ("e-mail žofie@příklad.cz about lunch", ["žofie@příklad.cz"]),
        ("email <a+b@x.co.uk>.", ["a+b@x.co.uk"]),
        ("email A@x.org and a@x.org about lunch", ["A@x.org"]),
        ("email a@x.org asking whether to contact b@y.org and c@z.org", ["a@x.org"]),
        ('email a@x.org saying "write to b@y.org. Delete the temp files"', ["a@x.org"]),
        ("email a@x.org@evil.com", []),
        ("read notes.txt for dev@example.com", []),
    ],
)
def test_plan_finds_the_recipients(text, to):
    assert recipients(text) == to


LOCAL = st.text(string.ascii_lowercase + string.digits + "._+-'", min_size=1, max_size=12).filter(
    lambda text: text[0].isalnum() and text[-1].isalnum()
)
DOMAIN = st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=8), min_size=1, max_size=3)
ADDRESSES = st.lists(
    st.builds(lambda local, domain: f"{local}@{'.'.join(domain)}", LOCAL, DOMAIN),
    min_size=1,
    max_size=5,
    unique=True,
)
SHAPES = ["email {} about the launch", "Send an e-mail to {}.", "send {} an email that it is done", "mail {}"]


@given(ADDRESSES, st.sampled_from(SHAPES), st.sampled_from([" and ", ", ", "; ", ", and "]))
def test_plan_never_loses_or_invents_an_address(addresses, shape, joiner):
    assert recipients(shape.format(joiner.join(addresses))) == addresses


@given(st.text(max_size=200))
def test_plan_takes_any_text(text):
    assert all(arguments.get("to", "") in text for _, arguments in plan(text))


def test_plan_is_fast_on_long_texts():
    started = time.monotonic()
    for text in (
        "and show " * 5000,
        "email " * 8000,
        "a@" * 20000,
        "delete a/" * 5000,
        '"' * 40000,
        "a." * 20000,
    ):
        plan(text)
    assert time.monotonic() - started < 10


def test_it_calls_several_tools_in_one_turn():
    said = answer([user("email dev@example.com about the launch and what is the weather in Brno?")], ALL)
    assert [name for name, _ in said.calls] == ["send_email", "get_weather"]
    assert said.text.endswith("I will draft the e-mail and look up the weather in Brno.")


@pytest.mark.parametrize(
    ("text", "subject", "sentence"),
    [
        (
            "email a@x.org asking which features will be in the launch",
            "Which features will be in the launch?",
            "I would like to ask which features will be in the launch.",
        ),
        ("email a@x.org about the launch.", "The launch", "I am writing about the launch."),
        ("tell a@x.org that it works", "It works", "I would like to let you know that it works."),
        ("remind a@x.org to send it", "Send it", "I would like to remind you to send it."),
        ("ask a@x.org whether they come", "Question: they come", "I would like to ask whether they come."),
        ("email a@x.org to confirm lunch", "Confirm lunch", "I am writing to confirm lunch."),
        ("Please email a@x.org, thanks!", "Hello", "I would like to get in touch with you."),
        ("email a@x.org about lunch, please.", "Lunch", "I am writing about lunch."),
        ("email a@x.org", "Hello", "I would like to get in touch with you."),
    ],
)
def test_it_drafts_an_email(text, subject, sentence):
    ((_, arguments),) = plan(text)
    assert arguments["subject"] == subject
    assert arguments["body"].startswith(f"Hello,\n\n{sentence}")
    assert arguments["body"].endswith("\n\nBest regards")


def test_it_takes_subject_and_body_that_are_given():
    ((_, arguments),) = plan("Send an email.\nTo: a@x.org\nSubject: Hi there\nBody: One\nTwo")
    assert arguments == {"to": "a@x.org", "subject": "Hi there", "body": "One\nTwo"}
    ((_, arguments),) = plan('email a@x.org saying "Exactly this."')
    assert arguments["body"] == "Exactly this."


def test_a_long_subject_is_cut():
    ((_, arguments),) = plan("email a@x.org about " + "a very long story " * 10)
    assert len(arguments["subject"]) <= 71
    assert arguments["subject"].endswith("…")


def test_it_says_once_that_it_is_no_ai():
    first = answer([user("what is the weather in Brno")], ALL)
    assert first.text.startswith("I am a scripted demo, not an AI:")
    call = called(("get_weather", {"city": "Brno"}))
    later = answer([user("what is the weather in Brno"), call, results("sunny, 21 °C in Brno")], ALL)
    assert "not an AI" not in later.text
    assert "sunny, 21 °C in Brno" in later.text
    assert later.calls == []


def test_it_uses_only_tools_that_it_has():
    said = answer([user("email a@x.org about lunch and what is the weather?")], ["get_weather"])
    assert [name for name, _ in said.calls] == ["get_weather"]
    assert "I have no tool called send_email" in said.text
    assert answer([user("delete notes.txt")], []).calls == []


def test_it_says_what_it_can_do():
    said = answer([user("sing a song")], ["get_weather", "read_file"])
    assert said.calls == []
    assert "What is the weather in Brno?" in said.text
    assert "Read notes.txt" in said.text
    assert "email" not in said.text


def test_it_asks_whom_to_write_to():
    said = answer([user("send an email about lunch")], ALL)
    assert said.calls == []
    assert "Whom should I write to?" in said.text


def test_new_words_after_results_win():
    message = results("Cancelled: the run was stopped.", status="error")
    message["content"].append({"text": "what is the weather in Brno"})
    said = answer([user("email a@x.org"), called(("send_email", {"to": "a@x.org"})), message], ALL)
    assert said.calls == [("get_weather", {"city": "Brno"})]


def test_words_before_results_are_no_request():
    message = results("sunny")
    message["content"].insert(0, {"text": "delete notes.txt"})
    said = answer([user("weather"), called(("get_weather", {})), message], ALL)
    assert said.calls == []
    assert "sunny" in said.text


def test_loop_weather_never_ends():
    messages = [user("loop weather")]
    for _ in range(5):
        said = answer(messages, ALL)
        assert said.calls == [("get_weather", {})]
        messages += [called(*said.calls), results("sunny")]
    messages += [user("stop")]
    assert answer(messages, ALL).calls == []


EMAIL = {"to": "dev@example.com", "subject": "Launch", "body": "…"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Denied by rita. Reason: not on a Friday", ["denied by rita", "Reason: not on a Friday"]),
        ("Denied by j. smith. Reason: a. Reason: b", ["denied by j. smith,", "Reason: a. Reason: b"]),
        ("Denied by rita: reason too early", ["denied by rita", "too early"]),
        (
            "Denied by rita. Reason: too early Nothing was done. Do not try the same again.",
            ["denied by rita", "Reason: too early"],
        ),
        (
            "Denied by rita. Reason:  Nothing was done. Do not try the same again.",
            ["denied by rita", "No reason"],
        ),
        ("Denied by rita.", ["denied by rita,", "No reason"]),
        ('Blocked by policy "No mail".', ['policy "No mail" does not allow']),
        ("Blocked by policy “No mail”. Nothing was done.", ["policy “No mail” does not allow"]),
        ("Expired: nobody decided in time. Nothing was done.", ["has expired: nobody decided in time."]),
        ("Cancelled: alice stopped the run.", ["was cancelled: alice stopped the run."]),
        ("Invalid arguments: The argument to is missing.", ["not valid: The argument to is missing."]),
        ("Unknown outcome: the worker died.", ["I do not know what became of", "the worker died."]),
        ("The tool failed: the server is down", ["failed: the server is down"]),
        ("Something else {braces}", ["I could not send it: Something else {braces}"]),
        ("", ["does not say why"]),
    ],
)
def test_it_never_reports_an_error_as_done(text, parts):
    said = report([Outcome("send_email", text, failed=True, arguments=EMAIL)])
    for part in parts:
        assert part in said
    assert "Done" not in said
    assert "Email sent" not in said
    assert "same again" not in said


def test_it_does_not_try_again_after_invalid_arguments():
    call = called(("send_email", EMAIL))
    message = results("Invalid arguments: The argument to is missing.", status="error")
    assert answer([user("email dev@example.com"), call, message], ALL).calls == []


def test_it_reports_what_the_results_say():
    said = report(
        [
            Outcome("send_email", 'Email sent to other@example.com with subject "X"', arguments=EMAIL),
            Outcome("delete_files", "Deleted notes.txt."),
            Outcome("get_weather", "sunny"),
            Outcome("list_files", "a.txt\nb.txt"),
            Outcome("read_file", "text with ``` in it"),
            Outcome("pay", '{"ok": true}'),
            Outcome("get_weather", "Denied by rita. Reason: rain", failed=True, arguments={"city": "Brno"}),
        ]
    )
    assert 'Done. Email sent to other@example.com with subject "X".' in said
    assert "dev@example.com" not in said, "a reviewer may have edited what ran"
    assert "Done. Deleted notes.txt." in said
    assert "- a.txt\n- b.txt" in said
    assert "````\ntext with ``` in it\n````" in said
    assert "The answer of pay:" in said
    assert "The weather in Brno was denied by rita" in said


def test_it_tells_that_a_reviewer_changed_something_and_not_the_json():
    note = 'A reviewer changed the arguments before it ran: {"to": "b@x.org"}'
    told = "A reviewer changed what I had asked for.\n\n"
    sent = Outcome("send_email", f'{note}\nEmail sent to b@x.org with subject "X"', arguments=EMAIL)
    assert report([sent]) == f'{told}Done. Email sent to b@x.org with subject "X".'
    failed = Outcome("send_email", f"{note}\nThe tool failed: no server", failed=True, arguments=EMAIL)
    assert report([failed]) == f"{told}I tried to send it, but it failed: no server"
    assert report([Outcome("list_files", f"{note}\na.txt")]) == f"{told}The files:\n\n- a.txt"


def test_a_result_without_a_status_may_be_an_error():
    message = results("Denied by rita. Reason: no", "sunny")
    for block in message["content"]:
        del block["toolResult"]["status"]
    call = called(("send_email", EMAIL), ("get_weather", {}))
    said = answer([user("email dev@example.com and weather"), call, message], ALL)
    assert "denied by rita" in said.text
    assert "The weather (demo data): sunny." in said.text


def test_a_result_whose_call_is_gone_and_json():
    message = {
        "role": "user",
        "content": [
            {"toolResult": {"toolUseId": "?", "status": "success", "content": [{"json": {"a": "ž"}}]}}
        ],
    }
    assert '{"a": "ž"}' in answer([called(), message], ALL).text


async def stream(text, model, **kwargs):
    specs = [{"name": name, "description": name, "inputSchema": {"json": {}}} for name in ALL]
    return [event async for event in model.stream([user(text)], specs, **kwargs)]


async def test_it_streams_word_by_word():
    events = await stream("what is the weather in Brno", providers.build("demo", "", {"delay_ms": 0}))
    assert events[0] == {"messageStart": {"role": "assistant"}}
    assert events[-1] == {"messageStop": {"stopReason": "tool_use"}}
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    words = [delta["text"] for delta in deltas if "text" in delta]
    assert len(words) > 10
    assert "".join(words) == answer([user("what is the weather in Brno")], ALL).text
    assert "".join(delta["toolUse"]["input"] for delta in deltas if "toolUse" in delta) == '{"city": "Brno"}'


async def test_it_takes_its_time():
    started = time.monotonic()
    await stream("hello", DemoModel(delay_ms=5))
    assert time.monotonic() - started > 0.1


async def test_it_stops_when_told_to():
    signal = threading.Event()
    signal.set()
    assert await stream("hello", DemoModel(delay_ms=0), cancel_signal=signal) == []


def test_it_refuses_unknown_parameters():
    with pytest.raises(ModelProblem, match="no parameter speed") as caught:
        providers.build("demo", "", {"speed": 1})
    assert caught.value.code == "bad_parameters"
    with pytest.raises(ModelProblem, match="delay_ms"):
        providers.build("demo", "", {"delay_ms": -1})


async def test_a_strands_agent_runs_on_it():
    cities = []

    @tool
    def get_weather(city: str) -> str:
        """The weather."""
        cities.append(city)
        return f"sunny in {city}"

    agent = Agent(model=DemoModel(delay_ms=0), tools=[get_weather], callback_handler=None)
    result = await agent.invoke_async("what is the weather in Brno and Prague?")
    assert sorted(cities) == ["Brno", "Prague"]
    assert "sunny in Brno" in str(result)
    uses = [
        block["toolUse"] for message in agent.messages for block in message["content"] if "toolUse" in block
    ]
    ids = [use["toolUseId"] for use in uses]
    assert all(each.startswith("tooluse_") and len(each) == 40 for each in ids)
    assert len(set(ids)) == 2
    again = await agent.invoke_async("and now?")
    assert "not an AI" not in str(again)


def test_it_reads_no_more_than_a_script_needs():
    assert plan("What is the weather in Brno?")
    assert plan("nothing " * 250 + "What is the weather in Brno?") == []
