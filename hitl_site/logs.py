"""What is left out of the log. Loaded before Django's apps are."""

import logging


class ToldAlready(logging.Filter):
    """Drops Django's line for each 503: outage.py says once why, and /readyz says it to whoever asks."""

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "status_code", None) != 503
