"""What `manage.py up` makes sure of first."""

import socket

import pytest

from hitl_site.preflight import CannotStart, require_redis


def test_it_says_that_no_redis_answers():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # bound and not listening: whoever connects is refused
        with pytest.raises(CannotStart) as caught:
            require_redis(f"redis://:secret@127.0.0.1:{probe.getsockname()[1]}")
    assert "nobody answers at 127.0.0.1" in str(caught.value)
    assert "REDIS_URL" in str(caught.value)
    assert "secret" not in str(caught.value)
