from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AgentsConfig(AppConfig):
    name = "agents"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from agents import receivers  # noqa: F401 (connects them)

        post_migrate.connect(register_tools, sender=self, dispatch_uid="agents.tools")


def register_tools(**kwargs: Any) -> None:
    """Enters the tools of this code base into the catalogue; they count as looked at."""
    from agents.actions.catalogue import register_local

    register_local()
