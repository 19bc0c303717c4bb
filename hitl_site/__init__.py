"""The composition root: settings, URLs, sockets, Celery. It has no models."""

from hitl_site.celery import app as celery_app

__all__ = ["celery_app"]
