"""What every process makes sure of as it starts."""

from django.core.exceptions import ImproperlyConfigured

from approvals import hooks


def check_hooks() -> None:
    """The operator's functions are there: a wrong path stops the start with one line, not a call in the night."""
    try:
        hooks.check()
    except hooks.BadHook as bad:
        raise ImproperlyConfigured(str(bad)) from None
