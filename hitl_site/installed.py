"""Nod as an app on a phone: its manifest, and the worker that browsers keep for pushes and for being offline."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.templatetags.static import static
from django.urls import reverse
from django.views.decorators.http import require_safe

WORKER = Path(settings.BASE_DIR) / "static" / "js" / "sw.js"
ICONS = (("192", "any"), ("512", "any"), ("maskable-512", "maskable"))
FRESH = {"Cache-Control": "no-cache"}


@login_not_required
@require_safe
def manifest(request: HttpRequest) -> HttpResponse:
    """What a phone needs to keep Nod among its apps."""
    about = {
        "id": "/",
        "name": "Nod",
        "short_name": "Nod",
        "description": "The approval desk for AI agents.",
        "start_url": reverse("approvals:queue"),
        "scope": "/",
        "display": "standalone",
        "background_color": "#f5f6f8",
        "theme_color": "#ffffff",
        "icons": [
            {
                "src": static(f"img/icon-{name}.png"),
                "sizes": f"{name.rpartition('-')[2]}x{name.rpartition('-')[2]}",
                "type": "image/png",
                "purpose": purpose,
            }
            for name, purpose in ICONS
        ],
    }
    return JsonResponse(about, content_type="application/manifest+json", headers=FRESH)


@login_not_required
@require_safe
def worker(request: HttpRequest) -> HttpResponse:
    """At the root of the site, since it answers for no page above its own folder."""
    return HttpResponse(WORKER.read_bytes(), content_type="text/javascript; charset=utf-8", headers=FRESH)
