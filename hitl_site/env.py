"""Reads the environment. A secret may also stand in a file: NAME_FILE=/path instead of NAME=value."""

import base64
import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from environs import EnvError, FileAwareEnv

T = TypeVar("T")
env = FileAwareEnv()
VAPID_FILE = "vapid-key"


def value(read: Callable[..., T], name: str, default: Any, hint: str) -> T:
    """One setting, or one clear line that names the variable, says what is wrong and what it takes."""
    try:
        if os.environ.get(name) and os.environ.get(f"{name}_FILE"):
            raise ValueError(f"{name}_FILE is set too; keep one of them")
        found = read(name, default)
        return found.strip() if isinstance(found, str) else found  # type: ignore[return-value] # files end in \n
    except (EnvError, ValueError, OSError) as error:
        raise ImproperlyConfigured(f"{name} is not usable ({error}). {hint}") from None


def port(name: str, default: int) -> int:
    """A TCP port, 1 to 65535."""
    number = value(env.int, name, default, "Give a port number, such as 8000.")
    if not 0 < number < 65536:
        raise ImproperlyConfigured(f"{name}={number} is not usable. Give a port number, 1 to 65535.")
    return number


def number(name: str, default: int, hint: str) -> int:
    """A whole number, from 1 on."""
    found = value(env.int, name, default, hint)
    if found < 1:
        raise ImproperlyConfigured(f"{name}={found} is not usable. {hint}")
    return found


def url(name: str, default: str, schemes: tuple[str, ...]) -> str:
    """A URL with one of the schemes, or the default."""
    text = value(env.str, name, default, "")
    if text and _parts(text)[0] not in schemes:
        raise ImproperlyConfigured(f"{name} must start with one of: {', '.join(s + '://' for s in schemes)}")
    return text


def one_of(name: str, default: str, choices: tuple[str, ...]) -> str:
    """One of a few words."""
    word = value(env.str, name, default, "") or default
    if word not in choices:
        raise ImproperlyConfigured(f"{name}={word} is not usable. Give one of: {', '.join(choices)}.")
    return word


def origins(name: str) -> list[str]:
    """Origins with scheme, such as https://nod.example.org."""
    given = value(env.list, name, [], "Give origins separated by commas.")
    for origin in given:
        scheme, place = _parts(origin)
        if scheme not in {"http", "https"} or not place:
            raise ImproperlyConfigured(
                f"{name}: {origin!r} needs its scheme, such as https://nod.example.org"
            )
    return list(given)


def public_url(name: str, port: int) -> str:
    """Where people reach this Nod, for links in messages: scheme and host, without a slash at the end."""
    text = value(env.str, name, "", "") or f"http://127.0.0.1:{port}"
    try:
        parts = urlsplit(text)
        whole = parts.hostname and parts.port != 0 and parts.path in ("", "/")
    except ValueError:
        whole = False
    if not whole or parts.scheme not in ("http", "https") or parts.query or parts.fragment or "@" in text:
        raise ImproperlyConfigured(
            f"{name} is not usable. Give the address at which people open Nod, such as https://nod.example.org."
        )
    return f"{parts.scheme}://{parts.netloc}"


def vapid_key(name: str, data_dir: Path) -> str:
    """The key that web push is signed with; else the one that `up` keeps in the data folder; empty without both."""
    text = value(env.str, name, "", "")
    if not text:
        with suppress(OSError):
            text = (data_dir / VAPID_FILE).read_text().strip()
    try:
        size = len(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
    except ValueError:
        size = -1
    if size not in (0, 32):
        raise ImproperlyConfigured(
            f"{name} is not usable. It takes 32 random bytes in base64url: "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return text.rstrip("=")


def keep_vapid_key(data_dir: Path) -> None:
    """Make the key of this data folder, unless it is there or the environment gives one."""
    if not value(env.str, "NOD_VAPID_PRIVATE_KEY", "", ""):
        _kept_key(data_dir / VAPID_FILE, size=32)


def _parts(text: str) -> tuple[str, str]:
    """Scheme and place of a URL; empty for what is none."""
    try:
        return urlsplit(text)[:2]
    except ValueError:
        return "", ""


def secret_key(debug: bool, data_dir: Path) -> str:
    """SECRET_KEY; with DEBUG on and none given, one that is made once and kept in the data folder."""
    given = value(env.str, "SECRET_KEY", "", "Is the file that SECRET_KEY_FILE names there?")
    if given:
        if not debug and len(given) < 32:
            raise ImproperlyConfigured("SECRET_KEY is too short. Give at least 32 random characters.")
        return given
    if not debug:
        raise ImproperlyConfigured(
            "SECRET_KEY is missing, and DEBUG is off. Set SECRET_KEY or SECRET_KEY_FILE "
            "(python -c 'import secrets; print(secrets.token_urlsafe(50))' makes one), or DEBUG=1 on a laptop."
        )
    return _kept_key(data_dir / "secret-key")


def audit_keys(name: str, secret: str) -> list[bytes]:
    """The keys of the audit trail: the first signs, all verify. The last is derived from SECRET_KEY."""
    given = value(env.list, name, [], "Give keys separated by commas, the newest first.")
    keys = [key.strip() for key in given if key.strip()]
    if any(len(key) < 32 for key in keys):
        raise ImproperlyConfigured(
            f"{name} has a key that is too short. Give at least 32 random characters each."
        )
    derived = hashlib.sha256(f"nod audit trail:{secret}".encode()).digest()
    return [*(key.encode() for key in keys), derived]


def long_secret(name: str) -> str:
    """A secret that is not easily guessed; empty without one."""
    text = value(env.str, name, "", f"Is the file that {name}_FILE names there?")
    if text and (len(text) < 20 or not text.isascii()):
        raise ImproperlyConfigured(f"{name} is not usable. Give at least 20 random ASCII characters.")
    return text


def failpoints(name: str, debug: bool) -> Path | None:
    """The folder in which tests arm failpoints; refused where it could do harm."""
    text = value(env.str, name, "", "")
    if text and not debug:
        raise ImproperlyConfigured(
            f"{name} lets tests kill processes, so it works with DEBUG on alone. Leave it out."
        )
    return Path(text) if text else None


def _kept_key(path: Path, size: int = 50) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("x") as file:
                path.chmod(0o600)
                file.write(secrets.token_urlsafe(size))
        except FileExistsError:
            pass
        return path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"The data folder {path.parent} cannot be written ({error.strerror}). Set NOD_DATA to another folder."
        ) from None


def database(data_dir: Path, pool_size: int) -> dict[str, Any]:
    """DATABASE_URL for PostgreSQL, else SQLite under the data folder.

    SQLite: WAL, IMMEDIATE transactions (deferred ones fail with "database is locked" under races) and
    synchronous=FULL, since a STARTED that is lost in a power cut would let an effect run twice.
    PostgreSQL: a pool, since under ASGI every request may come in another thread.
    """
    text = value(env.str, "DATABASE_URL", "", "")
    if not text:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": data_dir / "nod.sqlite3",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
            },
        }
    try:
        parsed: dict[str, Any] = dict(dj_database_url.parse(text, conn_health_checks=True))
    except (ValueError, KeyError) as error:
        why = str(error).partition(" Did you")[0][:80]
        raise ImproperlyConfigured(f"DATABASE_URL is not usable ({why}). {_DATABASE_HINT}") from None
    if parsed["ENGINE"] != "django.db.backends.postgresql":
        raise ImproperlyConfigured(f"DATABASE_URL names {parsed['ENGINE']}. {_DATABASE_HINT}")
    parsed["OPTIONS"] = {
        **parsed.get("OPTIONS", {}),
        # A process that stands still in the middle of a transaction must not stop the others.
        "options": parsed.get("OPTIONS", {}).get("options", "-c idle_in_transaction_session_timeout=15000"),
        "pool": {"min_size": 1, "max_size": pool_size, "timeout": 5},
    }
    return parsed


_DATABASE_HINT = "It takes postgres://USER:PASSWORD@HOST:PORT/NAME; leave it out for SQLite."


def openid_provider() -> dict[str, Any] | None:
    """The OpenID Connect provider that people may sign in with, as django-allauth takes it; None without one."""
    server = url("OIDC_SERVER_URL", "", ("https", "http"))
    client = value(env.str, "OIDC_CLIENT_ID", "", "")
    secret = value(env.str, "OIDC_CLIENT_SECRET", "", "")
    if not server:
        return None
    if not client or not secret:
        raise ImproperlyConfigured(
            "OIDC_SERVER_URL is set: OIDC_CLIENT_ID and OIDC_CLIENT_SECRET (or OIDC_CLIENT_SECRET_FILE) are needed too."
        )
    name = value(env.str, "OIDC_NAME", "", "") or "single sign-on"
    return {
        "provider_id": "oidc",
        "name": name,
        "client_id": client,
        "secret": secret,
        "settings": {"server_url": server.rstrip("/")},
    }
