"""The part of a worker that reads from the broker: back soon after an outage, and one line in the log for each."""

from __future__ import annotations

import logging
from typing import Any

from celery.worker import consumer
from celery.worker.state import maybe_shutdown

logger = logging.getLogger("nod")

FIRST, STEP, LONGEST = 0.5, 0.5, 2.0  # seconds between two attempts


class Consumer(consumer.Consumer):
    """Celery's own waits 2, 4, 6 … 30 s between two attempts, in which approved calls wait, and logs each."""

    _lost = False  # Celery has just said that it lost the connection

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        self._lost = True
        super().on_connection_error_after_connected(exc)

    def ensure_connected(self, conn: Any) -> Any:
        """The connection, once there is one; waits for as long as it takes."""
        told, self._lost = self._lost, False

        def tell(error: Exception, interval: float) -> None:
            nonlocal told
            if not told:
                logger.warning("The broker at %s does not answer (%s); runs wait.", conn.as_uri(), error)
            told = True

        conn.ensure_connection(
            tell, callback=maybe_shutdown, interval_start=FIRST, interval_step=STEP, interval_max=LONGEST
        )
        self.first_connection_attempt = False
        return conn
