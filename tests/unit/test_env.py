"""The environment: a wrong value stops the start with one clear line."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from hitl_site.env import keep_vapid_key

ROOT = Path(__file__).resolve().parents[2]
KEY = "k3y" * 20
NOT_OURS = {"PATH", "HOME", "TMPDIR", "PYTHONPATH", "PYTEST_CURRENT_TEST"}


@pytest.fixture
def load(monkeypatch, tmp_path):
    """load(ENV="…"): every setting, as a process sees it that has this environment."""

    def run(**env):
        for name in set(os.environ) - NOT_OURS:
            monkeypatch.delenv(name)
        for name, value in {"NOD_DATA": str(tmp_path / "data"), **env}.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(ROOT / "hitl_site" / "settings.py"))

    return run


@pytest.fixture
def read(load):
    """read("NAME", …, ENV="…"): these settings."""

    def run(*names, **env):
        found = load(**env)
        return tuple(found[name] for name in names)

    return run


@pytest.fixture
def complaint(load):
    """complaint(ENV="…"): what stops the start."""

    def run(**env):
        with pytest.raises(ImproperlyConfigured) as caught:
            load(**{"DEBUG": "1", **env})
        assert len(str(caught.value).splitlines()) == 1
        return str(caught.value)

    return run


@pytest.mark.parametrize(
    ("name", "wrong", "hint"),
    [
        ("DEBUG", "maybe", "1 or 0"),
        ("NOD_MODEL_PROVIDER", "gpt", "bedrock, demo"),
        ("NOD_PUBLIC_URL", "nod.example.org", "https://nod.example.org"),
        ("NOD_PUBLIC_URL", "https://nod.example.org/desk", "https://nod.example.org"),
        ("NOD_PUBLIC_URL", "javascript://x", "https://nod.example.org"),
        ("NOD_PUBLIC_URL", "https://nod.example.org:port", "https://nod.example.org"),
        ("NOD_VAPID_PRIVATE_KEY", "short", "token_urlsafe(32)"),
        ("NOD_VAPID_PRIVATE_KEY", "ä" * 43, "token_urlsafe(32)"),
        ("DATABASE_URL", "nonsense", "postgres://"),
        ("PORT", "http", "8000"),
        ("PORT", "0", "65535"),
        ("PORT", "70000", "65535"),
        ("DATABASE_URL", "mysql://u:p@h/db", "postgres://"),
        ("DATABASE_URL", "postgres://h:port/db", "postgres://"),
        ("DATABASE_URL", "nonsense", "postgres://"),
        ("REDIS_URL", "http://localhost", "redis://"),
        ("REDIS_URL", "localhost:6379", "redis://"),
        ("CELERY_BROKER_URL", "kafka://x", "amqp://"),
        ("CSRF_TRUSTED_ORIGINS", "nod.example.org", "https://"),
        ("EMAIL_URL", "pigeon://loft", "smtp://"),
        ("EMAIL_URL", "smtp://mail:port", "smtp://"),
        ("REDIS_URL", "redis://[::1", "redis://"),
        ("CSRF_TRUSTED_ORIGINS", "http://[::1", "https://"),
        ("SECRET_KEY_FILE", "/nowhere/key", "SECRET_KEY"),
        ("NOD_DATA", "/dev/null/data", "NOD_DATA"),
    ],
)
def test_it_says_in_one_line_what_is_wrong(complaint, name, wrong, hint):
    line = complaint(**{name: wrong})
    assert name.removesuffix("_FILE") in line
    assert hint in line


@pytest.mark.parametrize("env", [{}, {"SECRET_KEY": ""}], ids=["missing", "empty"])
def test_it_demands_a_secret_key_in_production(complaint, env):
    line = complaint(DEBUG="0", ALLOWED_HOSTS="nod.example.org", **env)
    assert "SECRET_KEY is missing" in line


def test_it_demands_a_long_secret_key_in_production(complaint):
    assert "too short" in complaint(DEBUG="0", SECRET_KEY="short")


def test_it_is_off_unless_told(read):
    debug, hosts, demo = read("DEBUG", "ALLOWED_HOSTS", "DEMO", SECRET_KEY=KEY)
    assert (debug, hosts, demo) == (False, [], False)


def test_it_secures_production(read):
    names = ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT", "SECRET_KEY")
    assert read(*names, SECRET_KEY=KEY) == (True, True, True, KEY)
    assert read(*names[:3], DEBUG="1") == (False, False, False)


def test_it_makes_a_key_once_on_a_laptop(read, tmp_path):
    [first], [second] = read("SECRET_KEY", DEBUG="1"), read("SECRET_KEY", DEBUG="1")
    assert first == second == (tmp_path / "data" / "secret-key").read_text()
    assert len(first) >= 50
    assert (tmp_path / "data" / "secret-key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("name", "content", "setting", "expected"),
    [
        ("SECRET_KEY", KEY, "SECRET_KEY", KEY),
        ("REDIS_URL", "redis://:secret@redis:6379/0", "REDIS_URL", "redis://:secret@redis:6379/0"),
        ("EMAIL_URL", "smtp://nod:secret@mail:25", "EMAIL_HOST_PASSWORD", "secret"),
    ],
)
def test_it_reads_a_secret_from_a_file(read, tmp_path, name, content, setting, expected):
    file = tmp_path / "secret"
    file.write_text(content + "\n")
    assert read(setting, **{"SECRET_KEY": KEY, f"{name}_FILE": str(file)} | _without(name)) == (expected,)


def _without(name):
    return {"SECRET_KEY": ""} if name == "SECRET_KEY" else {}


def test_it_takes_a_database_url_from_a_file(read, tmp_path):
    file = tmp_path / "url"
    file.write_text("postgres://nod:secret@db:5433/nod\n")
    [databases] = read("DATABASES", DEBUG="1", DATABASE_URL_FILE=str(file))
    default = databases["default"]
    assert (default["HOST"], default["PORT"], default["PASSWORD"]) == ("db", 5433, "secret")


def test_it_uses_sqlite_and_its_own_valkey_by_default(read, tmp_path):
    databases, url, broker, embedded = read(
        "DATABASES", "REDIS_URL", "CELERY_BROKER_URL", "EMBEDDED_REDIS", DEBUG="1"
    )
    assert databases["default"]["NAME"] == tmp_path / "data" / "nod.sqlite3"
    assert databases["default"]["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert embedded
    assert url.startswith("unix:///")
    assert broker == url.replace("unix://", "redis+socket://")


def test_it_uses_the_broker_that_it_is_given(read):
    names = ("REDIS_URL", "CELERY_BROKER_URL", "EMBEDDED_REDIS")
    redis, broker = "valkey://cache:6379/1", "amqp://rabbit/"
    known = "redis://cache:6379/1"
    assert read(*names, DEBUG="1", REDIS_URL=redis, CELERY_BROKER_URL=broker) == (known, broker, False)
    assert read(*names, DEBUG="1", REDIS_URL=redis) == (known, known, False)
    [layers] = read("CHANNEL_LAYERS", DEBUG="1", REDIS_URL=redis)
    assert [host["address"] for host in layers["default"]["CONFIG"]["hosts"]] == [known]


def test_it_never_times_out_idle_subscriptions(read):
    """redis-py 8 gives up after 5 s, which closes every idle socket (channels_redis#422)."""
    [layers] = read("CHANNEL_LAYERS", DEBUG="1")
    assert [host["socket_timeout"] for host in layers["default"]["CONFIG"]["hosts"]] == [None]


def test_it_shows_no_secret_when_it_complains(complaint):
    line = complaint(DATABASE_URL="mysql://nod:hunter2@db/nod")
    assert "hunter2" not in line


def test_it_stops_with_that_line_alone(tmp_path):
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--plan"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DEBUG": "1", "PORT": "http"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert "PORT" in done.stderr


def test_it_does_not_guess_between_a_value_and_a_file(complaint, tmp_path):
    (tmp_path / "key").write_text(KEY)
    line = complaint(SECRET_KEY=KEY, SECRET_KEY_FILE=str(tmp_path / "key"))
    assert "keep one of them" in line


def test_links_lead_to_where_nod_is(read):
    assert read("PUBLIC_URL", DEBUG="1", PORT="8123") == ("http://127.0.0.1:8123",)
    assert read("PUBLIC_URL", DEBUG="1", NOD_PUBLIC_URL="https://nod.example.org/") == (
        "https://nod.example.org",
    )


def test_the_push_key_is_made_once_and_kept(read, tmp_path, monkeypatch):
    data = tmp_path / "data"
    assert read("VAPID_KEY", DEBUG="1") == ("",)
    keep_vapid_key(data)
    [first] = read("VAPID_KEY", DEBUG="1")
    keep_vapid_key(data)
    assert len(first) == 43
    assert read("VAPID_KEY", DEBUG="1") == (first,)
    assert (data / "vapid-key").stat().st_mode & 0o077 == 0
    given = "A" * 42 + "E"
    assert read("VAPID_KEY", DEBUG="1", NOD_VAPID_PRIVATE_KEY=given) == (given,)
