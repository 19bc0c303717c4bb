"""`manage.py agentcore`, boto3 as it is, against moto (S3, IAM, STS) and a server that speaks AgentCore's wire."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile

import boto3
import pytest
from botocore.validate import validate_parameters
from django.conf import settings
from django.core.management import CommandError, call_command

from hitl_site.agentcore.calls import session
from tests.fakes.agentcore_control import ACCOUNT, AgentCoreServer, Failure, environment
from tests.fakes.moto_server import MotoServer

pytestmark = pytest.mark.xdist_group("agentcore deploy")  # one moto for all

AWS_NAMES = [name for name in os.environ if name.startswith("AWS_")]
ROLE = "NodBedrockAgentCore-us-east-1-desk"
MINE = f"arn:aws:iam::{ACCOUNT}:role/mine"
IMAGE = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/nod:1"
BUCKET = f"nod-agentcore-{ACCOUNT}-us-east-1"


@pytest.fixture(scope="module")
def moto():
    with MotoServer() as server:
        yield server


@pytest.fixture(autouse=True)
def clean_aws(monkeypatch, tmp_path):
    """No configuration of this machine reaches boto3, and none of its calls leaves the machine."""
    for name in AWS_NAMES:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")  # nobody listens there
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")


@pytest.fixture
def aws(moto, monkeypatch):
    """An empty account; gives what AgentCore knows."""
    with AgentCoreServer() as server:
        for name, value in environment(server.url, moto.url).items():
            monkeypatch.setenv(name, value)
        reset(moto.url)
        yield server.known


def reset(url):
    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")).close()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "agentcore.json"


@pytest.fixture
def code(tmp_path):
    return zipped(tmp_path / "code.zip", "print(1)")


def zipped(path, text):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("main.py", text)
    return path


@pytest.fixture
def agentcore(file):
    """agentcore(verb, …) gives what the command printed."""

    def run(verb, *arguments, stderr=None):
        out, err = io.StringIO(), stderr or io.StringIO()
        call_command("agentcore", verb, "--config", str(file), *map(str, arguments), stdout=out, stderr=err)
        return out.getvalue()

    return run


@pytest.fixture
def configured(agentcore):
    agentcore("configure", "--name", "desk", "--region", "us-east-1", "--no-input")


@pytest.fixture
def image(agentcore):
    """An image and a role that are there: nothing but the runtime is to be made."""
    given = ("--image", IMAGE, "--role", MINE)
    agentcore("configure", "--name", "desk", "--region", "us-east-1", "--no-input", *given)


def stored(file):
    return json.loads(file.read_text())["created"]


def client(service):
    """boto3's own, with what it has read of AWS before."""
    return boto3.session.Session(region_name="us-east-1", botocore_session=session()).client(service)


def uploaded(bucket=BUCKET):
    return [each["Key"] for each in client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]


# --- the whole life ------------------------------------------------------------------------------------
def test_it_lives_from_configure_to_destroy(aws, agentcore, configured, file, code, tmp_path):
    aws.steps = 1
    said = agentcore("launch", "--zip", code)

    arn = stored(file)["runtime_arn"]
    assert f"Role      {ROLE}, made" in said and f"Bucket    {BUCKET}, made" in said
    assert "Status    CREATING\nStatus    READY" in said and "Endpoint  DEFAULT READY, version 1" in said
    assert f"{arn}\nIn Nod's admin" in said
    first = uploaded()
    made = aws.runtimes["desk-0000000001"]
    assert made["agentRuntimeArtifact"]["codeConfiguration"]["code"] == {
        "s3": {"bucket": BUCKET, "prefix": first[0]}
    }
    assert made["environmentVariables"] == {"NOD_MODEL_ID": "us.anthropic.claude-sonnet-4-5-20250929-v1:0"}

    aws.steps = 0
    # once more: nothing is different, so nothing is sent
    before = len(aws.requests)
    said = agentcore("launch", "--zip", code)
    assert said.count("nothing to change") == 3 and "nothing to upload" in said
    assert {name for name, _ in aws.requests[before:]} == {"GetAgentRuntime", "GetAgentRuntimeEndpoint"}

    # other code: uploaded, and a second version
    said = agentcore("launch", "--zip", zipped(tmp_path / "other.zip", "print(2)"))
    assert "updated to version 2" in said and "Endpoint  DEFAULT READY, version 2" in said
    assert len(uploaded()) == 2

    said = agentcore("status")
    assert "Runtime   desk: READY, version 2" in said and "Endpoint  DEFAULT: READY, version 2" in said
    assert arn in said

    aws.answer = [b'data: "It is "\n\n', b'data: "sunny."\n\n']
    err = io.StringIO()
    assert (
        agentcore("invoke", "What is the weather?", "--approve", "send_email", stderr=err) == "It is sunny.\n"
    )
    asked = aws.requests[-1][1]
    assert asked["payload"] == {"prompt": "What is the weather?", "approvals": {"send_email": True}}
    assert f"--session {asked['session']}" in err.getvalue()

    said = agentcore("destroy", "--yes")
    assert f"  the runtime {arn}\n" in said and f"  the role {ROLE}\n" in said and "CloudWatch" in said
    assert not aws.runtimes
    assert client("s3").list_buckets()["Buckets"] == [] and client("iam").list_roles()["Roles"] == []
    assert set(stored(file).values()) == {"", False}
    assert agentcore("destroy", "--yes").startswith("There is nothing to remove")

    agentcore("launch", "--zip", code)  # and again, with a token of its own
    assert list(aws.runtimes) == ["desk-0000000002"]


def test_it_gives_the_role_no_more_than_it_needs(aws, agentcore, configured, code):
    agentcore("launch", "--zip", code)

    iam = client("iam")
    trust = iam.get_role(RoleName=ROLE)["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust[0]["Principal"] == {"Service": "bedrock-agentcore.amazonaws.com"}
    assert trust[0]["Condition"] == {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnLike": {"aws:SourceArn": f"arn:aws:bedrock-agentcore:us-east-1:{ACCOUNT}:*"},
    }
    allowed = iam.get_role_policy(RoleName=ROLE, PolicyName="nod-agent")["PolicyDocument"]["Statement"]
    actions = {action for each in allowed for action in each["Action"]}
    assert {action.partition(":")[0] for action in actions} == {"bedrock", "logs", "xray"}
    assert not any("*" in action for action in actions)
    assert [each["Sid"] for each in allowed if each["Resource"] == ["*"]] == ["Traces"]


def test_it_makes_a_private_encrypted_bucket(aws, agentcore, configured, code):
    agentcore("launch", "--zip", code)

    s3 = client("s3")
    closed = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert len(closed) == 4 and all(closed.values())
    rules = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert s3.get_bucket_ownership_controls(Bucket=BUCKET)["OwnershipControls"]["Rules"] == [
        {"ObjectOwnership": "BucketOwnerEnforced"}
    ]


def test_it_runs_an_image_with_a_given_role_and_leaves_both(aws, agentcore, image, file):
    agentcore("configure", "--subnet", "subnet-01234567", "--security-group", "sg-01234567")

    agentcore("launch")

    made = aws.runtimes["desk-0000000001"]
    assert made["roleArn"] == MINE
    assert made["agentRuntimeArtifact"] == {"containerConfiguration": {"containerUri": IMAGE}}
    assert made["networkConfiguration"]["networkMode"] == "VPC"
    assert stored(file)["role"] == stored(file)["bucket"] == stored(file)["code_bucket"] == ""
    said = agentcore("destroy", "--yes")
    assert f"  the role {MINE}, which is yours" in said and f"  the image {IMAGE}" in said


# --- going on, and what is not Nod's -------------------------------------------------------------------
def test_it_goes_on_where_an_answer_never_arrived(aws, agentcore, image, file):
    """The runtime was made; the process ended before it could remember that."""
    agentcore("launch", "--no-wait")
    data = json.loads(file.read_text())
    data["created"] |= {"runtime_id": "", "runtime_arn": ""}
    file.write_text(json.dumps(data))
    aws.runtimes["another-0000000009"] = {**aws.runtimes["desk-0000000001"], "agentRuntimeName": "another"}

    agentcore("launch")

    assert aws.count("CreateAgentRuntime") == 1
    assert stored(file)["runtime_id"] == "desk-0000000001"


def test_it_knows_what_it_made_though_the_file_is_older(aws, agentcore, configured, file, code):
    """As when the file was put into version control before the launch."""
    before = file.read_text()
    agentcore("launch", "--zip", code)
    file.write_text(before)
    said = agentcore("launch", "--zip", code)
    assert "nothing to upload" in said and said.count("nothing to change") == 3
    file.write_text(before)

    said = agentcore("destroy", "--yes")

    assert said.count(", removed") == 3 and "Code      1 removed" in said
    assert client("s3").list_buckets()["Buckets"] == [] and client("iam").list_roles()["Roles"] == []


def test_it_makes_one_runtime_of_a_creation_that_is_sent_twice(aws, agentcore, image):
    """AWS made it, and the answer was lost: botocore sends the request again."""
    aws.failures["CreateAgentRuntime"] = [
        Failure(500, "InternalServerException", "The line was cut.", after=True)
    ]

    agentcore("launch")

    assert aws.count("CreateAgentRuntime") == 2
    assert list(aws.runtimes) == ["desk-0000000001"]


def test_it_makes_one_runtime_though_aws_does_not_list_it_yet(aws, agentcore, image):
    """AWS made it, the command ended without the answer, and the next one sends the same token."""
    aws.failures["CreateAgentRuntime"] = [Failure(400, "ValidationException", "Odd.", after=True)]
    with pytest.raises(CommandError, match="Odd"):
        agentcore("launch")
    aws.listed = False

    agentcore("launch")

    assert list(aws.runtimes) == ["desk-0000000001"]


def test_it_waits_until_agentcore_knows_a_new_role(aws, agentcore, configured, code):
    not_yet = (
        "Role validation failed for the role. Verify that it exists and that its trust policy allows it."
    )
    aws.failures["CreateAgentRuntime"] = [Failure(400, "ValidationException", not_yet)] * 2

    said = agentcore("launch", "--zip", code)

    assert "waiting until AgentCore knows the role" in said and "Endpoint  DEFAULT READY" in said


def test_it_says_at_once_that_a_role_of_somebody_else_does_not_do(aws, agentcore, image):
    aws.failures["CreateAgentRuntime"] = [Failure(400, "ValidationException", "Role validation failed.")]

    with pytest.raises(CommandError, match="Role validation failed"):
        agentcore("launch")


def test_it_tells_why_a_runtime_failed_and_makes_it_anew(aws, agentcore, image):
    aws.ends_in, aws.reason = "CREATE_FAILED", "The zip has no entry point."
    with pytest.raises(
        CommandError, match="CREATE_FAILED: The zip has no entry point. Mend that, and launch again"
    ):
        agentcore("launch")
    with pytest.raises(CommandError, match="It does not run"):
        agentcore("status")

    said = agentcore("launch")

    assert "desk-0000000001 had failed, and is made anew" in said
    assert list(aws.runtimes) == ["desk-0000000002"]


def test_it_updates_a_runtime_whose_last_update_failed(aws, agentcore, image):
    agentcore("launch")
    agentcore("configure", "--idle-timeout", "60")
    aws.ends_in, aws.reason = "UPDATE_FAILED", "No room"
    with pytest.raises(CommandError, match="UPDATE_FAILED: No room"):
        agentcore("launch")

    assert "updated to version 3" in agentcore("launch")


def test_it_waits_for_the_endpoint(aws, agentcore, image):
    aws.endpoint_after = 3

    assert "waiting for DEFAULT\nEndpoint  DEFAULT UPDATING\nEndpoint  DEFAULT READY" in agentcore("launch")


def test_it_gives_up_waiting_in_the_end(aws, agentcore, image):
    aws.stuck = True

    with pytest.raises(
        CommandError, match="not ready after 0 seconds. Look again: manage.py agentcore status"
    ):
        agentcore("launch", "--timeout", "0")
    assert "CREATING" in agentcore("status")


def test_it_leaves_a_runtime_and_a_role_that_others_made(aws, agentcore, configured, code, file):
    agentcore("launch", "--zip", code)
    kept = file.read_text()
    agentcore("configure", "--no-input")
    file.unlink()
    agentcore("configure", "--name", "desk", "--region", "us-east-1", "--no-input")

    with pytest.raises(CommandError, match=f"There is a role {ROLE} already"):
        agentcore("launch", "--zip", code)
    agentcore("configure", "--role", f"arn:aws:iam::{ACCOUNT}:role/mine")
    with pytest.raises(CommandError, match="There is a runtime desk already"):
        agentcore("launch", "--zip", code)
    agentcore("destroy", "--yes")
    assert "desk-0000000001" in aws.runtimes
    assert len(uploaded()) == 1  # the zip of the first; the second took its own with it
    file.write_text(kept)
    agentcore("destroy", "--yes")
    assert not aws.runtimes


def test_it_keeps_a_bucket_that_has_more_in_it(aws, agentcore, configured, code):
    agentcore("launch", "--zip", code)
    client("s3").put_object(Bucket=BUCKET, Key="mine", Body=b"1")

    assert f"This stayed:\n  bucket {BUCKET}: there is more in it" in agentcore("destroy", "--yes")

    assert uploaded() == ["mine"]


def test_it_keeps_a_bucket_that_was_there(aws, agentcore, configured, code):
    client("s3").create_bucket(Bucket="mine")
    agentcore("configure", "--bucket", "mine")
    agentcore("launch", "--zip", code)
    assert len(uploaded("mine")) == 1

    assert "  the bucket mine, which is yours" in agentcore("destroy", "--yes")

    assert uploaded("mine") == []


def test_it_destroys_what_is_gone_already(aws, agentcore, configured, code):
    agentcore("launch", "--zip", code)
    aws.runtimes.clear()
    iam, s3 = client("iam"), client("s3")
    iam.delete_role_policy(RoleName=ROLE, PolicyName="nod-agent")
    iam.delete_role(RoleName=ROLE)
    s3.delete_object(Bucket=BUCKET, Key=uploaded()[0])
    s3.delete_bucket(Bucket=BUCKET)

    assert agentcore("destroy", "--yes").count("was gone already") == 3


def test_it_removes_endpoints_that_stand_in_the_way(aws, agentcore, image):
    agentcore("launch")
    aws.runtimes["desk-0000000001"]["endpoints"]["production"] = {}

    assert "  its endpoint production" in agentcore("destroy", "--yes")

    assert not aws.runtimes


def test_it_does_not_destroy_unasked(aws, agentcore, image):
    agentcore("launch")

    with pytest.raises(CommandError, match="Add --yes"):
        agentcore("destroy")

    assert aws.runtimes


def test_it_takes_a_secret_from_its_environment_alone(aws, agentcore, image, file, monkeypatch):
    agentcore("configure", "--env", "API_KEY", "--env", "LOG=1")
    with pytest.raises(
        CommandError, match="API_KEY is to be taken from the environment, and is not set there"
    ):
        agentcore("launch")
    monkeypatch.setenv("API_KEY", "hush")

    said = agentcore("launch")

    assert aws.runtimes["desk-0000000001"]["environmentVariables"]["API_KEY"] == "hush"
    assert "hush" not in file.read_text() + said + agentcore("launch", "--dry-run")
    agentcore("configure", "--remove-env", "API_KEY")
    assert "updated to version 2" in agentcore("launch")
    assert "API_KEY" not in aws.runtimes["desk-0000000001"]["environmentVariables"]


# --- invoke --------------------------------------------------------------------------------------------
def test_it_says_that_what_answered_was_not_aws(aws, agentcore, image, monkeypatch):
    """As with a wrong AWS_ENDPOINT_URL, or a network that shows its sign-in page for everything."""
    aws.empty = True
    with pytest.raises(CommandError, match="AWS did not answer as it should .agentRuntimes is missing"):
        agentcore("launch")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", os.environ["AWS_ENDPOINT_URL_BEDROCK_AGENTCORE"])
    with pytest.raises(CommandError, match="AWS did not answer as it should") as stopped:
        agentcore("launch")
    assert "\n" not in str(stopped.value)


@pytest.fixture
def launched(aws, agentcore, configured, file):
    """Not by `launch`, which takes longer."""
    identity = "desk-0000000009"
    arn = f"arn:aws:bedrock-agentcore:us-east-1:{ACCOUNT}:runtime/{identity}"
    aws.runtimes[identity] = {"agentRuntimeArn": arn}
    data = json.loads(file.read_text())
    data["created"] |= {"runtime_id": identity, "runtime_arn": arn}
    file.write_text(json.dumps(data))


def test_it_prints_an_answer_as_it_comes(aws, launched, file):
    aws.answer = [b'data: "Hello"\n\nda', b'ta: " there"\n\n']
    aws.hold.clear()
    out = io.StringIO()
    command = ("agentcore", "invoke", "--config", str(file), "hi")
    thread = threading.Thread(
        target=call_command, args=command, kwargs={"stdout": out, "stderr": io.StringIO()}
    )
    thread.start()
    until(lambda: out.getvalue() == "Hello")  # while the server still holds the rest back
    aws.hold.set()
    thread.join(20)

    assert out.getvalue() == "Hello there\n"


def test_it_takes_plain_json_too(aws, launched, agentcore):
    aws.content_type, aws.answer = "application/json", [b"\"Please provide a 'prompt'.\""]

    assert agentcore("invoke", "") == "Please provide a 'prompt'.\n"


def test_it_shows_what_would_steer_the_terminal(aws, launched, agentcore):
    aws.answer = [b'data: "a\\u001b[2Jb\\u202ec\\n"\n\n']

    assert agentcore("invoke", "hi") == "a\\u001b[2Jb\\u202ec\n\n"


def test_it_says_what_the_agent_failed_with(aws, launched, agentcore):
    aws.answer = [b'data: {"error": "No model", "error_type": "ValueError"}\n\n']
    with pytest.raises(CommandError, match="The agent failed: No model."):
        agentcore("invoke", "hi")

    aws.answer, aws.cut = [b'data: "half'], True
    with pytest.raises(CommandError, match="The answer broke off"):
        agentcore("invoke", "hi")


def test_it_asks_once_though_the_agent_fails(aws, launched, agentcore):
    """A second question might act a second time."""
    aws.failures["InvokeAgentRuntime"] = [Failure(500, "InternalServerException", "Try again.")] * 2

    with pytest.raises(CommandError, match="AWS refused bedrock-agentcore:InvokeAgentRuntime: Try again"):
        agentcore("invoke", "hi")

    assert aws.count("InvokeAgentRuntime") == 1


def test_it_goes_on_with_a_session(aws, launched, agentcore):
    agentcore("invoke", "hi", "--session", "a" * 33, "--deny", "send_email")

    asked = aws.requests[-1][1]
    assert asked["session"] == "a" * 33 and asked["payload"]["approvals"] == {"send_email": False}
    with pytest.raises(CommandError, match="is no session id"):
        agentcore("invoke", "hi", "--session", "short")
    with pytest.raises(CommandError, match="send_email is both approved and denied"):
        agentcore("invoke", "hi", "--approve", "send_email", "--deny", "send_email")


# --- what AWS refuses ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "kind", "message", "said"),
    [
        (
            403,
            "AccessDeniedException",
            "No.",
            "AWS does not let you do bedrock-agentcore-control:ListAgentRuntimes",
        ),
        (403, "ExpiredTokenException", "Old", "Your AWS sign-in has run out"),
        (403, "UnrecognizedClientException", "Who?", "AWS does not know these credentials"),
        (400, "ValidationException", "Odd.", "AWS refused bedrock-agentcore-control:ListAgentRuntimes: Odd "),
    ],
)
def test_it_says_in_a_line_what_aws_refuses(aws, agentcore, image, status, kind, message, said):
    aws.failures["ListAgentRuntimes"] = [Failure(status, kind, message)]

    with pytest.raises(CommandError) as stopped:
        agentcore("launch")

    assert said in str(stopped.value) and "\n" not in str(stopped.value)


def test_it_outlasts_throttling(aws, agentcore, image):
    aws.failures["ListAgentRuntimes"] = [Failure(429, "ThrottlingException", "Slow down")]

    assert "DEFAULT READY" in agentcore("launch")


def test_it_says_that_nobody_answers(agentcore, configured, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
    monkeypatch.setattr("hitl_site.agentcore.aws.ATTEMPTS", 1)

    with pytest.raises(CommandError, match="AWS did not answer as it should .*AWS_ENDPOINT_URL"):
        agentcore("launch")


def test_it_says_that_there_are_no_credentials(agentcore, configured):
    with pytest.raises(
        CommandError, match="There are no AWS credentials. Run .aws configure. or .aws sso login."
    ):
        agentcore("launch")


def test_it_says_that_a_profile_is_not_there(agentcore, configured, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    with pytest.raises(CommandError, match="profile .nobody. could not be found.* AWS_PROFILE"):
        agentcore("status")


# --- dry run -------------------------------------------------------------------------------------------
def test_a_dry_run_prints_calls_that_aws_would_take_and_makes_none(agentcore, configured, file, monkeypatch):
    """No credentials, a profile that is not there, and nobody listens where boto3 would call."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    before = file.read_text()
    printed = agentcore("launch", "--dry-run") + agentcore("status", "--dry-run")
    printed += agentcore("invoke", "hello", "--approve", "send_email", "--dry-run")
    data = json.loads(before)
    data["created"] |= {
        "account": ACCOUNT,
        "role": ROLE,
        "bucket": BUCKET,
        "code_bucket": BUCKET,
        "runtime_id": "desk-0000000001",
        "runtime_arn": f"arn:aws:bedrock-agentcore:us-east-1:{ACCOUNT}:runtime/desk-0000000001",
    }
    file.write_text(json.dumps(data))
    printed += (
        agentcore("launch", "--dry-run")
        + agentcore("status", "--dry-run")
        + agentcore("destroy", "--dry-run")
    )
    file_after = json.loads(file.read_text())

    calls = [json.loads(line) for line in printed.splitlines()]
    for call in calls:
        valid(call)
        owned = call["service"] == "s3" and call["operation"] != "CreateBucket"
        assert not owned or call["parameters"]["ExpectedBucketOwner"]
    assert file_after == data
    made = {call["operation"] for call in calls}
    assert made >= {
        *(
            "CreateRole",
            "PutRolePolicy",
            "CreateBucket",
            "PutPublicAccessBlock",
            "PutBucketEncryption",
            "PutObject",
        ),
        *(
            "CreateAgentRuntime",
            "UpdateAgentRuntime",
            "GetAgentRuntime",
            "GetAgentRuntimeEndpoint",
            "InvokeAgentRuntime",
        ),
        *("DeleteAgentRuntime", "DeleteObjects", "DeleteBucket", "DeleteRolePolicy", "DeleteRole"),
    }


def valid(call):
    """AWS's own description of the call, as botocore has it, accepts it."""
    model = session().get_service_model(call["service"])
    validate_parameters(call["parameters"], model.operation_model(call["operation"]).input_shape)


# --- moto's own control plane --------------------------------------------------------------------------
def test_it_makes_and_removes_a_runtime_on_moto(aws, moto, agentcore, configured, code, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE_CONTROL", moto.url)
    assert "made, version 1" in agentcore("launch", "--zip", code, "--no-wait")

    said = agentcore("status")
    assert "desk: READY, version 1" in said and "DEFAULT is not there (yet)" in said

    assert "removed" in agentcore("destroy", "--yes")
    assert client("bedrock-agentcore-control").list_agent_runtimes()["agentRuntimes"] == []


# --- in a terminal of its own --------------------------------------------------------------------------
COMMAND = (sys.executable, str(settings.BASE_DIR / "manage.py"), "agentcore")


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "It did not come about."
        time.sleep(0.01)


def test_it_asks_on_a_terminal(file):
    leader, follower = pty.openpty()
    command = [*COMMAND, "configure", "--config", str(file)]
    process = subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, cwd=settings.BASE_DIR
    )
    os.close(follower)
    os.write(leader, b"my-desk\ndesk\neu-west-1\n\n\n\n*\n")
    said = _all_of(leader)
    assert process.wait(20) == 0
    assert "“my-desk” is no name" in said and "desk in eu-west-1" in said
    assert json.loads(file.read_text())["models"] == ["*"]


def test_ctrl_c_says_what_is_there_and_launch_goes_on(aws, agentcore, configured, file, code):
    aws.stuck = True
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "launch", "--config", str(file), "--zip", str(code)],
        stdin=follower, stdout=follower, stderr=subprocess.PIPE, text=True, cwd=settings.BASE_DIR,
    )  # fmt: skip
    os.close(follower)
    try:
        until(lambda: aws.count("GetAgentRuntime") > 2)
        process.send_signal(signal.SIGINT)
        said = _all_of(leader)
        complaint = process.communicate(timeout=20)[1]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert said.count("\r\x1b[KStatus    CREATING (") >= 2  # one line, rewritten
    assert complaint == (
        f"CommandError: Stopped. There is by now: role {ROLE}, bucket {BUCKET}, runtime desk-0000000001. "
        "To go on from there: manage.py agentcore launch\n"
    )
    aws.stuck = False
    assert "DEFAULT READY" in agentcore("launch", "--zip", code)
    assert aws.count("CreateAgentRuntime") == 1


def _all_of(leader):
    """What a terminal shows until nobody writes to it any more."""
    said = b""
    try:
        while select.select([leader], [], [], 20)[0]:
            said += os.read(leader, 4096)
    except OSError:  # Linux says so when the other side is closed
        pass
    finally:
        os.close(leader)
    return said.decode()
