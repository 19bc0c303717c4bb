"""How a reviewer is told of calls: in this browser, by push, by e-mail."""

from __future__ import annotations

from django.conf import settings as site
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from approvals import web_push
from approvals.actions import notices
from approvals.errors import InvalidInput
from approvals.notice_models import PushSubscription
from approvals.requests import Request, reviewer


@never_cache
@require_safe
def settings(request: Request) -> HttpResponse:
    """What this person hears of, and how."""
    reviewer(request)
    context = {
        "wants_email": notices.wants_email(request.user),
        "public_key": web_push.public_key(),
        "devices": PushSubscription.objects.filter(user=request.user).count(),
        "mails_to": site.NOTICES_DIR if site.DEMO else None,
    }
    return render(request, "notifications.html", context)


@never_cache
@require_POST
def email(request: Request) -> HttpResponse:
    """E-mail on or off."""
    reviewer(request)
    notices.set_email(request.user, request.POST.get("email") == "on")
    return redirect("notices:settings")


@never_cache
@require_POST
def subscribe(request: Request) -> HttpResponse:
    """This browser takes pushes."""
    reviewer(request)
    try:
        notices.subscribe(
            request.user, *(request.POST.get(name, "") for name in ("endpoint", "p256dh", "auth"))
        )
    except InvalidInput as error:
        return JsonResponse({"detail": error.message}, status=error.http_status)
    return HttpResponse(status=204)


@never_cache
@require_POST
def unsubscribe(request: Request) -> HttpResponse:
    """This browser takes none any more. Whoever is a reviewer no more may still do that."""
    notices.unsubscribe(request.user, request.POST.get("endpoint", ""))
    return HttpResponse(status=204)
