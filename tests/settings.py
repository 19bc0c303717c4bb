"""The settings under test: Nod's own, as on a laptop, with what tests need to be fast and alone."""

import os
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("DEBUG", "1")
os.environ.setdefault("NOD_DATA", str(ROOT / "var" / "test"))

from hitl_site.settings import *  # noqa: E402, F403 (they read the environment)
from hitl_site.settings import DATABASES, MIDDLEWARE  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CHANNEL_LAYERS = {"default": {"BACKEND": "tests.fakes.layer.LocalLayer"}}
# Each test client builds the middlewares anew, and this one reads every file each time: test_handlers.py has it.
MIDDLEWARE = [name for name in MIDDLEWARE if name != "hitl_site.handlers.StaticFiles"]
CACHES = {
    name: {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"} for name in ("default", "shared")
}
CELERY_BROKER_URL = "memory://"  # nobody listens: the `worker` fixture drives what is due
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, since the threads of an in-memory database lock each other out instead of waiting.
    DATABASES["default"]["TEST"] = {
        "NAME": str(Path(tempfile.gettempdir()) / f"nod-test-{os.getpid()}.sqlite3")
    }
    DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
else:
    # A test is one transaction, and its process stands back for the browsers (Makefile): it may well idle for long.
    DATABASES["default"]["OPTIONS"]["options"] = "-c idle_in_transaction_session_timeout=0"
