"""Addresses under /chat/."""

from django.urls import path

from agents import views

app_name = "agents"
urlpatterns = [
    path("", views.new, name="new"),
    path("<uuid:session_id>/", views.session, name="session"),
    path("<uuid:session_id>/draft", views.draft, name="draft"),
    path("<uuid:session_id>/messages", views.post, name="post"),
    path("<uuid:session_id>/messages/<int:seq>/edit", views.edit, name="edit"),
    path("<uuid:session_id>/stop", views.stop, name="stop"),
    path("<uuid:session_id>/retry", views.retry, name="retry"),
    path("<uuid:session_id>/answers/<uuid:question_id>", views.answer, name="answer"),
    path("<uuid:session_id>/calls/<uuid:call_id>/decision", views.decide, name="decide"),
    path("<uuid:session_id>/calls/<uuid:call_id>/nudge", views.nudge, name="nudge"),
    path("<uuid:session_id>/title", views.rename, name="rename"),
    path("<uuid:session_id>/archive", views.archive, name="archive"),
    path("<uuid:session_id>/trust/<uuid:grant_id>/revoke", views.revoke, name="revoke"),
]
