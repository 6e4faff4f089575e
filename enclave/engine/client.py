# SPDX-License-Identifier: Apache-2.0
"""The session process's end of the socketpair: one generation at a time, the next ones wait their turn."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

from enclave.engine.protocol import (
    Begun,
    Cancel,
    Command,
    Finished,
    Generate,
    ProtocolError,
    Ready,
    Rejected,
    Report,
    ReportReader,
    Sampling,
    Text,
    Turn,
    encode,
)

RECEIVE_BYTES = 1 << 16


class BusyError(Exception):
    """As many requests wait already as may wait."""


class EngineGoneError(Exception):
    """The engine process has ended, or speaks nonsense."""


class Engine:
    """Hands generations to the engine process, one after another."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, waiting_requests: int
    ) -> None:
        """Join the streams of the socketpair; at most this many requests wait for their turn."""
        self._reader, self._writer = reader, writer
        self._report_reader, self._arrived = ReportReader(), deque[Report]()
        self._turn = asyncio.Lock()
        self._present, self._most_present = 0, 1 + waiting_requests
        self._last_generation = 0
        self.gone = asyncio.Event()

    async def ready(self) -> Ready:
        """Wait until the model is loaded. Raises EngineGoneError."""
        report = await self._next()
        if not isinstance(report, Ready):
            raise EngineGoneError
        return report

    @asynccontextmanager
    async def generation(
        self, turns: tuple[Turn, ...], sampling: Sampling, *, max_tokens: int, stop: tuple[str, ...]
    ) -> AsyncGenerator[AsyncIterator[Begun | Text | Finished | Rejected]]:
        """Wait for a turn, then give the reports of one generation. Leaving early cancels it.

        Raises BusyError when too many wait, and EngineGoneError.
        """
        if self._present >= self._most_present:
            raise BusyError
        self._present += 1
        try:
            async with self._turn:
                self._last_generation += 1
                number = self._last_generation
                reports = _Reports(self, number)
                try:
                    await self._send(Generate(number, turns, sampling, max_tokens, stop))
                    yield reports
                finally:
                    await _ended(asyncio.ensure_future(self._drain(reports)))
        finally:
            self._present -= 1

    async def _drain(self, reports: "_Reports") -> None:
        """See that the engine is idle again before anyone else has a turn."""
        if reports.ended:
            return
        with suppress(EngineGoneError):
            await self._send(Cancel(reports.number))
            async for _ in reports:
                pass

    async def next_of(self, number: int) -> Begun | Text | Finished | Rejected:
        """The next report, which must be of this generation."""
        report = await self._next()
        if isinstance(report, Ready) or report.generation != number:
            raise self._gone()
        return report

    async def _next(self) -> Report:
        # A caller may be cancelled while it waits; what has arrived stays for the one that drains.
        try:
            while not self._arrived:
                data = await self._reader.read(RECEIVE_BYTES)
                if not data:
                    raise self._gone()
                self._arrived.extend(self._report_reader.receive(data))
        except (OSError, ProtocolError):
            raise self._gone() from None
        return self._arrived.popleft()

    async def _send(self, command: Command) -> None:
        try:
            self._writer.write(encode(command))
            await self._writer.drain()
        except OSError:
            raise self._gone() from None

    def _gone(self) -> EngineGoneError:
        """Note that this engine is of no more use: whoever waits for `gone` has it replaced."""
        self.gone.set()
        return EngineGoneError()


async def _ended(task: asyncio.Task[None]) -> None:
    """Wait until a task has ended, even where whoever waits is cancelled: two may not read at once."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    task.result()


class _Reports:
    """The reports of one generation, up to its end."""

    def __init__(self, engine: Engine, number: int) -> None:
        self._engine, self.number, self.ended = engine, number, False

    def __aiter__(self) -> "_Reports":
        return self

    async def __anext__(self) -> Begun | Text | Finished | Rejected:
        if self.ended:
            raise StopAsyncIteration
        report = await self._engine.next_of(self.number)
        self.ended = isinstance(report, Finished | Rejected)
        return report
