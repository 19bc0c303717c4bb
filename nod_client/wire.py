"""HTTP with the standard library alone: JSON in and out, and patience with a Nod that is away for a moment.

Every request may be sent again: asking goes by its key, claiming and reporting by the lease.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from nod_client.errors import NodError, Unreachable

NO_TOKEN = "Nod does not take this token. Make another one: manage.py token USER --scope agent."
AWAY = frozenset((502, 503, 504))
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between two attempts


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect is not followed: it would take the token elsewhere."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class Wire:
    """The API of one Nod, with one token."""

    def __init__(self, url: str, token: str, timeout: float) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"{url!r} is no address of Nod. Give one such as https://nod.example.org.")
        self._base = f"{url.rstrip('/')}/api/v1/"
        self._headers = {"Authorization": f"Bearer {token.strip()}", "Accept": "application/json"}
        self._timeout = timeout
        self._opener = urllib.request.build_opener(_Stay)

    def send(self, method: str, path: str, body: Any = None, *, patience: float, wait: float = 0) -> Any:
        """The answer. Tries again for `patience` seconds while Nod is away.

        Raises:
            Unreachable: it stays away.
            NodError: it refuses.
        """
        until, pause = time.monotonic() + patience, FIRST_PAUSE
        while True:
            try:
                return self._once(method, path, body, self._timeout + wait)
            except Unreachable:
                if time.monotonic() + pause > until:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _once(self, method: str, path: str, body: Any, timeout: float) -> Any:
        data = None if body is None else _encoded(body)
        headers = self._headers if data is None else {**self._headers, "Content-Type": "application/json"}
        request = urllib.request.Request(self._base + path, data, headers, method=method)
        try:
            with self._opener.open(request, timeout=timeout) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unreachable(f"Nod can't be reached ({_reason(error)}).", "unreachable") from error


def _encoded(body: Any) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise NodError(f"What was to be sent is no JSON ({error}).", "invalid_json") from None


def _refusal(error: urllib.error.HTTPError) -> NodError:
    if error.code in AWAY:
        return Unreachable(f"Nod is away for the moment ({error.code}).", "unreachable", error.code)
    if error.code == 401:
        return NodError(NO_TOKEN, "unauthenticated", 401)
    try:
        problem = json.loads(error.read())
        return NodError(str(problem["detail"]), str(problem["code"]), error.code)
    except (OSError, ValueError, KeyError, TypeError):
        hint = " Give the address that it redirects to." if 300 <= error.code < 400 else ""
        return NodError(f"That address answers {error.code}, and not as Nod does.{hint}", "", error.code)


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return str(reason) or type(reason).__name__
