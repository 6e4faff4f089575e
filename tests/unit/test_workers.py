# SPDX-License-Identifier: Apache-2.0
"""What lets two workers run the tests at once: time is measured alone, and no port is chosen twice."""

import fcntl
import socket
from pathlib import Path

import pytest

from deploy.local import free_port

CONFTEST = Path(__file__).parents[1] / "conftest.py"
PORTS, CHOICES = 100, 5000


def is_refused(operation: int) -> bool:
    """Whether another worker would have to wait now, for a test of this kind."""
    with CONFTEST.open("rb") as lock:
        try:
            fcntl.flock(lock, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_while_a_test_runs_none_runs_alone() -> None:
    assert is_refused(fcntl.LOCK_EX)


@pytest.mark.alone
def test_a_test_that_is_alone_has_no_other_beside_it() -> None:
    assert is_refused(fcntl.LOCK_SH)


def test_a_free_port_is_given_to_nobody_else_but_can_be_listened_on() -> None:
    ports = {free_port() for _ in range(PORTS)}
    assert len(ports) == PORTS
    for _ in range(CHOICES):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            assert other.getsockname()[1] not in ports
    with socket.create_server(("127.0.0.1", ports.pop())) as server:
        assert server.getsockname()[1] not in ports
