# SPDX-License-Identifier: Apache-2.0
"""What somebody between host and client sees of one answer: when something came, and how much."""

import asyncio
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Trace:
    """One answer: milliseconds since its request and bytes of each piece, and whether it is of the topic."""

    milliseconds: tuple[float, ...]
    sizes: tuple[int, ...]
    target: bool
    first_text_milliseconds: float = 0.0
    complete_milliseconds: float = 0.0

    @property
    def bytes(self) -> int:
        """Of the whole answer."""
        return sum(self.sizes)

    @property
    def gaps(self) -> tuple[float, ...]:
        """Milliseconds between each piece and the one before, the first since the request."""
        return tuple(
            later - earlier
            for earlier, later in zip((0.0, *self.milliseconds), self.milliseconds, strict=False)
        )


@dataclass(slots=True)
class Observer:
    """Relays TCP connections, and notes what goes back to the client."""

    port: int
    _begun: float = field(default_factory=time.perf_counter)
    _seen: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])

    def begin(self) -> None:
        """Forget what was seen: a request is about to be sent."""
        self._seen, self._begun = [], time.perf_counter()

    def seen(self) -> tuple[tuple[float, int], ...]:
        """Milliseconds and bytes of each piece since then."""
        return tuple(((when - self._begun) * 1000, size) for when, size in self._seen)

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        """Pass one connection on to a port of this machine."""
        with suppress(OSError), closing(writer):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            with closing(far_writer):
                forward = asyncio.ensure_future(self._copy(reader, far_writer, note=False))
                await self._copy(far_reader, writer, note=True)
                forward.cancel()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, note: bool) -> None:
        while data := await reader.read(READ_BYTES):
            if note:
                self._seen.append((time.perf_counter(), len(data)))
            writer.write(data)
            await writer.drain()
        writer.write_eof()


@contextmanager
def observed(port: int, target: int) -> Generator[Observer]:
    """Observe what passes from this port to that one, in a thread of its own."""
    observer, ready, loop = Observer(port), threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(
            lambda reader, writer: observer.relay(reader, writer, target), "127.0.0.1", port
        )
        async with server:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        if not ready.wait(timeout=10):
            raise RuntimeError("the observer did not start")
        yield observer
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
