"""Addresses under /notifications/."""

from django.urls import path

from approvals import notice_views

app_name = "notices"
urlpatterns = [
    path("", notice_views.settings, name="settings"),
    path("email", notice_views.email, name="email"),
    path("subscribe", notice_views.subscribe, name="subscribe"),
    path("unsubscribe", notice_views.unsubscribe, name="unsubscribe"),
]
