# SPDX-License-Identifier: Apache-2.0
"""The session process's end of the socketpair: one generation at a time, the next ones wait their turn."""

import asyncio
from collections.abc import AsyncIterator
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
        self._reports = self._read()
        self._turn = asyncio.Lock()
        self._waiting, self._most_waiting = 0, waiting_requests
        self._last_generation = 0

    async def ready(self) -> Ready:
        """Wait until the model is loaded. Raises EngineGoneError."""
        report = await self._next()
        if not isinstance(report, Ready):
            raise EngineGoneError
        return report

    @asynccontextmanager
    async def generation(
        self, turns: tuple[Turn, ...], sampling: Sampling, *, max_tokens: int, stop: tuple[str, ...]
    ) -> AsyncIterator[AsyncIterator[Begun | Text | Finished | Rejected]]:
        """Wait for a turn, then give the reports of one generation. Leaving early cancels it.

        Raises BusyError when too many wait, and EngineGoneError.
        """
        if self._waiting > self._most_waiting:
            raise BusyError
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            self._last_generation += 1
            number = self._last_generation
            await self._send(Generate(number, turns, sampling, max_tokens, stop))
            reports = _Reports(self, number)
            try:
                yield reports
            finally:
                await asyncio.shield(self._drain(reports))
        finally:
            self._turn.release()

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
            raise EngineGoneError
        return report

    async def _next(self) -> Report:
        try:
            return await anext(self._reports)
        except (StopAsyncIteration, OSError, ProtocolError):
            raise EngineGoneError from None

    async def _read(self) -> AsyncIterator[Report]:
        reader = ReportReader()
        while data := await self._reader.read(RECEIVE_BYTES):
            for report in reader.receive(data):
                yield report

    async def _send(self, command: Command) -> None:
        try:
            self._writer.write(encode(command))
            await self._writer.drain()
        except OSError:
            raise EngineGoneError from None


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
