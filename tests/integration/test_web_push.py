"""Web push: what a real server gets is readable by the browser alone, signed, and sent to public addresses only."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import http_ece
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.test import Client

from approvals import web_push
from approvals.actions import announcing, notices, sending
from approvals.actions.notices import subscribe
from approvals.errors import InvalidInput
from approvals.models import AuditEntry, ToolCall, ToolPolicy
from approvals.notice_models import Postbox, PushSubscription
from tests.desk import asks, chat, pass_by, pending, sweep

KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"


def text(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Browser:
    """One that takes pushes: its keys, and what a push service does with what comes for it."""

    def __init__(self, url, name="one"):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.secret = b"0123456789abcdef"
        point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.fields = {"endpoint": f"{url}/push/{name}", "p256dh": text(point), "auth": text(self.secret)}

    def read(self, sealed):
        opened = http_ece.decrypt(sealed, private_key=self.key, auth_secret=self.secret, version="aes128gcm")
        return json.loads(opened)


class Service(ThreadingHTTPServer):
    """What it answers, and what it got."""

    status = 201
    got: list[tuple[str, dict[str, str], bytes]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def service(settings):
    """A push service on loopback: keeps what it got, and answers with `status`."""
    settings.PUSH_TO_LOOPBACK = True
    settings.VAPID_KEY = KEY
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, dict(self.headers), body))
            self.send_response(server.status)
            self.send_header("Location", f"{server.url}/elsewhere")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = Service(("127.0.0.1", 0), Handler)
    server.got = got
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def browser(service, rita):
    """Rita's."""
    made = Browser(service.url)
    subscribe(rita, **made.fields)
    return made


@pytest.fixture
def asked(model, alice):
    """A call that people are pushed about."""
    ToolPolicy.objects.filter(tool="send_email").update(notify="push")
    model.play(asks(body="a secret"), "Done.")
    call = pending(chat(alice))
    pass_by(ToolCall.objects.filter(pk=call.pk), "announce_at")
    return call


def again():
    pass_by(Postbox.objects.all(), "free_at")
    sweep()


def test_the_browser_reads_a_number_and_a_page(service, browser, asked):
    sweep()
    sweep()
    [(path, headers, body)] = service.got
    assert path == "/push/one"
    assert browser.read(body) == {"count": 1, "open": f"/approvals/{asked.pk}/"}
    assert (headers["Content-Encoding"], headers["Topic"]) == ("aes128gcm", "calls")
    assert int(headers["TTL"]) > 0
    assert b"send_email" not in body


def test_it_is_signed_for_this_service_by_the_key_that_browsers_know(service, browser, asked, settings):
    settings.PUBLIC_URL = "https://nod.example.org"
    sweep()
    [(_, headers, _)] = service.got
    scheme, _, rest = headers["Authorization"].partition(" ")
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    assert scheme == "vapid"
    assert parts["k"] == web_push.public_key()
    point = base64.urlsafe_b64decode(parts["k"] + "=")
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    claims = jwt.decode(parts["t"], key, algorithms=["ES256"], audience=service.url)
    assert claims["sub"] == "https://nod.example.org"
    assert 0 < claims["exp"] - time.time() < 24 * 3600


def test_several_calls_are_one_push_that_opens_the_queue(service, browser, asked, model, alice):
    model.play([asks(to="b@example.com"), asks(to="c@example.com")], "Done.")
    chat(alice)
    pass_by(ToolCall.objects.filter(announce_at__isnull=False), "announce_at")
    sweep()
    [(_, _, body)] = service.got
    assert browser.read(body) == {"count": 3, "open": "/approvals/"}


def test_each_push_has_keys_of_its_own(service, browser, asked):
    subscription = PushSubscription.objects.get()
    for _ in range(2):
        web_push.send(subscription, {"count": 1})
    first, second = (body for _, _, body in service.got)
    assert first[:16] != second[:16]
    assert first[21:86] != second[21:86]


@pytest.mark.parametrize("status", [404, 410])
def test_a_browser_that_is_gone_is_forgotten(service, browser, asked, status, caplog):
    service.status = status
    sweep()
    again()
    assert len(service.got) == 1
    assert not PushSubscription.objects.exists()
    assert caplog.text == ""


@pytest.mark.parametrize("status", [301, 307, 400, 403, 429, 500])
def test_what_is_not_taken_is_tried_again(service, browser, asked, status, caplog):
    service.status = status
    sweep()
    assert f"answers {status}" in PushSubscription.objects.get().failure
    assert caplog.text.count("Nod tries again") == 1
    service.status = 201
    again()
    assert [path for path, _, _ in service.got] == ["/push/one"] * 2
    assert PushSubscription.objects.get().failed_at is None


def test_one_device_that_takes_it_is_enough(service, browser, asked, rita):
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))  # nobody listens
    other = Browser(f"http://127.0.0.1:{silent.getsockname()[1]}", "two")
    subscribe(rita, **other.fields)
    sweep()
    again()
    assert len(service.got) == 1
    assert "ConnectionRefusedError" in PushSubscription.objects.get(endpoint=other.fields["endpoint"]).failure
    silent.close()


def test_a_service_that_does_not_answer_is_left_in_time(browser, rita, settings):
    settings.NOTICE_TIMEOUT = timedelta(milliseconds=200)
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        other = Browser(f"http://127.0.0.1:{hangs.getsockname()[1]}", "two")
        subscribe(rita, **other.fields)
        began = time.monotonic()
        with pytest.raises(web_push.NotTaken):
            web_push.send(PushSubscription.objects.get(endpoint=other.fields["endpoint"]), {"count": 1})
    assert time.monotonic() - began < 5


def test_one_that_answers_a_byte_at_a_time_is_left_in_time(browser, rita, settings):
    settings.NOTICE_TIMEOUT = timedelta(milliseconds=300)
    ended = threading.Event()

    def drip(server):
        connection, _ = server.accept()
        with connection:
            while not ended.wait(0.05):
                try:
                    connection.sendall(b"H")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,), daemon=True)
        thread.start()
        other = Browser(f"http://127.0.0.1:{server.getsockname()[1]}", "two")
        subscribe(rita, **other.fields)
        began = time.monotonic()
        with pytest.raises(web_push.NotTaken):
            web_push.send(PushSubscription.objects.get(endpoint=other.fields["endpoint"]), {"count": 1})
        assert time.monotonic() - began < 5
        ended.set()
        thread.join(10)


def test_a_name_server_that_does_not_answer_is_left_in_time(browser, settings, monkeypatch):
    settings.NOTICE_TIMEOUT = timedelta(milliseconds=200)
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: ended.wait(30) and [])
    began = time.monotonic()
    with pytest.raises(web_push.NotTaken, match="TimeoutError"):
        web_push.send(PushSubscription.objects.get(), {"count": 1})
    assert time.monotonic() - began < 5
    ended.set()


def test_a_name_that_means_nothing_is_said_to(browser, monkeypatch):
    def unknown(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(web_push.NotTaken, match="gaierror"):
        web_push.send(PushSubscription.objects.get(), {"count": 1})


def test_all_steps_share_one_timeout(browser, rita, settings, monkeypatch):
    settings.NOTICE_TIMEOUT = timedelta(seconds=2)
    looked_up = socket.getaddrinfo

    def slow(*args, **kwargs):
        threading.Event().wait(1.5)
        return looked_up(*args, **kwargs)

    with socket.create_server(("127.0.0.1", 0)) as hangs:
        subscribe(rita, **Browser(f"http://127.0.0.1:{hangs.getsockname()[1]}", "two").fields)
        monkeypatch.setattr(socket, "getaddrinfo", slow)
        began = time.monotonic()
        with pytest.raises(web_push.NotTaken):
            web_push.send(PushSubscription.objects.get(endpoint__endswith="two"), {"count": 1})
        assert time.monotonic() - began < 3


# --- Where nothing may be sent ----------------------------------------------------------------------
ENDPOINTS = (
    "http://push.example.com/x",
    "https://127.0.0.1/x",
    "https://127.1/x",
    "https://2130706433/x",
    "https://0x7f.1/x",
    "https://[::1]/x",
    "https://10.0.0.5/x",
    "https://169.254.169.254/latest/meta-data",
    "https://localhost/x",
    "https://push.localhost/x",
    "https://printer.local/x",
    "https://db.internal/x",
    "https://redis/x",
    "https://user@push.example.com/x",
    "https://push.example.com:0/x",
    "https://push.example.com:x/x",
    "https://push.example.com/x\r\nHost: evil",
    "https://push.example.com/x y",
    "https://push.exämple.com/x",
    "ftp://push.example.com/x",
    "file:///etc/passwd",
    "//push.example.com/x",
    "https://[::1",
    f"https://push.example.com/{'x' * 600}",
    "",
)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_what_is_no_public_address_is_not_taken(rita, settings, endpoint):
    settings.VAPID_KEY = KEY
    keys = Browser("https://push.example.com").fields
    with pytest.raises(InvalidInput):
        subscribe(rita, **{**keys, "endpoint": endpoint})
    assert not PushSubscription.objects.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"auth": ""},
        {"auth": "short"},
        {"auth": "!" * 22},
        {"p256dh": ""},
        {"p256dh": text(b"\x04" + b"\x01" * 64)},
    ],
)
def test_keys_that_are_none_are_not_taken(rita, settings, changes):
    settings.VAPID_KEY = KEY
    keys = Browser("https://push.example.com").fields
    with pytest.raises(InvalidInput):
        subscribe(rita, **{**keys, **changes})


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1",
     "::127.0.0.1", "::8.8.8.8", "fec0::1", "2001:0:7f00:1::", "4000::1"],
)  # fmt: skip
def test_a_name_that_means_a_private_address_is_not_connected_to(rita, settings, monkeypatch, address):
    settings.VAPID_KEY = KEY
    subscribe(rita, **Browser("https://push.example.com").fields)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = [(family, socket.SOCK_STREAM, 6, "", (address, 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    monkeypatch.setattr(socket, "socket", lambda *args: pytest.fail("it connected"))
    with pytest.raises(web_push.NotTaken, match="no public address"):
        web_push.send(PushSubscription.objects.get(), {"count": 1})


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are(address):
    assert web_push._public(address)


def test_loopback_is_for_tests_alone(browser, settings):
    settings.PUSH_TO_LOOPBACK = False
    with pytest.raises(web_push.NotTaken):
        web_push.send(PushSubscription.objects.get(), {"count": 1})


# --- Subscriptions ----------------------------------------------------------------------------------
def test_a_person_has_ten_devices_at_most(service, rita, remy, settings):
    for number in range(12):
        subscribe(rita, **Browser(service.url, str(number)).fields)
    subscribe(remy, **Browser(service.url, "remy's").fields)
    kept = PushSubscription.objects.filter(user=rita).values_list("endpoint", flat=True)
    assert sorted(int(each.rpartition("/")[2]) for each in kept) == list(range(2, 12))
    assert PushSubscription.objects.filter(user=remy).count() == 1


def test_a_browser_is_one_persons(service, browser, remy):
    subscribe(remy, **browser.fields)
    assert PushSubscription.objects.get().user == remy


def test_it_is_on_and_off_through_the_page(service, rita):
    client = Client()
    client.force_login(rita)
    fields = Browser(service.url).fields
    assert client.post("/notifications/subscribe", fields).status_code == 204
    assert client.post("/notifications/subscribe", fields).status_code == 204
    assert PushSubscription.objects.count() == 1
    assert client.post("/notifications/unsubscribe", fields).status_code == 204
    assert PushSubscription.objects.count() == 0
    kinds = (
        AuditEntry.objects.filter(kind__startswith="notices").order_by("seq").values_list("kind", flat=True)
    )
    assert list(kinds) == ["notices.subscribed", "notices.unsubscribed"]


def test_nobody_ends_the_subscription_of_another(service, browser, remy):
    notices.unsubscribe(remy, browser.fields["endpoint"])
    assert PushSubscription.objects.count() == 1


def test_a_refusal_is_a_sentence(rita, settings):
    client = Client()
    client.force_login(rita)
    settings.VAPID_KEY = ""
    answer = client.post("/notifications/subscribe", Browser("https://push.example.com").fields)
    assert (answer.status_code, answer.json()) == (422, {"detail": "Push is not set up on this Nod."})


def test_it_takes_a_post_from_this_site(service, rita):
    client = Client(enforce_csrf_checks=True)
    client.force_login(rita)
    fields = Browser(service.url).fields
    assert client.post("/notifications/subscribe", fields).status_code == 403
    assert client.get("/notifications/subscribe", fields).status_code == 405


def test_who_has_no_device_is_not_noted_for_push(service, browser, asked, rita):
    announcing.note_due()
    assert list(Postbox.objects.values_list("user", "channel")) == [(rita.pk, "push")]
    PushSubscription.objects.all().delete()
    sending.send_due()
    assert service.got == []
