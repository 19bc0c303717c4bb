"""The e-mails that the file backend wrote, for the outbox page of the demo."""

from __future__ import annotations

import email
import email.policy
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path

from django.utils.timezone import make_aware, now

SEPARATOR = b"\n" + b"-" * 79 + b"\n"


@dataclass(frozen=True)
class Mail:
    to: str
    subject: str
    body: str
    at: datetime


def mails(folder: Path, most: int = 100) -> list[Mail]:
    """The mails in a folder, newest first."""
    files = sorted(folder.glob("*.log"), key=lambda file: file.stat().st_mtime_ns, reverse=True)[:most]
    return [mail for file in files for mail in reversed(_read(file))][:most]


def _read(file: Path) -> list[Mail]:
    parts = (file.read_bytes() + b"\n").split(SEPARATOR)
    return [_mail(part.strip(b"\n"), file) for part in parts if part.strip()]


def _mail(text: bytes, file: Path) -> Mail:
    message = email.message_from_bytes(text, policy=email.policy.default)
    return Mail(str(message["to"] or ""), str(message["subject"] or ""), _body(message), _date(message, file))


def _body(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    return str(part.get_content()).strip() if part else ""


def _date(message: EmailMessage, file: Path) -> datetime:
    sent = getattr(message["date"], "datetime", None) or datetime.fromtimestamp(
        file.stat().st_mtime, now().tzinfo
    )
    return sent if sent.tzinfo else make_aware(sent)
