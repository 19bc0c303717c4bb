"""Addresses of static files that change with what is in them, so that browsers keep a file until there is a new one."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage


class VersionedFiles(StaticFilesStorage):
    """Needs no collectstatic: the version is in the query, the file stays where it is.

    With DEBUG off a file keeps its version until the process ends, as ServeStatic keeps its size and date.
    """

    def __init__(self) -> None:
        super().__init__()
        self._files: dict[str, Path] = {}

    def url(self, name: str | None) -> str:
        """With `?v=…`; without for a file that is not there."""
        address = super().url(name)
        try:
            file = self._file(name or "")
            return f"{address}?v={_version(file, file.stat().st_mtime_ns if settings.DEBUG else 0)}"
        except OSError:
            return address

    def _file(self, name: str) -> Path:
        if name not in self._files:
            found = finders.find(name)
            if not isinstance(found, str):
                raise FileNotFoundError(name)
            self._files[name] = Path(found)
        return self._files[name]


@cache
def _version(file: Path, changed: int) -> str:
    return sha256(file.read_bytes()).hexdigest()[:12]
