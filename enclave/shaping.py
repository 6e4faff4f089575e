# SPDX-License-Identifier: Apache-2.0
"""When and in which sizes an answer leaves: a frame at each tick, for as long as it takes (wire.md 6.7).

What the frames hold is in `wire.shaping`. Here is the clock: ticks are counted from when the request was
complete, so neither the model nor a late tick moves those that follow.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress

from enclave.session import AnswerSealer
from wire.shaping import BucketShaper, FrameShaper

MAX_BACKLOG_BYTES = 1 << 14

Send = Callable[[bytes], Awaitable[None]]


class Ticks:
    """Moments at a fixed distance. One that was missed is left out; the others stay where they are."""

    def __init__(self, start: float, seconds: float) -> None:
        self._start, self._seconds = start, seconds
        self._number = 0

    def following(self, now: float) -> float:
        """The next moment that is not past, and none twice."""
        self._number = max(self._number + 1, math.ceil((now - self._start) / self._seconds))
        return self._start + self._number * self._seconds

    async def wait(self) -> None:
        """Wait for the next one."""
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(self.following(now) - now)


class Bare:
    """A streamed answer whose pieces leave as they come."""

    def __init__(self, sealer: AnswerSealer, send: Send) -> None:
        self._sealer, self._send = sealer, send

    async def begin(self, head: bytes) -> None:
        """Send the sealed head."""
        await self._send(head)

    async def write(self, content: bytes) -> None:
        """Send a piece."""
        await self._send(self._sealer.content(content))

    async def end(self) -> None:
        """Send the end."""
        await self._send(self._sealer.end())


class Bucketed:
    """A streamed answer whose pieces leave as they come, in multiples of a size."""

    def __init__(self, sealer: AnswerSealer, send: Send, shaper: BucketShaper) -> None:
        self._sealer, self._send, self._shaper = sealer, send, shaper

    async def begin(self, head: bytes) -> None:
        """Send the sealed head."""
        await self._send(head)

    async def write(self, content: bytes) -> None:
        """Send what became complete with this piece."""
        await self._send(b"".join(map(self._sealer.part, self._shaper.push(content))))

    async def end(self) -> None:
        """Send the end."""
        await self._send(b"".join(map(self._sealer.part, self._shaper.finish())) + self._sealer.last())


class Framed:
    """A streamed answer of which one chunk leaves at each tick, whether or not there is something to say."""

    def __init__(self, sealer: AnswerSealer, send: Send, shaper: FrameShaper, ticks: Ticks) -> None:
        self._sealer, self._send, self._shaper, self._ticks = sealer, send, shaper, ticks
        self._sending: asyncio.Task[None] | None = None
        self._taken = asyncio.Event()

    async def begin(self, head: bytes) -> None:
        """Have the sealed head leave at the next tick, and a frame at each one after it."""
        self._sending = asyncio.ensure_future(self._run(head))

    async def write(self, content: bytes) -> None:
        """Take a piece; wait while the client does not keep up. Raises what sending has raised."""
        self._shaper.push(content)
        while self._shaper.backlog > MAX_BACKLOG_BYTES:
            self._check()
            self._taken.clear()
            await self._taken.wait()
        self._check()

    async def end(self) -> None:
        """No more will come. What is there leaves in its own time."""
        self._shaper.finish()

    async def drain(self) -> None:
        """Wait until all has left. Raises what sending has raised."""
        if self._sending:
            await self._sending

    async def stop(self) -> None:
        """Send nothing any more."""
        if self._sending:
            self._sending.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await self._sending

    def _check(self) -> None:
        if self._sending and self._sending.done():
            self._sending.result()

    async def _run(self, head: bytes) -> None:
        try:
            await self._ticks.wait()
            await self._send(head)
            while not self._shaper.done:
                await self._ticks.wait()
                frame = self._sealer.part(self._shaper.tick())
                self._taken.set()
                await self._send(frame)
            await self._send(self._sealer.last())
        finally:
            self._taken.set()  # whoever waits for room learns what happened
