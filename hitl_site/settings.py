"""Every setting of Nod, top to bottom. README.md lists the environment variables."""

from datetime import timedelta
from pathlib import Path

import dj_email_url
from csp.constants import NONCE, NONE, SELF

from agents.email_url import SENDER, email_settings
from agents.providers import available
from hitl_site import env as read
from hitl_site.embedded import socket_path
from hitl_site.env import env

BASE_DIR = Path(__file__).resolve().parent.parent

# --- What the environment says ------------------------------------------------------------------------
DEBUG = read.value(env.bool, "DEBUG", False, "Give 1 or 0.")
DATA_DIR = Path(read.value(env.str, "NOD_DATA", "", "") or BASE_DIR / "var").expanduser().resolve()
PORT = read.port("PORT", 8000)
SECRET_KEY = read.secret_key(DEBUG, DATA_DIR)
AUDIT_KEYS = read.audit_keys("AUDIT_KEYS", SECRET_KEY)
ALLOWED_HOSTS = read.value(env.list, "ALLOWED_HOSTS", [], "Give host names separated by commas.") or (
    ["localhost", "127.0.0.1", "[::1]"] if DEBUG else []
)
CSRF_TRUSTED_ORIGINS = read.origins("CSRF_TRUSTED_ORIGINS")
PUBLIC_URL = read.public_url("NOD_PUBLIC_URL", PORT)
DATABASES = {"default": read.database(DATA_DIR, pool_size=16)}
EMBEDDED_REDIS = not read.url("REDIS_URL", "", ("redis", "rediss", "unix", "valkey"))
REDIS_SOCKET = socket_path(DATA_DIR) if EMBEDDED_REDIS else None
REDIS_URL = read.url("REDIS_URL", "", ("redis", "rediss", "unix", "valkey")) or f"unix://{REDIS_SOCKET}"
# the same protocol; redis-py knows only its own name for it
REDIS_URL = REDIS_URL.replace("valkey://", "redis://")
NOD_MODEL_PROVIDER = read.one_of("NOD_MODEL_PROVIDER", "demo", tuple(available()))
NOD_MODEL_ID = read.value(env.str, "NOD_MODEL_ID", "", "")
# The operator's own functions, as dotted paths (docs/terminal.md); looked for at every start, by hitl_site/checks.py.
NOD_ASK = read.value(env.str, "NOD_ASK", "", "")
NOD_EVALUATE = read.value(env.str, "NOD_EVALUATE", "", "")
NOD_EVALUATE_TRUST = read.value(env.str, "NOD_EVALUATE_TRUST", "", "")
NOD_TOKEN = read.value(env.str, "NOD_TOKEN", "", "")  # who talks in `manage.py chat`, instead of a password
NOD_ASK_TIMEOUT = timedelta(seconds=read.number("NOD_ASK_TIMEOUT", 300, "Give seconds, such as 300."))

# --- Django -------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "servestatic.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "csp",
    "django_htmx",
    "ninja",  # for its own copy of the API documentation's scripts
    "template_partials",
    "axes",
    "approvals",
    "agents",
    "hitl_site",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "hitl_site.handlers.StaticFiles",
    "csp.middleware.CSPMiddleware",
    "hitl_site.middleware.TooMuch",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "hitl_site.outage.DatabaseAway",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "hitl_site.middleware.ExpiredLogin",
    "hitl_site.middleware.OnePerson",
    "hitl_site.middleware.CalmNotFound",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "hitl_site.urls"
ASGI_APPLICATION = "hitl_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "hitl_site.context.desk",
            ],
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "approvals.auth.PeopleBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "hitl_site.static.VersionedFiles"},
}
SERVESTATIC_USE_FINDERS = True  # no collectstatic needed: one step fewer that could be forgotten

# --- Security -----------------------------------------------------------------------------------------
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "worker-src": [SELF],
        "manifest-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 12 * 60 * 60
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
SECURE_SSL_REDIRECT = not DEBUG
SECURE_HSTS_SECONDS = 0 if DEBUG else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not DEBUG
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
CSRF_FAILURE_VIEW = "hitl_site.views.csrf_failure"

# A name and an address together: nobody can lock another person out from elsewhere, where addresses are people's own
# (docs/operations.md, “Wrong passwords”).
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # it ends when it was said to end
AXES_USERNAME_CALLABLE = "approvals.auth.tried_name"
AXES_LOCKOUT_CALLABLE = "hitl_site.views.locked_out"
AXES_DISABLE_ACCESS_LOG = True  # the audit trail has it
AXES_ENABLE_ADMIN = False  # people's own page unlocks them
AXES_VERBOSE = False

# --- Single sign-on, where a provider is named (docs/operations.md) -----------------------------------
SSO = read.openid_provider()
OIDC_GROUPS_CLAIM = read.value(env.str, "OIDC_GROUPS_CLAIM", "", "Give the name of a claim, such as groups.")
if SSO:
    INSTALLED_APPS += [
        "allauth",
        "allauth.account",
        "allauth.socialaccount",
        "allauth.socialaccount.providers.openid_connect",
    ]
    MIDDLEWARE.append("allauth.account.middleware.AccountMiddleware")
    SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [SSO], "OAUTH_PKCE_ENABLED": True}}
    SOCIALACCOUNT_OPENID_CONNECT_URL_PREFIX = ""
    SOCIALACCOUNT_ADAPTER = "hitl_site.sso.Adapter"
    SOCIALACCOUNT_EMAIL_VERIFICATION = ACCOUNT_EMAIL_VERIFICATION = "none"  # the provider knows its people
    # A link, not a form: form-action in the policy above would stop the way to the provider.
    SOCIALACCOUNT_LOGIN_ON_GET = True
    ACCOUNT_UNIQUE_EMAIL = False  # people are told apart by the provider's id for them

# --- Redis, Channels, Celery --------------------------------------------------------------------------
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        # socket_timeout None: redis-py 8 gives up on an idle subscription after 5 s otherwise
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}], "prefix": "nod"},
    }
}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "shared": {  # by all processes; what is in it may be lost at any time
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "nod",
        "OPTIONS": {
            "serializer": "hitl_site.cache.JSONSerializer",
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
        },
    },
}
_BROKER = read.url(
    "CELERY_BROKER_URL", "", ("redis", "rediss", "redis+socket", "unix", "valkey", "amqp", "amqps")
)
CELERY_BROKER_URL = (
    (_BROKER or REDIS_URL).replace("unix://", "redis+socket://").replace("valkey://", "redis://")
)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_PUBLISH_RETRY = False  # a lost message is found by the sweeper; nobody waits for the broker
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONSUMER = "hitl_site.consumer:Consumer"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# concerns tasks with late acknowledgement alone, of which there are none; False makes Celery warn at each outage
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 2, "socket_keepalive": True}

# --- Nod ----------------------------------------------------------------------------------------------
RUN_LEASE = timedelta(seconds=15)  # a worker that says nothing for so long has lost its run
RUN_HEARTBEAT = timedelta(seconds=5)
EFFECT_GRACE = RUN_LEASE  # on top of a tool's timeout, before what it did is taken to be over
# A tool that a worker has claimed runs within this time or not at all: a worker that stood still for longer may have
# lost its lease. Less than a lease minus a heartbeat.
START_WITHIN = timedelta(seconds=5)
SWEEP_EVERY = timedelta(seconds=5)  # in each worker; a little sooner, by chance
SWEEP_GRACE = timedelta(seconds=3)  # a run that is due longer than this was forgotten by the broker
RUN_MAX_ATTEMPTS = 5  # a run that kills its worker so often is given up
MESSAGE_MAX_CHARS = 20_000
PENDING_A_SESSION = 20  # calls that may wait for people at the same time
PENDING_A_TOKEN_OWNER = 200  # the same, for all sessions of somebody's agents that run elsewhere
CALL_LEASE = timedelta(minutes=5)  # for what such an agent has claimed, unless it asks for another time
CALL_LEASE_MOST = timedelta(hours=1)
DENIALS_A_CALL = 3  # after so many, exactly the same call is not asked for again in its session
TRUST_MAX_AGE = timedelta(hours=8)
NOTICE_GRACE = timedelta(seconds=60)  # a call that is decided sooner is written to nobody about
NOTICE_PAUSE = timedelta(minutes=10)  # between two messages to one person by one channel
NOTICE_LEASE = timedelta(minutes=2)  # a message that was begun and not ended in this time is sent again
NOTICE_TIMEOUT = timedelta(seconds=10)  # for a mail server, and for a push service
NOTICE_BACKOFF = (timedelta(seconds=30), timedelta(hours=1))  # after the first failure, and at most
PUSH_SUBSCRIPTIONS = 10  # a person; one more takes the place of the oldest
PUSH_TO_LOOPBACK = False  # for tests, which have a push service of their own
VAPID_KEY = read.vapid_key("NOD_VAPID_PRIVATE_KEY", DATA_DIR)  # empty: no push
METRICS_TOKEN = read.long_secret("NOD_METRICS_TOKEN")  # empty: an administrator's API token reads /metrics
FAILPOINTS = read.failpoints("NOD_FAILPOINTS", DEBUG)  # for tests/chaos
DEMO = DEBUG  # demo people, the outbox page: never with DEBUG off
WORKSPACE_DIR = DATA_DIR / "workspace"
OUTBOX_DIR = DATA_DIR / "outbox"

# --- E-mail -------------------------------------------------------------------------------------------
_EMAIL_URL = read.url("EMAIL_URL", "", tuple(dj_email_url.SCHEMES))
EMAIL_FILE_PATH = str(OUTBOX_DIR)
# Where Nod's own mails become files: not in the outbox, which shows those of the agents.
NOTICES_DIR = None if _EMAIL_URL else DATA_DIR / "notices"
DEFAULT_FROM_EMAIL = SENDER
if _EMAIL_URL:
    vars().update(email_settings(_EMAIL_URL, "leave it out for files under the data folder."))
else:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"

# --- Logging ------------------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"told": {"()": "hitl_site.logs.ToldAlready"}},
    "formatters": {"plain": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "nod": {"level": "INFO"},
        "django": {"handlers": [], "level": "INFO"},  # Django's own handler would say everything twice
        "psycopg.pool": {"level": "ERROR"},  # it tells of each attempt while a database is away
        "channels_redis": {
            "level": "CRITICAL"
        },  # it prints a trace for each attempt; Nod says it in one line
        "axes": {"level": "CRITICAL"},  # who was locked out stands in the audit trail
        "django.security.DisallowedHost": {"level": "CRITICAL"},  # answered with 400; scanners do it all day
        # a 404 or 403 is an answer, not a fault
        "django.request": {"level": "ERROR", "filters": ["told"]},
        "opentelemetry": {"level": "CRITICAL"},  # it complains of streams that are closed early
        "strands": {"level": "CRITICAL"},  # failures reach the chat and the ledger with their reason
    },
}
