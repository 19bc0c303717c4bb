"""`invoke`: one question to the agent on AgentCore, with the notebook's approval flags."""

from __future__ import annotations

import json
import unicodedata
import uuid
from collections.abc import Iterator
from typing import Any

from hitl_site.agentcore import dry, runtime
from hitl_site.agentcore.aws import RUNTIME, one_line, sentence
from hitl_site.agentcore.deployment import Deployment
from hitl_site.agentcore.trouble import Trouble


def payload(prompt: str, approve: list[str], deny: list[str]) -> dict[str, Any]:
    """{"prompt", "approvals": {tool: true or false}}; a tool that is not named is asked for."""
    if both := sorted(set(approve) & set(deny)):
        raise Trouble(f"{both[0]} is both approved and denied. Give one of the two.")
    flags = {**dict.fromkeys(approve, True), **dict.fromkeys(deny, False)}
    return {"prompt": prompt, **({"approvals": flags} if flags else {})}


def invoke(work: Deployment, body: dict[str, Any], session: str) -> str:
    """Ask, print the answer as it comes, and return the session to go on with."""
    session = session or f"nod-{uuid.uuid4()}"
    if not work.created.runtime_arn and not work.aws.dry and runtime.find(work) is None:
        raise Trouble(
            f"{work.config.name} is not on AgentCore. Put it there first: manage.py agentcore launch"
        )
    answer = work.aws.call(
        RUNTIME,
        "InvokeAgentRuntime",
        agentRuntimeArn=work.created.runtime_arn or _somewhere(work),
        qualifier=runtime.ENDPOINT,
        runtimeSessionId=session,
        contentType="application/json",
        accept="text/event-stream, application/json",
        payload=json.dumps(body).encode(),
    )
    if not work.aws.dry:
        _print(work, answer)
    return session


def _somewhere(work: Deployment) -> str:
    """The ARN that a dry run shows for what was never launched."""
    place = f"arn:{work.aws.partition()}:bedrock-agentcore:{work.config.region}:{work.created.account or dry.ACCOUNT}"
    return f"{place}:runtime/{work.config.name}-{dry.ID}"


def _print(work: Deployment, answer: dict[str, Any]) -> None:
    """Text as it comes; whatever else as JSON."""
    stream = answer["response"]
    try:
        if "text/event-stream" in answer.get("contentType", ""):
            for event in _events(stream):
                work.progress.text(_text(event))
        else:
            work.progress.text(_text(_decoded(stream.read())))
    except Trouble:
        raise
    except Exception as error:  # botocore's, urllib3's or the socket's: the answer broke off
        raise Trouble(f"The answer broke off. {sentence(error)}") from None
    finally:
        work.progress.text("\n")
        stream.close()


def _events(stream: Any) -> Iterator[Any]:
    """What stands behind `data:`, as soon as its line has come. botocore's own iter_lines would hold text back."""
    line = bytearray()
    while byte := stream.read(1):
        if byte != b"\n":
            line += byte
            continue
        if line.startswith(b"data:"):
            yield _decoded(bytes(line[5:]))
        line.clear()
    if line.startswith(b"data:"):
        yield _decoded(bytes(line[5:]))


def _decoded(data: bytes) -> Any:
    text = data.decode(errors="replace").strip()
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(event: Any) -> str:
    if isinstance(event, dict) and event.get("error"):
        raise Trouble(f"The agent failed: {plain(one_line(str(event['error'])))}.")
    return plain(event if isinstance(event, str) else json.dumps(event, ensure_ascii=False) + "\n")


def plain(text: str) -> str:
    """What a model wrote must not steer the terminal: controls and what turns the direction of text are shown."""
    return "".join(
        f"\\u{ord(sign):04x}" if unicodedata.category(sign) in ("Cc", "Cf") and sign not in "\n\t" else sign
        for sign in text
    )
