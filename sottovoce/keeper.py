# SPDX-License-Identifier: Apache-2.0
"""Keeps a session at hand for any number of threads, and opens the next one before it is needed.

Sessions are opened in a thread of their own, one at a time, also while nobody asks for any. Whoever has a
session does not wait for it. The thread begins with the first session, and ends when the keeper is closed or
forgotten, or with the program.
"""

import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final

from sottovoce.courier import UnreachableError
from sottovoce.one_time_keys import NoKeyError, OneTimeKey, Session, SessionOverError

RETRY_SECONDS: Final = 30.0  # after a next session could not be opened
CLOSE_SECONDS: Final = (
    1.0  # for a session that is just being opened; it ends by itself, and is used by nobody
)


class SessionKeeper:
    """Hands out one-time keys."""

    def __init__(
        self, open_session: Callable[[], Session], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Open nothing yet. The clock is the one that sessions live by, in seconds."""
        self._open_session, self._clock = open_session, clock
        self._changed = threading.Condition()
        self._session: Session | None = None
        self._opening: Future[Session] | None = None
        self._next_try = 0.0
        self._in_use: Counter[Session] = Counter()
        self._work = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False

    def current(self) -> Session:
        """The session in force; opens one where there is none. Raises what opening raises.

        Raises UnreachableError after `close`.
        """
        with self._changed:
            if self._closed:
                raise UnreachableError("the connection was closed")
            now, session = self._clock(), self._session
            if session is not None and not session.is_over(now):
                if self._seconds_until_due(session, now) <= 0:
                    self._work.set()
                return session
            opening = self._opening or self._begin()
        return opening.result()

    @contextmanager
    def key(self) -> Generator[OneTimeKey]:
        """A key for one request. Waits while all are in use; raises what `current` raises."""
        key = self._take()
        try:
            yield key
        finally:
            with self._changed:
                self._in_use[key.session] -= 1
                if not self._in_use[key.session]:
                    del self._in_use[key.session]
                self._changed.notify_all()

    def key_came_back(self) -> None:
        """A head brought another key: one who waits can have it."""
        with self._changed:
            self._changed.notify_all()

    def leave(self) -> None:
        """Take no more keys from the session in force; whoever has one may finish."""
        with self._changed:
            if self._session is not None:
                self._session.end()
            self._changed.notify_all()

    def lost(self, session: Session) -> None:
        """The enclave does not know this session any more."""
        with self._changed:
            session.end()
            self._changed.notify_all()

    def close(self) -> None:
        """Open no session any more. Its thread is gone, unless it waits for the host; then it goes soon."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._work.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def _take(self) -> OneTimeKey:
        while True:
            session = self.current()
            with self._changed:
                try:
                    key = session.take(self._clock())
                except SessionOverError:
                    continue
                except NoKeyError:
                    self._wait_for(session)
                    continue
                self._in_use[session] += 1
                return key

    def _wait_for(self, session: Session) -> None:
        """Wait for a key to come back. Where none can, because answers were cut, the session is over."""
        if not self._in_use[session]:
            session.end()
        elif not self._closed:
            self._changed.wait()

    def _seconds_until_due(self, session: Session, now: float) -> float:
        return max(session.seconds_until_stale(now), self._next_try - now)

    def _begin(self) -> "Future[Session]":
        """Have the thread open a session now."""
        self._opening = opening = Future[Session]()
        self._work.set()
        if self._thread is None:
            step = weakref.WeakMethod(self._step)
            weakref.finalize(self, self._work.set)
            self._thread = threading.Thread(
                target=_repeat, args=(step, self._work), name="sottovoce-session", daemon=True
            )
            self._thread.start()
        return opening

    def _step(self) -> float | None:
        """Open a session if one is due; in how many seconds to look again, and None at the end."""
        with self._changed:
            if self._closed:
                return None
            opening = self._opening
            if opening is None:
                due = threading.TIMEOUT_MAX
                if self._session is not None:
                    due = self._seconds_until_due(self._session, self._clock())
                if due > 0:
                    return due
                opening = self._opening = Future[Session]()
        self._open(opening)
        return 0.0

    def _open(self, opening: "Future[Session]") -> None:
        try:
            session = self._open_session()
        except Exception as error:  # noqa: BLE001 - handed to those who wait for the session
            with self._changed:
                self._opening, self._next_try = None, self._clock() + RETRY_SECONDS
            opening.set_exception(error)
            return
        with self._changed:
            self._session, self._opening = session, None
            self._changed.notify_all()
        opening.set_result(session)


def _repeat(step: "weakref.WeakMethod[Callable[[], float | None]]", work: threading.Event) -> None:
    """Take steps, each when it is due or when there is work, while the object whose steps they are lives."""
    while (method := step()) is not None and (seconds := method()) is not None:
        del method
        work.wait(seconds)
        work.clear()
