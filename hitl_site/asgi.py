"""One ASGI application: HTTP for Django, WebSockets for doorbells."""

import os

from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitl_site.settings")
try:
    patient = get_asgi_application()
except ImproperlyConfigured as error:
    raise SystemExit(f"Nod cannot start: {error}") from None

from channels.auth import AuthMiddlewareStack  # noqa: E402 (Django has to be set up first)
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from approvals.origin import SameOrigin  # noqa: E402
from hitl_site.handlers import OneThread, by_duration  # noqa: E402
from hitl_site.outage import SocketsAway  # noqa: E402
from hitl_site.routing import websocket_urlpatterns  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": by_duration(OneThread(), patient),
        "websocket": SameOrigin(SocketsAway(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))),
    }
)
