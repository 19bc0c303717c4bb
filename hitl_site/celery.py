"""The Celery application. Its messages are doorbells: an id that wakes a worker, never data."""

import logging
import os
from typing import Any

from celery import Celery
from celery.concurrency import get_implementation
from celery.signals import worker_init, worker_ready, worker_shutting_down

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitl_site.settings")

logger = logging.getLogger("nod")

app = Celery("nod")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect
def refuse_to_fork(sender: Any, **kwargs: Any) -> None:
    """The sweeper, the doorbells and the wake-ups are threads, which a forked child lacks, with locks they may hold."""
    if get_implementation(sender.pool_cls).__module__ == "celery.concurrency.prefork":
        raise SystemExit("Nod's workers do not fork. Start them with --pool threads, or without --pool.")


@worker_init.connect
def import_the_loop(**kwargs: Any) -> None:
    """Strands takes 0.7 s to import; the first chat should not wait for it."""
    import agents.runtimes.local  # noqa: F401


@worker_ready.connect
def start_sweeper(sender: Any, **kwargs: Any) -> None:
    """In each worker; `worker_shutting_down` ends it."""
    from agents.sweeper import Sweeper

    sweepers = sender.nod_sweepers = (Sweeper(), Sweeper(slow=True))
    for each in sweepers:
        each.start()
        worker_shutting_down.connect(lambda each=each, **kwargs: each.stop(), weak=False)


@worker_init.connect
def enter_tools(**kwargs: Any) -> None:
    """The catalogue has the tools as this code defines them, also where nobody ran a migrate."""
    from django.core.exceptions import ImproperlyConfigured
    from django.db import Error

    from agents.actions.catalogue import register_local

    try:
        register_local()
    except ImproperlyConfigured as error:
        raise SystemExit(f"Nod cannot start: {error}") from None
    except Error as error:
        logger.warning("The tools could not be entered into the catalogue: %s", str(error).strip())
