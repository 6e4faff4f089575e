# SPDX-License-Identifier: Apache-2.0
"""Keeps a session at hand for any number of threads, and opens the next one before it is needed.

Sessions are opened in a thread of their own, one at a time. Whoever has a session does not wait for it.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager

from sottovoce.one_time_keys import NoKeyError, OneTimeKey, Session, SessionOverError

RETRY_SECONDS = 30.0  # after a next session could not be opened, while the present one lasts


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

    def current(self) -> Session:
        """The session in force; opens one where there is none. Raises what opening raises."""
        with self._changed:
            now, session = self._clock(), self._session
            if session is not None and not session.is_over(now):
                if session.is_stale(now) and self._opening is None and now >= self._next_try:
                    self._begin()
                return session
            opening = self._opening or self._begin()
        return opening.result()

    @contextmanager
    def key(self) -> Generator[OneTimeKey]:
        """A key for one request. Waits while all are in use; raises what opening a session raises."""
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
        else:
            self._changed.wait()

    def _begin(self) -> "Future[Session]":
        self._opening = opening = Future[Session]()
        threading.Thread(target=self._open, args=(opening,), name="sottovoce-session", daemon=True).start()
        return opening

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
