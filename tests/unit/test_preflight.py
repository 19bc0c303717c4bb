"""What `manage.py up` makes sure of first."""

import socket
import tomllib
from pathlib import Path

import pytest

from agents.providers.remote import LIBRARIES
from hitl_site.preflight import CannotStart, require_model_library, require_redis


def test_it_says_that_no_redis_answers():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # bound and not listening: whoever connects is refused
        with pytest.raises(CannotStart) as caught:
            require_redis(f"redis://:secret@127.0.0.1:{probe.getsockname()[1]}")
    assert "nobody answers at 127.0.0.1" in str(caught.value)
    assert "REDIS_URL" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_it_wants_the_library_of_the_model_that_is_named(monkeypatch):
    for name in ("demo", "bedrock", "openai"):
        require_model_library(name)  # it is there, or none is needed
    monkeypatch.setattr("hitl_site.preflight.find_spec", lambda name: None)
    require_model_library("bedrock")
    with pytest.raises(CannotStart, match='NOD_MODEL_PROVIDER=openai: .*pip install "openai'):
        require_model_library("openai")


def test_what_to_install_is_said_the_same_everywhere():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"] == {name: [pin] for name, pin in LIBRARIES.items()}
