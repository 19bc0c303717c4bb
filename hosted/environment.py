"""Django's settings for the hosted agent, from the environment: tools and providers read them. No database."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from agents import providers
from agents.email_url import SENDER, email_settings

DEFAULT_PROVIDER = "bedrock"
NO_MAIL_SERVER = "hosted.mail.NoMailServer"


def configure() -> None:
    """Set what is not set yet.

    Raises:
        ImproperlyConfigured: a variable has a wrong value; the message names it.
    """
    if settings.configured:
        return
    data = Path(os.environ.get("NOD_DATA") or Path(tempfile.gettempdir(), "nod"))
    settings.configure(
        NOD_MODEL_PROVIDER=_provider(),
        NOD_MODEL_ID=os.environ.get("NOD_MODEL_ID", "").strip(),
        WORKSPACE_DIR=data / "workspace",
        USE_TZ=True,
        **_mail(os.environ.get("EMAIL_URL", "").strip()),
    )


def _provider() -> str:
    name = os.environ.get("NOD_MODEL_PROVIDER", "").strip() or DEFAULT_PROVIDER
    if name not in providers.PROVIDERS:
        names = ", ".join(providers.available())
        raise ImproperlyConfigured(f"NOD_MODEL_PROVIDER={name} is not usable. Give one of: {names}.")
    return name


def _mail(url: str) -> dict[str, Any]:
    if not url:
        return {"EMAIL_BACKEND": NO_MAIL_SERVER, "DEFAULT_FROM_EMAIL": SENDER}
    return email_settings(url, "without it the agent sends no mail.")
