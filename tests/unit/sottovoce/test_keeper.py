# SPDX-License-Identifier: Apache-2.0
"""One session for many threads: who waits, who opens, and what becomes of failures."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from sottovoce.keeper import RETRY_SECONDS, SessionKeeper
from sottovoce.one_time_keys import REFRESH_SECONDS, Session
from tests.fakes.relay import Enclave, Host, guest
from tests.unit.sottovoce.test_opening import finished, ready

MACHINE = guest()


@dataclass(slots=True)
class Opener:
    """Opens sessions, or fails, as a test says; `gate` lets it wait."""

    enclave: Enclave = field(default_factory=lambda: Enclave(MACHINE))
    now: float = 0.0
    opened: int = 0
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
    while opener.opened < 2 or any(thread.name == "sottovoce-session" for thread in threading.enumerate()):
        assert keeper.current() is old
        ended.wait(0.01)
    for _ in range(5):
        assert keeper.current() is old
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
