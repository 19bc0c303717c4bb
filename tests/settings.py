"""The settings under test: Nod's own, as on a laptop, with what tests need to be fast and alone."""

import os
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("DEBUG", "1")
os.environ.setdefault("NOD_DATA", str(ROOT / "var" / "test"))

from hitl_site.settings import *  # noqa: E402, F403 (they read the environment)
from hitl_site.settings import DATABASES  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CHANNEL_LAYERS = {"default": {"BACKEND": "tests.fakes.layer.LocalLayer"}}
# Each test client builds the middlewares anew; this one would read every file each time. tests/e2e has the real one.
SERVESTATIC_USE_FINDERS = SERVESTATIC_USE_STATIC_ROOT = False
CELERY_BROKER_URL = "memory://"  # nobody listens: the `worker` fixture drives what is due
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, since the threads of an in-memory database lock each other out instead of waiting.
    DATABASES["default"]["TEST"] = {
        "NAME": str(Path(tempfile.gettempdir()) / f"nod-test-{os.getpid()}.sqlite3")
    }
    DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
