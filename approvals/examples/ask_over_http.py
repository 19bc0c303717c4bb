"""NOD_ASK=approvals.examples.ask_over_http.ask: posts each pending call to an address of yours and waits for the reply.

Behind the address is what asks people: a bot in a chat, a ticket system, a pager. It gets the call as JSON and replies
    {"response": "y", "decided_by": "rita", "comment": "", "id": "…", "digest": "…"}
with id and digest as it was sent them: the digest alone is the same where an agent asks for the same twice. Or it
replies with status 204, where nobody answered. NOD_ASK_URL is the address. With NOD_ASK_SECRET both sides sign,
in X-Nod-Signature: the HMAC-SHA-256 of the body, in hex. A reply without a right one counts for nothing then.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import urllib.request
from dataclasses import asdict
from typing import Any

from approvals.hooks import Answer, Asked

SIGNATURE = "X-Nod-Signature"
TIMEOUT = 240.0  # seconds; less than NOD_ASK_TIMEOUT, after which nobody waits for it
LONGEST = 64_000  # bytes of a reply


class BadReply(Exception):
    """What came back is no answer; the call waits on."""


def ask(call: Asked) -> Answer | None:
    """What the service replied, or None. Raises URLError and BadReply, which Nod logs."""
    body = json.dumps(asdict(call), default=str).encode()
    request = urllib.request.Request(  # noqa: S310 (the operator's own address)
        os.environ["NOD_ASK_URL"], body, {"Content-Type": "application/json", SIGNATURE: signature(body)}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:  # noqa: S310
        if reply.status == 204:
            return None
        said = reply.read(LONGEST)
        _check(said, reply.headers.get(SIGNATURE, ""))
    return _answer(call, said)


def signature(body: bytes) -> str:
    """Empty where no secret was agreed on."""
    secret = os.environ.get("NOD_ASK_SECRET", "")
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest() if secret else ""


def _check(said: bytes, signed: str) -> None:
    if not hmac.compare_digest(signature(said), signed if signature(said) else ""):
        raise BadReply(f"the reply has no right {SIGNATURE}")


def _answer(call: Asked, said: bytes) -> Answer:
    try:
        reply: Any = json.loads(said)
        name, about = reply["decided_by"], (reply["id"], reply["digest"])
        response, comment = reply["response"], str(reply.get("comment", ""))
    except (ValueError, KeyError, TypeError):
        raise BadReply("the reply lacks response, decided_by, id or digest") from None
    if about != (call.id, call.digest):
        raise BadReply("the reply is about another call, or about other arguments")
    return Answer(response, name, comment)
