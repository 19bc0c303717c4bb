"""All addresses."""

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from agents.views import outbox
from approvals import insights_views
from approvals.audit_views import trail
from hitl_site import health, installed, views
from hitl_site.api import urls as api_urls
from hitl_site.metrics.views import metrics

urlpatterns = [
    path("", views.home, name="home"),
    path(
        "login/",
        LoginView.as_view(template_name="login.html", redirect_authenticated_user=True),
        name="login",
    ),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("chat/", include("agents.urls")),
    path("approvals/", include("approvals.urls")),
    path("insights/", insights_views.page, name="insights"),
    path("notifications/", include("approvals.notice_urls")),
    path("audit/", trail, name="audit"),
    path("admin/", admin.site.urls),
    path("api/v1/", api_urls()),
    path("outbox/", outbox, name="outbox"),  # 404 outside a demo
    path("favicon.ico", views.favicon, name="favicon"),
    path("manifest.webmanifest", installed.manifest, name="manifest"),
    path("sw.js", installed.worker, name="worker"),
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("metrics", metrics, name="metrics"),
]

if settings.SSO:
    from hitl_site.sso import refused

    urlpatterns += [
        path("sso/", include("allauth.socialaccount.providers.openid_connect.urls")),
        # where django-allauth sends people whom it does not let in
        *(
            path(f"sso/{name}/", refused, name=name)
            for name in ("socialaccount_signup", "socialaccount_login_cancelled", "account_inactive")
        ),
    ]

handler403 = "hitl_site.views.forbidden"
handler404 = "hitl_site.views.not_found"
handler500 = "hitl_site.views.broken"
