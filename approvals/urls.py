"""Addresses under /approvals/."""

from django.urls import path

from approvals import (
    attention_views,
    card_views,
    history_views,
    together_views,
    trust_views,
    views,
)

app_name = "approvals"
urlpatterns = [
    path("", views.queue, name="queue"),
    path("history/", history_views.history, name="history"),
    path("history/export.csv", history_views.export, name="history-export"),
    path("trust/", trust_views.trusted, name="trusted"),
    path("trust/<uuid:grant_id>/revoke", trust_views.revoke, name="revoke"),
    path("count/", views.count, name="count"),
    path("favicon.svg", attention_views.favicon, name="favicon"),
    path("together/", together_views.show, name="together"),
    path("together/decide", together_views.decide, name="decide_together"),
    path("together/<uuid:batch>/", together_views.result, name="decided_together"),
    path("together/<uuid:batch>/undo", together_views.undo, name="undo_together"),
    path("<uuid:call_id>/", views.call, name="call"),
    path("<uuid:call_id>/look", attention_views.look, name="look"),
    path("<uuid:call_id>/take", attention_views.take, name="take"),
    path("<uuid:call_id>/decide", views.decide, name="decide"),
    path("<uuid:call_id>/edit", card_views.edit, name="edit"),
    path("<uuid:call_id>/reveal", card_views.reveal, name="reveal"),
    path("<uuid:call_id>/raw", card_views.whole, name="raw"),
    path("<uuid:call_id>/undo", views.undo, name="undo"),
    path("<uuid:call_id>/settle", views.settle, name="settle"),
]
