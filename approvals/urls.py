"""Addresses under /approvals/."""

from django.urls import path

from approvals import card_views, history_views, trust_views, views

app_name = "approvals"
urlpatterns = [
    path("", views.queue, name="queue"),
    path("history/", history_views.history, name="history"),
    path("trust/", trust_views.trusted, name="trusted"),
    path("trust/<uuid:grant_id>/revoke", trust_views.revoke, name="revoke"),
    path("count/", views.count, name="count"),
    path("<uuid:call_id>/", views.call, name="call"),
    path("<uuid:call_id>/decide", views.decide, name="decide"),
    path("<uuid:call_id>/edit", card_views.edit, name="edit"),
    path("<uuid:call_id>/reveal", card_views.reveal, name="reveal"),
    path("<uuid:call_id>/raw", card_views.whole, name="raw"),
    path("<uuid:call_id>/undo", views.undo, name="undo"),
    path("<uuid:call_id>/settle", views.settle, name="settle"),
]
