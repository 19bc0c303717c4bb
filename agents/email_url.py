"""EMAIL_URL as Django's settings. Read before the settings are there, so it uses none."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import dj_email_url
from django.core.exceptions import ImproperlyConfigured

TAKES = "It takes smtp://USER:PASSWORD@HOST:PORT, smtp+tls://…, file:///folder or console://"
SENDER = "nod@localhost"


def email_settings(url: str, otherwise: str) -> dict[str, Any]:
    """EMAIL_* and DEFAULT_FROM_EMAIL. `otherwise`: what the message of an error ends with.

    Raises:
        ImproperlyConfigured: it is no such URL. The message does not repeat it, since it may hold a password.
    """
    try:
        given = dj_email_url.parse(url)
        parts = urlsplit(url)
    except (ValueError, KeyError):
        raise ImproperlyConfigured(f"EMAIL_URL is not usable. {TAKES}; {otherwise}") from None
    if parts.scheme not in dj_email_url.SCHEMES:
        raise ImproperlyConfigured(f"EMAIL_URL is not usable. {TAKES}; {otherwise}")
    chosen = {name: value for name, value in given.items() if name.startswith("EMAIL_")}
    if parts.scheme == "file":
        chosen["EMAIL_FILE_PATH"] = unquote(parts.path)  # the library takes the first / off
    return chosen | {"DEFAULT_FROM_EMAIL": given.get("DEFAULT_FROM_EMAIL") or SENDER}
