from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ApprovalsConfig(AppConfig):
    name = "approvals"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from approvals import auth  # noqa: F401 (connects its receivers)
        from approvals.setup import ensure_groups, ensure_triggers

        post_migrate.connect(ensure_groups, dispatch_uid="approvals.groups")
        post_migrate.connect(ensure_triggers, sender=self, dispatch_uid="approvals.triggers")
