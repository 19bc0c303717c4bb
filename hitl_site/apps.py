from django.apps import AppConfig


class HitlSiteConfig(AppConfig):
    name = "hitl_site"

    def ready(self) -> None:
        from django.db.backends.base.base import BaseDatabaseWrapper

        from hitl_site.checks import check_hooks

        check_hooks()

        # With DEBUG on, Django keeps the last 9,000 queries of each connection and, on SQLite, runs a second
        # query to quote each one's parameters: twice the cost of a query, in processes that run for days.
        # assertNumQueries and the like still work, they force the log.
        BaseDatabaseWrapper.queries_logged = property(lambda self: self.force_debug_cursor)  # type: ignore[assignment,method-assign]
