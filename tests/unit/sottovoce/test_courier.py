# SPDX-License-Identifier: Apache-2.0
"""A busy host is asked again when it says when, for a while, with the same bytes."""

import threading
import time

import httpx
import pytest

from sottovoce import courier
from sottovoce.chat import Turn
from sottovoce.courier import (
    LEAST_PAUSE_SECONDS,
    PATIENCE_SECONDS,
    Courier,
    RefusedByHostError,
    UnreachableError,
    pause_seconds,
)
from sottovoce.failures import failure_of
from sottovoce.session import TruncatedResponse
from tests.fakes.relay import PROBLEM, TEXTS, Enclave, Host, Outer, guest

MACHINE = guest()
BUSY = Outer(503, PROBLEM, b"{}", retry_after="0")
QUESTION = [Turn("user", "what is it?")]


@pytest.fixture
def host() -> Host:
    return Host(Enclave(MACHINE))


def busy_for(host: Host, times: int) -> list[bytes]:
    """Have the host be busy this often; the bodies that it gets."""
    bodies: list[bytes] = []

    def deliver(path: str, kind: str, body: bytes) -> Outer:
        bodies.append(body)
        return BUSY if len(bodies) <= times else host.honestly(path, kind, body)

    host.deliver = deliver
    return bodies


def test_a_request_to_a_busy_host_is_sent_again_as_it_was(host: Host) -> None:
    with host.connect() as connection:
        session = connection.open()
        bodies = busy_for(host, 2)
        started = time.monotonic()
        assert "".join(connection.chat("model", QUESTION)) == "".join(TEXTS)
        assert time.monotonic() - started >= 2 * LEAST_PAUSE_SECONDS
        assert len(bodies) == 3
        assert len({*bodies}) == 1
        assert (connection.open(), session.keys_left) == (session, 4)
    assert len(host.enclave.calls) == 1


def test_a_session_is_asked_for_again(host: Host) -> None:
    bodies = busy_for(host, 1)
    with host.connect() as connection:
        assert connection.open().keys_left == 4
    assert (len(bodies), len({*bodies})) == (2, 1)


def test_evidence_is_asked_for_again(host: Host) -> None:
    answers = iter((BUSY, BUSY, host.enclave.get()))
    host.document = lambda: next(answers)
    with host.connect() as connection:
        assert connection.verify().verdict.verified


def test_a_host_that_is_busy_for_ever_is_an_error(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "PATIENCE_SECONDS", 0.7)
    with host.connect() as connection:
        connection.open()
        bodies = busy_for(host, 1000)
        started = time.monotonic()
        with pytest.raises(RefusedByHostError, match="503"):
            list(connection.chat("model", QUESTION))
        assert time.monotonic() - started < 5
        assert 2 <= len(bodies) <= 4
        host.document = lambda: BUSY
        with pytest.raises(UnreachableError, match="503"):
            connection.verify()


def test_a_host_that_was_busy_and_is_gone_may_have_the_request(host: Host) -> None:
    """Trying again is not called safe: the first copy was sent, whatever the host said of it."""
    with host.connect() as connection:
        connection.open()
        bodies: list[bytes] = []

        def busy_and_gone(_path: str, _kind: str, body: bytes) -> Outer:
            bodies.append(body)
            if len(bodies) > 1:
                raise httpx.ConnectError("connection refused")
            return BUSY

        host.deliver = busy_and_gone
        with pytest.raises(TruncatedResponse) as raised:
            list(connection.chat("model", QUESTION))
        assert not failure_of(raised.value).retry_is_safe
        with pytest.raises(UnreachableError) as nothing_sent:
            list(connection.chat("model", QUESTION))
        assert failure_of(nothing_sent.value).retry_is_safe


def test_a_pause_beyond_patience_is_not_waited_for(host: Host) -> None:
    with host.connect() as connection:
        connection.open()
        host.deliver = lambda _path, _kind, _body: Outer(503, PROBLEM, b"{}", retry_after="21")
        host.posts.clear()
        with pytest.raises(RefusedByHostError):
            list(connection.chat("model", QUESTION))
        assert len(host.posts) == 1
    assert PATIENCE_SECONDS < 21


@pytest.mark.parametrize(
    ("status", "value", "seconds"),
    [
        (503, "2", 2.0),
        (503, "0", LEAST_PAUSE_SECONDS),
        (503, "9999", 9999.0),
        (503, "99999999999999999999", None),
        (503, "-1", None),
        (503, "1.5", None),
        (503, "٣", None),
        (503, "Fri, 31 Dec 1999 23:59:59 GMT", None),
        (503, "", None),
        (429, "2", None),
        (200, "2", None),
    ],
)
def test_only_a_busy_host_that_says_for_how_many_seconds_is_waited_for(
    status: int, value: str, seconds: float | None
) -> None:
    headers = httpx.Headers([(b"retry-after", value.encode())])
    assert pause_seconds(httpx.Response(status, headers=headers)) == seconds


class Slow(httpx.BaseTransport):
    """A host that is busy for seconds."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def handle_request(self, request: httpx.Request) -> httpx.Response:  # type: ignore[explicit-override]
        """Say so."""
        assert request.method == "GET"
        self.asked.set()
        return httpx.Response(503, headers={"retry-after": "15"})


def test_closing_ends_the_wait() -> None:
    host = Slow()
    waiting = Courier("http://host.example", host)
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            waiting.document()
        except UnreachableError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert host.asked.wait(10)
    waiting.close()
    thread.join(10)
    assert not thread.is_alive()
    assert len(errors) == 1
