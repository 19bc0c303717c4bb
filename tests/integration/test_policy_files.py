"""Policies as a file: what is imported is what is there, and what is exported is imported to the same."""

from __future__ import annotations

import io
import json
from datetime import timedelta

import jsonschema
import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from approvals.models import AuditEntry, ToolPolicy
from approvals.policy_files import BadPolicyFile, Entry, read, write
from approvals.policy_files.read import schema
from approvals.sentences import sentence
from approvals.states import Effect, Notify, Risk

CONTRACT = """
policies:
  - name: Ask finance before large invoices
    tool: pay_invoice            # exact name or glob
    effect: ask                  # allow | ask | always_ask | block
    agent: assistant             # optional
    when: args.amount > 1000     # optional, CEL
    groups: [reviewers]          # who may decide; all below are optional, for ask and always_ask
    quorum: 1
    requester_may_decide: false
    open_for: 24h
    executable_for: 15m
    risk: high                   # low | medium | high
    confirm: confirm             # a word the reviewer must type
    trust: {expires_in: 8h, max_uses: 20}
"""


@pytest.fixture
def policies(tmp_path, desk):
    """policies("import", text, "--dry-run"): (what it prints, what it warns of)."""

    def run(what, text=None, *options):
        file = tmp_path / "policies.yaml"
        if text is not None:
            file.write_text(text)
        out, err = io.StringIO(), io.StringIO()
        call_command(
            "policies", what, *([str(file)] if text is not None else []), *options, stdout=out, stderr=err
        )
        return out.getvalue(), err.getvalue()

    return run


def changes():
    return AuditEntry.objects.filter(kind="policy.changed").order_by("seq")


def test_it_takes_the_file_of_the_contract(policies):
    said, noted = policies("import", CONTRACT)
    policy = ToolPolicy.objects.get()
    assert (policy.tool, policy.when, policy.quorum, policy.risk) == (
        "pay_invoice",
        "args.amount > 1000",
        1,
        "high",
    )
    assert (policy.open_for, policy.executable_for) == (timedelta(hours=24), timedelta(minutes=15))
    assert (policy.confirm, policy.trust_max_uses) == ("confirm", 20)
    assert [group.name for group in policy.groups.all()] == ["reviewers"]
    assert said.splitlines()[-1] == "Added 1, changed 0, removed 5."
    assert "Note on “Ask finance before large invoices”: No known tool is named “pay_invoice”" in noted


def test_to_import_it_again_changes_nothing(policies):
    policies("import", CONTRACT)
    before = changes().count(), ToolPolicy.objects.get().pk
    said, _ = policies("import", CONTRACT)
    assert said == "Nothing to change.\n"
    assert (changes().count(), ToolPolicy.objects.get().pk) == before


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_what_it_exports_is_imported_to_the_same(policies, option):
    policies("import", CONTRACT)
    exported, _ = policies("export", None, *option)
    assert policies("import", exported)[0] == "Nothing to change.\n"
    data = json.loads(exported) if option else None
    if data:
        jsonschema.validate(data, schema())


def test_what_the_documentation_shows_can_be_added_to_an_export(policies):
    policies("import", CONTRACT)
    added = "  - name: Reading is free\n    tool: read_file\n    effect: allow\n"
    assert policies("import", policies("export")[0] + added)[0].endswith("Added 1, changed 0, removed 0.\n")


def test_a_dry_run_says_what_would_change_and_changes_nothing(policies):
    before = changes().count(), list(ToolPolicy.objects.values())
    said, _ = policies(
        "import",
        "policies:\n- {name: Ask before mail goes out, tool: send_email, effect: ask, quorum: 2}\n"
        "- {name: New, tool: get_weather, effect: allow}\n",
        "--dry-run",
    )
    assert said.splitlines() == [
        "- Always ask before files are deleted: Always ask reviewers before delete_files",
        "- Listing files is free: Allow list_files",
        "- Reading files is free: Allow read_file",
        "- Weather is free: Allow get_weather",
        "~ Ask before mail goes out: Ask two of reviewers before send_email",
        "    quorum: 1 → 2",
        "+ New: Allow get_weather",
        "Would add 1, change 1, remove 4.",
    ]
    assert (changes().count(), list(ToolPolicy.objects.values())) == before


def test_each_change_is_audited_with_before_and_after(policies):
    policies("import", "policies:\n- {name: Ask before mail goes out, tool: send_email, effect: block}\n")
    data = {entry.data["before"] and entry.data["before"]["name"]: entry.data for entry in changes()}
    changed = data["Ask before mail goes out"]
    assert (changed["before"]["effect"], changed["after"]["effect"]) == ("ask", "block")
    assert data["Weather is free"]["after"] is None
    assert {entry.actor for entry in changes().order_by("-seq")[:5]} == {"manage.py"}


def test_a_group_that_there_is_not_changes_nothing(policies):
    before = list(ToolPolicy.objects.values())
    with pytest.raises(CommandError, match=r"Pay: there is no group “finance”\. There are: administrators,"):
        policies("import", "policies:\n- {name: Pay, tool: pay, effect: ask, groups: [finance]}\n")
    assert list(ToolPolicy.objects.values()) == before


def test_it_keeps_groups_apart(policies):
    Group.objects.create(name="finance")
    text = "policies:\n- {name: Pay, tool: send_email, effect: ask, groups: [reviewers, finance]}\n"
    policies("import", text)
    assert policies("import", text)[0] == "Nothing to change.\n"
    said, _ = policies("import", text.replace("reviewers, ", ""))
    assert "    groups: finance, reviewers → finance" in said


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "The file is empty"),
        ("[1]", "line 1: [1] is not of type 'object'"),
        ("{}", "line 1: "),
        ("policies: []\nrules: []", "line 2: there is no field “rules”. There are: policies, allowed_tools."),
        ("allowed_tools: [*]", 'Patterns such as "*" and "!delete_files" stand in quotes.'),
        ("allowed_tools: [!x]", "stand in quotes"),
        ('allowed_tools: ["!"]', "line 1: '!' does not match"),
        ('allowed_tools: ["a b"]', "'a b' does not match"),
        ("policies:\n- {name: a, tool: x, effect: nope}", "line 2: effect: 'nope' is not one of"),
        ("policies:\n- {name: a, tool: x}", "line 2: 'effect' is a required property"),
        (
            "policies:\n- name: a\n  tool: x\n  effect: ask\n  open_for: 5y",
            "line 5: open_for: “5y” is no duration",
        ),
        (
            "policies:\n- {name: a, tool: x, effect: ask, open_for: 900d}",
            "line 2: A duration has to be longer",
        ),
        (
            "policies:\n- name: a\n  tool: x\n  effect: ask\n  when: amount > 1",
            "line 5: when: It speaks of “amount”",
        ),
        ("policies:\n- name: a\n  tool: x\n  tool: y\n  effect: ask", "line 4: “tool” stands twice"),
        ("policies:\n- &a {name: a, tool: x, effect: ask}\n- *a", "line 3: there is an alias"),
        ("policies:\n- {name: a, tool: x, effect: ask}\n- {name: a, tool: y, effect: ask}", "the name “a”"),
        (
            "policies:\n- name: a\n  tool: x\n  effect: ask\n  quorom: 2",
            "line 5: there is no field “quorom”. Did you mean quorum?",
        ),
        ("policies:\n- {name: a, tool: x, effect: ask, quorum: 0}", "line 2: quorum: 0 is less than"),
        ("policies: !!python/object:os.system {}", "line 1: could not determine a constructor"),
        ('{"policies": [}', "line 1: "),
        ("a: b: c", "line 1: "),
        ("\0", "neither YAML nor JSON"),
        (
            "policies:\n- {name: a, tool: x, effect: ask, confirm: ' pay'}",
            "line 2: confirm: ' pay' does not match",
        ),
        ('policies:\n- {name: a, tool: x, effect: ask, confirm: "p\\0y"}', "confirm holds characters"),
        ('policies:\n- {name: "a\\u202eb", tool: x, effect: ask}', "name holds characters"),
        ("policies:\n- {name: a, tool: x, effect: ask, open_for: 0.5}", "open_for is at least one second"),
        ("policies:\n- {name: a, tool: x, effect: ask, trust: {max_uses: 0}}", "max_uses: 0 is less than"),
        ("[" * 5000, "The file is neither YAML nor JSON"),
    ],
)
def test_it_says_on_which_line_what_is_wrong(text, problem):
    with pytest.raises(BadPolicyFile) as bad:
        read(text)
    assert problem in str(bad.value)


def test_a_bad_file_changes_nothing(policies):
    before = list(ToolPolicy.objects.values())
    with pytest.raises(CommandError, match="was not imported"):
        policies("import", "policies:\n- {name: a, tool: x, effect: ask}\n- {name: b}\n")
    assert list(ToolPolicy.objects.values()) == before


def test_a_file_that_is_not_there_is_no_trace(desk):
    with pytest.raises(CommandError, match="can't be read: No such file"):
        call_command("policies", "import", "nowhere.yaml")


def test_it_prints_the_schema(policies):
    assert json.loads(policies("schema")[0]) == schema()
    jsonschema.Draft202012Validator.check_schema(schema())


def test_channels_are_a_list_in_any_order(policies):
    policies("import", "policies:\n- {name: a, tool: x, effect: ask, notify: [push, email]}\n")
    assert ToolPolicy.objects.get().notify == "email,push"
    assert "    notify:\n      - email\n      - push\n" in policies("export")[0]
    with pytest.raises(CommandError, match="was not imported"):
        policies("import", "policies:\n- {name: a, tool: x, effect: ask, notify: [fax]}\n")


durations = st.integers(1, 86_400 * 300).map(lambda seconds: timedelta(seconds=seconds))
words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20)
entries = st.builds(
    Entry,
    name=words,
    tool=words,
    effect=st.sampled_from([each.value for each in Effect]),
    agent=st.just("") | words,
    when=st.sampled_from(["", "args.amount > 1000", 'args.to == "x: #y"', "args.a > 1 &&\n  args.b"]),
    enabled=st.booleans(),
    groups=st.sets(words, max_size=3).map(lambda names: tuple(sorted(names))),
    quorum=st.integers(1, 20),
    open_for=durations,
    executable_for=durations,
    risk=st.sampled_from(["", *(each.value for each in Risk)]),
    confirm=st.just("") | words,
    justify=st.booleans(),
    trust_expires_in=durations,
    trust_max_uses=st.none() | st.integers(1, 1000),
    requester_may_trust=st.booleans(),
    notify=st.sampled_from(["", *Notify.values]),
)


@given(st.lists(entries, max_size=4, unique_by=lambda entry: entry.name), st.booleans())
def test_what_is_written_is_read_as_the_same(some, as_json):
    assert read(write(some, as_json=as_json)) == some


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (Entry("a", "get_weather", "allow"), "Allow get_weather"),
        (Entry("a", "*", "allow", agent="clerk"), "Allow every tool for the agent clerk"),
        (Entry("a", "rm_*", "block", provider="mcp"), "Block rm_* of mcp"),
        (
            Entry("a", "pay", "ask", groups=("finance",), quorum=2, when="args.amount > 1000"),
            "Ask two of finance before pay, when args.amount > 1000",
        ),
        (
            Entry("a", "pay", "always_ask", confirm="pay", justify=True, requester_may_decide=True),
            "Always ask reviewers before pay; who type “pay”; who say why; the requester included",
        ),
        (
            Entry("a", "pay", "ask", notify="email,push"),
            "Ask reviewers before pay; told by e-mail and by push",
        ),
    ],
)
def test_it_says_what_a_policy_does(entry, said):
    assert sentence(entry) == said
