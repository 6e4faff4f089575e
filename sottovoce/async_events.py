# SPDX-License-Identifier: Apache-2.0
"""The events of one exchange for programs with an event loop, asyncio's or Trio's.

`Connection` waits in threads. Here each event is waited for in a thread of a pool, so that the loop never is.
"""

import threading
from collections.abc import Generator
from contextlib import suppress
from typing import Self

import anyio
from anyio import lowlevel, to_thread

from sottovoce.courier import MAX_CONNECTIONS
from sottovoce.session import Event, Head

_threads: "lowlevel.RunVar[anyio.CapacityLimiter]" = lowlevel.RunVar("sottovoce-threads")


class AsyncEvents:
    """Iterates over the events of `Connection.stream`. Closing it before the end cancels the request.

    A task that is cancelled goes on at once. The thread that waited for it closes the exchange when the next
    event comes: in a stream within a tick, otherwise with the answer.
    """

    def __init__(self, events: Generator[Event]) -> None:
        self._events = events
        self._inside = threading.Lock()
        self._left = False

    async def head(self) -> Head:
        """The beginning of the answer, authentic. Raises what `Connection.stream` raises."""
        try:
            head = await anext(self)
        except BaseException:
            self.close()
            raise
        assert isinstance(head, Head), "an answer begins with its head"
        return head

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await to_thread.run_sync(self._next, abandon_on_cancel=True, limiter=_limiter())
        if event is None:
            raise StopAsyncIteration
        return event

    def close(self) -> None:
        """End the exchange; waits for nothing. A thread that is inside ends it when it comes out."""
        self._left = True
        if self._inside.acquire(blocking=False):
            try:
                self._events.close()
            finally:
                self._inside.release()

    def _next(self) -> Event | None:
        try:
            with self._inside:
                return None if self._left else next(self._events, None)
        finally:
            if self._left:  # looked at only after the lock is free, so that one of the two sees the other
                self.close()


def _limiter() -> anyio.CapacityLimiter:
    """At most as many threads for one event loop as there are connections to a host."""
    with suppress(LookupError):
        return _threads.get()
    limiter = anyio.CapacityLimiter(MAX_CONNECTIONS)
    _threads.set(limiter)
    return limiter
