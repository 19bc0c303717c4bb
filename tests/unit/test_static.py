"""What browsers may keep of the static files."""

import os

import pytest
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.template.loader import render_to_string

from hitl_site.static import VersionedFiles


@pytest.fixture
def file(monkeypatch, tmp_path, settings):
    settings.DEBUG = True
    file = tmp_path / "a.css"
    file.write_text("body {}")
    monkeypatch.setattr(finders, "find", lambda name: str(file) if name == "a.css" else None)
    return file


def test_an_address_changes_with_what_is_in_the_file(file):
    storage = VersionedFiles()
    before = storage.url("a.css")
    assert before.startswith("/static/a.css?v=")
    assert storage.url("a.css") == before
    file.write_text("body { color: red }")
    os.utime(file, ns=(1, 1))
    assert storage.url("a.css") != before


def test_a_file_that_is_not_there_has_no_version(file):
    storage = VersionedFiles()
    assert storage.url("b.css") == "/static/b.css"
    assert "?v=" in storage.url("a.css")
    file.unlink()
    assert storage.url("a.css") == "/static/a.css"


def test_a_version_stays_until_the_process_ends(file, settings):
    """As ServeStatic's sizes do: a new address with the old size would be kept, cut off."""
    settings.DEBUG = False
    storage = VersionedFiles()
    before = storage.url("a.css")
    file.write_text("body { color: red }")
    assert storage.url("a.css") == before


def test_pages_use_it():
    assert staticfiles_storage.url("css/nod.css") in render_to_string("503.html")
    assert "?v=" in staticfiles_storage.url("admin/css/base.css")
