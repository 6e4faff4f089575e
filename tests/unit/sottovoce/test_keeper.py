# SPDX-License-Identifier: Apache-2.0
"""One session for many threads: who waits, who opens, and what becomes of failures."""

import gc
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from sottovoce.courier import RefusedByHostError, UnreachableError
from sottovoce.keeper import RETRY_SECONDS, SessionKeeper
from sottovoce.one_time_keys import REFRESH_SECONDS, Session
from sottovoce.transport import GATEWAY_PATH, Connection
from tests.conftest import wait_until
from tests.fakes.relay import Enclave, Host, Outer, guest
from tests.unit.sottovoce.test_opening import finished, ready

MACHINE = guest()


@dataclass(slots=True)
class Opener:
    """Opens sessions, or fails, as a test says; `gate` lets it wait."""

    enclave: Enclave = field(default_factory=lambda: Enclave(MACHINE))
    now: float = 0.0
    opened: int = 0
    failed: int = 0
    error: Exception | None = None
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Let it go on until a test says otherwise."""
        self.gate.set()

    def open(self) -> Session:
        """Another session."""
        self.opened += 1
        assert self.gate.wait(10)
        if self.error is not None:
            self.failed += 1
            raise self.error
        return finished(self.enclave, ready(self.enclave).open(self.now))

    def keeper(self) -> SessionKeeper:
        """A keeper that uses this."""
        return SessionKeeper(self.open, lambda: self.now)


class OpeningError(Exception):
    """What a test makes opening fail with."""


def test_many_threads_that_come_at_once_open_one_session() -> None:
    opener = Opener()
    opener.gate.clear()
    keeper = opener.keeper()
    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(keeper.current) for _ in range(8)]
        opener.gate.set()
        sessions = {future.result(10).identifier for future in waiting}
    assert (opener.opened, len(sessions)) == (1, 1)


def test_a_failure_reaches_everybody_who_waits_and_the_next_one_tries_again() -> None:
    opener = Opener(error=OpeningError())
    opener.gate.clear()
    keeper = opener.keeper()
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(keeper.current) for _ in range(4)]
        opener.gate.set()
        assert all(isinstance(future.exception(10), OpeningError) for future in waiting)
    opener.error = None
    assert keeper.current().keys_left == 4


def test_who_has_a_session_does_not_wait_for_the_next_one() -> None:
    opener = Opener()
    keeper = opener.keeper()
    old = keeper.current()
    opener.gate.clear()
    opener.now = REFRESH_SECONDS
    for _ in range(3):
        with keeper.key() as key:
            assert key.session is old
    opener.gate.set()
    changed = threading.Event()
    while keeper.current() is old:
        changed.wait(0.01)
    assert opener.opened == 2


def test_a_next_session_that_cannot_be_opened_is_tried_again_later_and_not_at_once() -> None:
    opener = Opener()
    keeper = opener.keeper()
    old = keeper.current()
    opener.error, opener.now = OpeningError(), REFRESH_SECONDS
    ended = threading.Event()
    while opener.failed < 1:
        assert keeper.current() is old
        ended.wait(0.01)
    for _ in range(5):
        assert keeper.current() is old
        ended.wait(0.01)
    assert opener.opened == 2
    opener.error, opener.now = None, opener.now + RETRY_SECONDS
    while keeper.current() is old:
        ended.wait(0.01)


def test_keys_that_never_come_back_end_the_session() -> None:
    opener = Opener()
    keeper = opener.keeper()
    first = keeper.current()
    for _ in range(4):
        with keeper.key() as key:
            key.spend()
    with keeper.key() as key:
        assert key.session is not first
    assert first.is_over(opener.now)


def test_who_waits_for_a_key_gets_the_one_that_comes_back() -> None:
    opener = Opener()
    keeper = opener.keeper()
    session = keeper.current()
    taken = [session.take(0.0) for _ in range(3)]
    with ThreadPoolExecutor(1) as threads, keeper.key() as last:

        def next_one() -> bytes:
            with keeper.key() as key:
                return key.spend().public_key

        waiting = threads.submit(next_one)
        spent = last.spend()
        session.add(taken[0].spend())
        keeper.key_came_back()
        assert waiting.result(10) != spent.public_key


def test_a_lost_session_is_replaced() -> None:
    host = Host(Enclave(MACHINE))
    with host.connect() as connection:
        first = connection.open()
        first.end()
        assert connection.open() is not first


def test_opening_errors_are_what_a_caller_sees() -> None:
    opener = Opener(error=OpeningError())
    keeper = opener.keeper()
    with pytest.raises(OpeningError), keeper.key():
        pass


def openings(host: Host) -> int:
    """How many sessions were asked for."""
    return sum(path == GATEWAY_PATH for path, _ in host.posts)


def opened(connection: Connection) -> threading.Thread:
    """Open its first session; the thread that does this."""
    before = session_threads()
    connection.open()
    (thread,) = session_threads() - before
    return thread


def session_threads() -> set[threading.Thread]:
    """The threads of all keepers."""
    return {thread for thread in threading.enumerate() if thread.name == "sottovoce-session"}


def short_lived() -> Host:
    """A host of an enclave whose sessions live for a second."""
    host = Host(Enclave(MACHINE))
    host.enclave.session_seconds = 1
    return host


def echo(connection: Connection) -> None:
    """One request."""
    assert list(connection.stream("POST", "/v1/echo", b"{}"))


def test_sessions_are_renewed_while_nobody_asks() -> None:
    host = short_lived()
    with host.connect() as connection:
        first = connection.open()
        wait_until(lambda: openings(host) >= 3, "two more sessions")
        assert connection.open() is not first


def test_no_request_waits_for_a_renewal() -> None:
    host = Host(Enclave(MACHINE))
    host.enclave.session_requests = 8
    gate, asked = threading.Event(), threading.Event()

    def held(path: str, kind: str, body: bytes) -> Outer:
        if path == GATEWAY_PATH:
            asked.set()
            assert gate.wait(10)
        return host.honestly(path, kind, body)

    with host.connect() as connection:
        session = connection.open()
        host.deliver = held
        for _ in range(7):  # from the sixth one on, the next session is due
            echo(connection)
        assert asked.wait(10)
        assert connection.open() is session
        echo(connection)
        gate.set()
        echo(connection)
        assert connection.open() is not session


def test_a_renewal_that_fails_is_not_what_a_request_sees() -> None:
    host = Host(Enclave(MACHINE))
    host.enclave.session_requests = 8

    def refuse_sessions(path: str, kind: str, body: bytes) -> Outer:
        if path == GATEWAY_PATH:
            return Outer(502, "application/problem+json", b"{}")
        return host.honestly(path, kind, body)

    with host.connect() as connection:
        session = connection.open()
        host.deliver = refuse_sessions
        for _ in range(7):
            echo(connection)
        wait_until(lambda: openings(host) == 2, "the next session was asked for")
        assert connection.open() is session
        echo(connection)
        with pytest.raises(RefusedByHostError):
            echo(connection)
        host.deliver = host.honestly
        echo(connection)


def test_the_thread_ends_when_the_connection_is_closed() -> None:
    host = short_lived()
    with host.connect() as connection:
        thread = opened(connection)
        assert thread.is_alive()
    assert not thread.is_alive()
    with pytest.raises(UnreachableError, match="closed"):
        connection.open()


def test_the_thread_ends_when_the_connection_is_forgotten() -> None:
    host = short_lived()
    host.enclave.session_seconds = 3600
    connection = host.connect()
    thread = opened(connection)
    del connection
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_closing_waits_for_no_host() -> None:
    host = Host(Enclave(MACHINE))
    gate = threading.Event()

    def held(_path: str, _kind: str, _body: bytes) -> Outer:
        assert gate.wait(20)
        return Outer(502, "application/problem+json", b"{}")

    host.deliver = held
    connection, before = host.connect(), session_threads()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(connection.open)
        wait_until(lambda: openings(host) == 1, "the session request")
        (thread,) = session_threads() - before
        connection.close()
        assert thread.is_alive()
        gate.set()
        assert waiting.exception(10) is not None
    thread.join(10)
    assert not thread.is_alive()
    assert openings(host) == 1


def test_who_waits_for_a_key_learns_that_the_connection_was_closed() -> None:
    opener = Opener()
    keeper = opener.keeper()
    with ThreadPoolExecutor(1) as threads, keeper.key(), keeper.key(), keeper.key(), keeper.key():
        waiting = threads.submit(keeper.key().__enter__)
        keeper.close()
        assert isinstance(waiting.exception(10), UnreachableError)


PROGRAM = """
from tests.fakes.relay import Enclave, Host
connection = Host(Enclave()).connect()
connection.open()
print("open")
"""


def test_a_program_may_end_without_closing() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, '.'){PROGRAM}"],
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "open\n", "")
