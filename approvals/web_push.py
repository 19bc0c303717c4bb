"""Web push: a message that only the browser can read (RFC 8291), signed by this Nod (RFC 8292), to a public address.

The address is whatever a browser's person sent, so it is looked at twice: as it is written down, and as what its name
means at the moment of connecting. No redirect is followed, and nothing of the answer but its status is read.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import Future
from functools import cache
from ipaddress import ip_address, ip_network
from threading import Thread
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings

LONGEST = 600  # characters of an address
KEPT = 4 * 60 * 60  # seconds a push service keeps it for a browser that is away
SIGNED_FOR = 12 * 60 * 60
STATUS_LINE = 4096  # bytes of the answer that are read at most
RECORD = 4096  # bytes of a record at most; Nod sends one, far shorter
LAST_RECORD = b"\x02"
NAT64 = ip_network("64:ff9b::/96")
UNICAST = ip_network("2000::/3")  # all that IPv6 has given out to the public


class NotTaken(Exception):
    """The push service did not take it, or it may not be asked."""


class Gone(NotTaken):
    """The browser takes no pushes here any more."""


class BadSubscription(ValueError):
    """What a browser sent is no subscription; the text says why."""


class Subscription(Protocol):
    endpoint: str
    p256dh: str
    auth: str


def check(endpoint: str, p256dh: str, auth: str) -> None:
    """Raises BadSubscription for what could never be sent to. Whether the host is public shows when it is asked."""
    place = _place(endpoint)
    if not _may_be_public(place.hostname or ""):
        raise BadSubscription("The address to push to is not one of a push service.")
    if len(_bytes(auth)) != 16:
        raise BadSubscription("The browser's secret is not 16 bytes long.")
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _bytes(p256dh))
    except ValueError:
        raise BadSubscription("The browser's key is none.") from None


def send(subscription: Subscription, said: dict[str, Any]) -> None:
    """Hand it to the push service. Raises Gone, or NotTaken; all of it within one timeout."""
    try:
        check(subscription.endpoint, subscription.p256dh, subscription.auth)
    except BadSubscription as error:
        raise NotTaken(str(error)) from None
    place = urlsplit(subscription.endpoint)
    content = json.dumps(said, separators=(",", ":")).encode()
    status = _post(place, _headers(place), _sealed(subscription, content))
    if status in (404, 410):
        raise Gone(f"status {status}")
    if not 200 <= status < 300:
        raise NotTaken(f"{place.hostname} answers {status}")


def public_key() -> str:
    """What browsers take as `applicationServerKey`; empty where push is not set up."""
    if not settings.VAPID_KEY:
        return ""
    key = _key(settings.VAPID_KEY).public_key()
    return _text(key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


# --- What is sent -----------------------------------------------------------------------------------
def _sealed(subscription: Subscription, content: bytes) -> bytes:
    """One record of aes128gcm (RFC 8188), with a key that only the browser can find (RFC 8291)."""
    theirs, mine = _bytes(subscription.p256dh), ec.generate_private_key(ec.SECP256R1())
    shared = mine.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs))
    ours = mine.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    secret = _derived(_bytes(subscription.auth), shared, b"WebPush: info\0" + theirs + ours, 32)
    salt = os.urandom(16)
    key = _derived(salt, secret, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derived(salt, secret, b"Content-Encoding: nonce\0", 12)
    header = salt + RECORD.to_bytes(4, "big") + bytes([len(ours)]) + ours
    return header + AESGCM(key).encrypt(nonce, content + LAST_RECORD, None)


def _derived(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)


def _headers(place: SplitResult) -> dict[str, str]:
    return {
        "Host": place.netloc,
        "Authorization": f"vapid t={_token(place)}, k={public_key()}",
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
        "TTL": str(KEPT),
        "Topic": "calls",  # one that was not delivered yet is replaced
        "Urgency": "high",
        "Connection": "close",
    }


def _token(place: SplitResult) -> str:
    """Says to this push service, for some hours, which Nod it is, and whom to ask about it."""
    public = settings.PUBLIC_URL.startswith("https://")
    claims = {
        "aud": f"{place.scheme}://{place.netloc}",
        "exp": int(time.time()) + SIGNED_FOR,
        "sub": settings.PUBLIC_URL if public else f"mailto:{settings.DEFAULT_FROM_EMAIL}",
    }
    return jwt.encode(claims, _key(settings.VAPID_KEY), algorithm="ES256")


@cache
def _key(text: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(_bytes(text), "big"), ec.SECP256R1())


# --- Where it goes ----------------------------------------------------------------------------------
def _place(endpoint: str) -> SplitResult:
    try:
        place = urlsplit(endpoint)
        port = place.port
    except ValueError:
        raise BadSubscription("The address to push to is none.") from None
    plain = endpoint.isascii() and endpoint.isprintable() and " " not in endpoint and "@" not in place.netloc
    if not plain or len(endpoint) > LONGEST or not place.hostname or port == 0:
        raise BadSubscription("The address to push to is none.")
    if place.scheme != "https" and not (place.scheme == "http" and _loopback(place.hostname)):
        raise BadSubscription("The address to push to is not https.")
    return place


def _loopback(host: str) -> bool:
    """Only tests have a push service of their own."""
    return settings.PUSH_TO_LOOPBACK and host in ("localhost", "127.0.0.1")


def _may_be_public(host: str) -> bool:
    """Not one that is written as an address, or known to be none: push services have names."""
    if _loopback(host):
        return True
    last = host.rstrip(".").rpartition(".")[2]
    return (
        "." in host.rstrip(".")
        and last.isalpha()
        and last not in ("localhost", "local", "internal", "home", "lan")
    )


def _addresses(place: SplitResult, until: float) -> Iterator[tuple[Any, ...]]:
    """What the name means now, as far as it is public; connected to as it was looked at."""
    host = place.hostname or ""
    port = place.port or (443 if place.scheme == "https" else 80)
    for family, kind, protocol, _, address in _looked_up(host, port, until):
        if _loopback(host) or _public(str(address[0])):
            yield family, kind, protocol, address


def _looked_up(host: str, port: int, until: float) -> list[Any]:
    """Looking a name up cannot be given a timeout: it has a thread that is not waited for, and that ends by itself."""
    answer: Future[list[Any]] = Future()

    def look() -> None:
        try:
            answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:  # for the one who asked
            answer.set_exception(error)

    Thread(target=look, name="nod-push-name", daemon=True).start()
    return answer.result(_left(until))


def _left(until: float) -> float:
    """Seconds; raises TimeoutError where none are left."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _public(address: str) -> bool:
    """Neither private nor of this machine or network, also where IPv6 wraps an IPv4 address."""
    found = ip_address(address.partition("%")[0])
    wrapped = getattr(found, "sixtofour", None) or (
        ip_address(int(found) & 0xFFFFFFFF) if found in NAT64 else None
    )
    reached = found.version == 4 or found in UNICAST or found in NAT64
    return reached and found.is_global and not found.is_multicast and (wrapped is None or wrapped.is_global)


def _post(place: SplitResult, headers: dict[str, str], body: bytes) -> int:
    """The status of the answer. By hand, since all steps together have to end in time, and at the address looked at."""
    until = time.monotonic() + settings.NOTICE_TIMEOUT.total_seconds()
    path = f"{place.path or '/'}?{place.query}" if place.query else place.path or "/"
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("ascii")
    try:
        with _connected(place, until) as connection:
            connection.settimeout(_left(until))
            connection.sendall(head + body)
            return _status(connection, until)
    except (OSError, ValueError) as error:
        raise NotTaken(f"{place.hostname}: {type(error).__name__}") from None


def _connected(place: SplitResult, until: float) -> socket.socket:
    target = next(_addresses(place, until), None)
    if target is None:
        raise NotTaken(f"{place.hostname} is no public address")
    family, kind, protocol, address = target
    plain = socket.socket(family, kind, protocol)
    try:
        plain.settimeout(_left(until))
        plain.connect(address)
        if place.scheme == "http":
            return plain
        plain.settimeout(_left(until))
        return _tls().wrap_socket(plain, server_hostname=place.hostname)
    except BaseException:
        plain.close()
        raise


def _status(connection: socket.socket, until: float) -> int:
    """Of the first line, which has to be here in time as a whole."""
    read = b""
    while b"\r\n" not in read and len(read) < STATUS_LINE:
        connection.settimeout(_left(until))
        more = connection.recv(STATUS_LINE)
        if not more:
            raise ValueError("no answer")
        read += more
    return int(read.split(b" ", 2)[1][:3] if b" " in read else b"")


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


# --- Bytes as text ----------------------------------------------------------------------------------
def _bytes(text: str) -> bytes:
    """Of base64url, with or without its padding. Raises BadSubscription."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except ValueError:
        raise BadSubscription("The browser's keys are none.") from None


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
