# SPDX-License-Identifier: Apache-2.0
"""A relay between two programs that records every byte that passes, as an operator could."""

import asyncio
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

READ_BYTES = 1 << 16


@dataclass(slots=True)
class Recording:
    """What passed in each direction, piece by piece, over all connections, and when a piece came back."""

    forward: list[bytes] = field(default_factory=list[bytes])
    backward: list[bytes] = field(default_factory=list[bytes])
    backward_seconds: list[float] = field(default_factory=list[float])

    def note_forward(self, data: bytes) -> None:
        """A piece towards the target."""
        self.forward.append(data)

    def note_backward(self, data: bytes) -> None:
        """A piece from it."""
        self.backward_seconds.append(time.perf_counter())
        self.backward.append(data)

    def everything(self) -> bytes:
        """All that passed; the pieces of a direction are joined, for a text could be split between two."""
        return b"".join(self.forward) + b"\0" + b"".join(self.backward)


@dataclass(frozen=True, slots=True)
class Place:
    """A loopback port or the path of a Unix socket."""

    port: int = 0
    path: Path | None = None

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to this place."""
        if self.path:
            return await asyncio.open_unix_connection(self.path)
        return await asyncio.open_connection("127.0.0.1", self.port)


@contextmanager
def wiretap(listen: Place, target: Place) -> Generator[Recording]:
    """Relay connections to `listen` on to `target`, in a thread of its own, until the block ends."""
    recording, ready = Recording(), threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete, args=(_serve(listen, target, recording, ready, stop),)
    )
    thread.start()
    try:
        if not ready.wait(timeout=10):
            raise RuntimeError("the wiretap did not start")
        yield recording
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


async def _serve(
    listen: Place, target: Place, recording: Recording, ready: threading.Event, stop: asyncio.Event
) -> None:
    relays: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.ensure_future(_relay(reader, writer, target, recording))
        relays.add(relay)
        relay.add_done_callback(relays.discard)

    if listen.path:
        server = await asyncio.start_unix_server(connected, listen.path)
    else:
        server = await asyncio.start_server(connected, "127.0.0.1", listen.port)
    async with server:
        ready.set()
        await stop.wait()
    for relay in relays:
        relay.cancel()
    await asyncio.gather(*relays, return_exceptions=True)


async def _relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Place, recording: Recording
) -> None:
    # Closed in any case, also where the wiretap ends in the middle of a step.
    with suppress(OSError), closing(writer):
        far_reader, far_writer = await target.connect()
        with closing(far_writer):
            forward = asyncio.ensure_future(_copy(reader, far_writer, recording.note_forward))
            try:
                await _copy(far_reader, writer, recording.note_backward)
            finally:
                forward.cancel()
                await asyncio.gather(forward, return_exceptions=True)


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Callable[[bytes], None]
) -> None:
    with suppress(OSError):
        while data := await reader.read(READ_BYTES):
            note(data)
            writer.write(data)
            await writer.drain()
        writer.write_eof()
