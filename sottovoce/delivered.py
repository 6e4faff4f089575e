# SPDX-License-Identifier: Apache-2.0
"""Answers of the host as they come, which the garbage collector cannot end at a bad moment.

A program that forgets an answer leaves it to the collector, which runs in the middle of whatever a thread is
doing. Ending an answer takes the lock of the connection pool: where that thread has it already, it would wait
for itself, for ever, and all others for it. So answers are kept here until they are ended, and one that is
forgotten while its thread is inside the pool is ended when that thread comes out.
"""

import threading
from collections import deque
from collections.abc import Generator
from types import TracebackType
from typing import Self

import httpx


class Delivered:
    """One answer. What it has is the host's word."""

    def __init__(self, response: httpx.Response, pool: "Pool") -> None:
        self.status_code, self.headers = response.status_code, response.headers
        self._response, self._pool = response, pool
        self._pieces = (piece for piece in response.iter_raw())

    def iter_raw(self) -> Generator[bytes]:
        """The body's bytes as they come. Raises httpx.HTTPError."""
        while True:
            with self._pool:
                piece = next(self._pieces, None)
            if piece is None:
                return
            yield piece

    def close(self) -> None:
        """End it; only inside the pool."""
        self._pieces.close()
        self._response.close()


class Pool:
    """What is done in a block of it may take the lock of the connections. Not to be entered twice."""

    def __init__(self) -> None:
        self._here = threading.local()
        self._open: set[Delivered] = set()
        self._forgotten: deque[Delivered] = deque()

    def __enter__(self) -> Self:
        self._here.inside = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._here.inside = False
        while self._forgotten:
            try:
                forgotten = self._forgotten.popleft()
            except IndexError:
                return  # another thread was first
            self.end(forgotten)

    def deliver(self, response: httpx.Response) -> Delivered:
        """An answer, kept until it is ended."""
        delivered = Delivered(response, self)
        self._open.add(delivered)
        return delivered

    def end(self, delivered: Delivered) -> None:
        """End an answer, now or soon."""
        if getattr(self._here, "inside", False):
            self._forgotten.append(delivered)
            return
        self._open.discard(delivered)
        with self:
            delivered.close()
