"""agentcore.json: what it may say, and that nothing that it says is lost or secret."""

import json
from dataclasses import replace

import pytest

from hitl_site.agentcore import policies, role, rules
from hitl_site.agentcore.aws import sentence
from hitl_site.agentcore.calls import Call, check, session
from hitl_site.agentcore.config import Config, load, save
from hitl_site.agentcore.configure import configure
from hitl_site.agentcore.trouble import Trouble


def good(**change):
    return replace(Config("desk", "us-east-1", "0" * 32), **change)


NOTHING_SAID = dict.fromkeys(
    [
        *("name", "region", "role", "image", "bucket", "python", "idle_timeout", "max_lifetime"),
        *("model", "env", "remove_env", "subnet", "security_group"),
    ]
)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "my-desk"}, "“my-desk” is no name for a runtime. It takes letters, digits and _"),
        ({"name": "d" * 49}, "48 at most"),
        ({"region": "moon"}, "“moon” is no AWS region. It takes one such as us-east-1"),
        ({"role": "NodRole"}, "is no role. It takes arn:aws:iam::ACCOUNT:role/NAME"),
        ({"image": "docker.io/nod:1"}, "It takes one in Amazon ECR"),
        ({"bucket": "My_Bucket"}, "is no name for a bucket. It takes 3 to 63 lower-case letters"),
        ({"bucket": "my..bucket"}, "two dots follow each other"),
        ({"python": "3.14"}, "It takes one of: 3.11, 3.12, 3.13"),
        ({"models": []}, "is no model"),
        ({"models": ["a b"]}, "“a b” is no model"),
        ({"subnets": ["subnet-01234567"]}, "at least one --subnet and one --security-group"),
        ({"subnets": ["net"], "security_groups": ["sg-01234567"]}, "is no subnet"),
        ({"subnets": ["subnet-01234567"], "security_groups": ["sg"]}, "is no security group"),
        ({"idle_timeout": 59}, "The idle timeout is 59 seconds. It takes 60 to 1209600"),
        ({"idle_timeout": 900, "max_lifetime": 600}, "longer than the lifetime"),
        ({"env": {"1A": "x"}}, "“1A” is no name for an environment variable"),
        (
            {"env": {"OPENAI_API_KEY": "sk-1"}},
            "OPENAI_API_KEY looks like a secret.* --env OPENAI_API_KEY without a value",
        ),
        ({"env": {"EMAIL_URL": "smtp://nod:hush@mail"}}, "EMAIL_URL looks like a secret"),
        ({"env": {"A": "x" * 5001}}, "A has 5001 characters"),
        ({"env": {f"A{number}": "" for number in range(51)}}, "50 environment variables at most"),
    ],
)
def test_it_says_in_a_line_what_is_wrong(change, said):
    rules.check(good())

    with pytest.raises(Trouble, match=said) as trouble:
        rules.check(good(**change))

    assert "\n" not in str(trouble.value)


def test_its_patterns_are_those_of_aws():
    model = session().get_service_model("bedrock-agentcore-control")
    create = model.operation_model("CreateAgentRuntime").input_shape.members
    network = create["networkConfiguration"].members["networkModeConfig"].members
    artifact = create["agentRuntimeArtifact"].members
    assert create["agentRuntimeName"].metadata["pattern"] == rules.NAME
    assert create["roleArn"].metadata["pattern"] == rules.ROLE
    assert artifact["containerConfiguration"].members["containerUri"].metadata["pattern"] == rules.IMAGE
    code = artifact["codeConfiguration"].members
    assert code["code"].members["s3"].members["bucket"].metadata["pattern"] == rules.BUCKET
    assert network["subnets"].member.metadata["pattern"] == rules.SUBNET
    assert network["securityGroups"].member.metadata["pattern"] == rules.SECURITY_GROUP
    idle = create["lifecycleConfiguration"].members["idleRuntimeSessionTimeout"].metadata
    assert (idle["min"], idle["max"]) == (rules.SECONDS[0], rules.SECONDS[-1])


def test_it_refuses_calls_that_aws_would_not_take():
    good = {"agentRuntimeId": "desk-AbCdEf1234"}
    check(Call("bedrock-agentcore-control", "GetAgentRuntime", good))
    for bad in ({}, {"agentRuntimeId": 1}, {**good, "more": "x"}, {"agentRuntimeId": "desk"}):
        with pytest.raises(Trouble, match="AWS would not take bedrock-agentcore-control:GetAgentRuntime"):
            check(Call("bedrock-agentcore-control", "GetAgentRuntime", bad))
    with pytest.raises(Trouble, match="none of private"):
        check(Call("s3", "CreateBucket", {"Bucket": "desk", "ACL": "open"}))


def test_it_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "deep" / "agentcore.json"
    config = good(env={"LOG": "1", "KEY": None}, models=["*"])
    config.created.runtime_id = "desk-AbCdEf1234"

    save(path, config)

    assert load(path) == config
    assert [each.name for each in path.parent.iterdir()] == ["agentcore.json"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON"),
        ("[]", "does not look as"),
        ('{"name": "desk"}', "does not look as"),
        ('{"name": "desk", "region": "us-east-1", "more": 1}', "does not look as"),
        ('{"name": "desk", "region": "us-east-1", "models": "all"}', "does not look as"),
        ('{"name": "desk", "region": "us-east-1", "created": []}', "does not look as"),
    ],
)
def test_it_says_that_a_file_is_not_its_own(tmp_path, text, said):
    path = tmp_path / "agentcore.json"
    path.write_text(text)

    with pytest.raises(Trouble, match=said):
        load(path)

    assert path.read_text() == text


def test_a_file_that_cannot_be_read_or_written_is_told_of(tmp_path):
    assert load(tmp_path / "none") is None
    with pytest.raises(Trouble, match="can't be read"):
        load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(Trouble, match="can't be written.* --config"):
        save(tmp_path / "file" / "agentcore.json", good())


def test_configuring_anew_keeps_what_is_not_said(tmp_path):
    path = tmp_path / "agentcore.json"
    save(path, good(env={"A": "1", "B": "2"}, bucket="mine", idle_timeout=60))

    said = {"env": ["C=3=4", "D"], "remove_env": ["A"], "bucket": "new", "model": ["*"]}
    config = configure(path, {**NOTHING_SAID, **said}, None)

    assert config.env == {"B": "2", "C": "3=4", "D": None}
    assert (config.bucket, config.models, config.idle_timeout) == ("", ["*"], 60)
    assert config.deployment == good().deployment


def test_what_was_launched_keeps_its_name_and_place(tmp_path):
    path = tmp_path / "agentcore.json"
    config = good()
    config.created = replace(config.created, runtime_id="desk-AbCdEf1234", code_bucket="mine")
    save(path, config)

    for said in ({"name": "other"}, {"region": "eu-west-1"}, {"bucket": "yours"}):
        with pytest.raises(Trouble, match="was launched with .* Destroy that first"):
            configure(path, {**NOTHING_SAID, **said}, None)
    assert configure(path, {**NOTHING_SAID, "bucket": "mine"}, None).bucket == "mine"


def test_a_wrong_answer_is_asked_for_again(tmp_path):
    answers = iter(["my-desk", "desk", "moon", "eu-west-1", "new", "new", "*"])
    asked = []

    def ask(question, default):
        asked.append(question)
        return next(answers)

    config = configure(tmp_path / "agentcore.json", {**NOTHING_SAID, "image": "new"}, ask)

    assert (config.name, config.region, config.models) == ("desk", "eu-west-1", ["*"])
    assert asked[1].startswith("“my-desk” is no name") and asked[1].endswith("Name of the runtime")
    assert asked[3].startswith("“moon” is no AWS region")
    assert next(answers, None) is None


@pytest.mark.parametrize(
    ("model", "resources"),
    [
        ("amazon.nova-pro-v1:0", ["bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0"]),
        ("zai.glm-4.6", ["bedrock:us-east-1::foundation-model/zai.glm-4.6"]),
        (
            "eu.anthropic.claude-x",
            [
                "bedrock:us-east-1:1:inference-profile/eu.anthropic.claude-x",
                "bedrock:*::foundation-model/anthropic.claude-x",
            ],
        ),
        (
            "global.anthropic.claude-x",
            [
                "bedrock:us-east-1:1:inference-profile/global.anthropic.claude-x",
                "bedrock:*::foundation-model/anthropic.claude-x",
                "bedrock:::foundation-model/anthropic.claude-x",
            ],
        ),
        ("*", ["bedrock:*::foundation-model/*", "bedrock:us-east-1:1:*"]),
    ],
)
def test_it_allows_the_models_that_were_named(model, resources):
    statement = policies.permissions(good(models=[model]), "1", "aws")["Statement"][0]

    assert statement["Resource"] == [f"arn:aws:{each}" for each in resources]


def test_a_profile_of_ones_own_is_allowed_with_the_model_behind_it():
    arn = "arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/abc"
    own, behind = policies.permissions(good(models=[arn]), "1", "aws")["Statement"][:2]

    assert own["Resource"] == [arn]
    assert behind["Condition"] == {"StringEquals": {"bedrock:InferenceProfileArn": [arn]}}


def test_an_image_may_be_read_and_no_other():
    image = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/nod:1@sha256:0"
    statements = policies.permissions(good(image=image), "1", "aws")["Statement"]

    found = next(each for each in statements if each["Sid"] == "Image")
    assert found["Resource"] == ["arn:aws:ecr:eu-west-1:111122223333:repository/team/nod"]


def test_the_role_has_a_name_that_aws_takes():
    assert role.name_of(good()) == "NodBedrockAgentCore-us-east-1-desk"
    long = [role.name_of(good(name="d" * 47 + end)) for end in "ab"]
    assert len(set(long)) == 2 and all(len(name) == 64 for name in long)


def test_no_secret_is_in_what_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("API_KEY", "hush")
    config = configure(tmp_path / "none", {**NOTHING_SAID, "region": "us-east-1", "env": ["API_KEY"]}, None)
    save(tmp_path / "agentcore.json", config)

    assert config.environment()["API_KEY"] == "hush"
    assert config.environment(hidden=True)["API_KEY"] == "***"
    assert json.loads((tmp_path / "agentcore.json").read_text())["env"] == {"API_KEY": None}


def test_it_knows_what_botocore_means():
    from botocore import exceptions

    assert "sign-in has run out" in sentence(exceptions.SSOTokenLoadError(error_msg="old"))
    assert "no AWS credentials" in sentence(exceptions.PartialCredentialsError(provider="env", cred_var="x"))
    assert "Look at the region" in sentence(exceptions.EndpointConnectionError(endpoint_url="https://x"))
    assert sentence(ValueError("odd\nthing.")) == "AWS could not be asked: odd thing"
