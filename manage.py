#!/usr/bin/env python
"""Nod's command line: `manage.py up`, `seed`, `token`, and Django's own commands."""

import os
import sys


def main() -> None:
    """Run one command; a wrong setting stops it with one line instead of a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitl_site.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Nod cannot start: {error}")


if __name__ == "__main__":
    main()
