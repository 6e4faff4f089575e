# SPDX-License-Identifier: Apache-2.0
"""The session process's end of the socketpair: many generations at once, each with its own reports."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from enclave.engine.protocol import (
    Cancel,
    Command,
    Embed,
    Embedded,
    Finished,
    Generate,
    Order,
    PlainText,
    Progress,
    ProtocolError,
    Ready,
    Rejected,
    Report,
    ReportReader,
    TokenList,
    encode,
)

RECEIVE_BYTES = 1 << 16


class EngineGoneError(Exception):
    """The engine process has ended, or speaks nonsense."""


class Engine:
    """Hands generations to the engine process, which decides whose turn it is."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join the streams of the socketpair, and begin to read reports."""
        self._reader, self._writer = reader, writer
        self._ready: Ready | None = None
        self._told = asyncio.Event()
        self._open: dict[int, _Reports] = {}
        self._last_generation = 0
        self.gone = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read())

    async def ready(self) -> Ready:
        """Wait until the model is loaded. Raises EngineGoneError."""
        await self._told.wait()
        if self._ready is None:
            raise EngineGoneError
        return self._ready

    @asynccontextmanager
    async def generation(self, order: Order) -> AsyncGenerator[AsyncIterator[Progress]]:
        """The reports of one generation, up to the end of its last choice. Leaving early cancels it.

        Where too many wait already, the first and only report is Rejected with BUSY. Raises EngineGoneError.
        """
        reports = self._register(order.choices)
        try:
            await self._send(Generate(reports.number, order))
            yield _progress(reports)
        finally:
            self._leave(reports)

    async def embed(self, identity: bytes, texts: tuple[PlainText | TokenList, ...]) -> Embedded | Rejected:
        """One vector for each text. Raises EngineGoneError."""
        reports = self._register(1)
        try:
            await self._send(Embed(reports.number, identity, texts))
            report = await anext(reports)
            if not isinstance(report, Embedded | Rejected):
                raise self._end()
            return report
        finally:
            self._leave(reports)

    def _register(self, choices: int) -> "_Reports":
        if self.gone.is_set():
            raise EngineGoneError
        self._last_generation += 1
        reports = self._open[self._last_generation] = _Reports(self._last_generation, choices)
        return reports

    def _leave(self, reports: "_Reports") -> None:
        """Let go of a generation; what the engine still says of one that is cancelled is dropped."""
        reports.leave()
        if not reports.complete and not self.gone.is_set():
            self._writer.write(encode(Cancel(reports.number)))

    async def _read(self) -> None:
        """Hand every report to whom it belongs, until the engine is gone."""
        reader = ReportReader()
        try:
            while data := await self._reader.read(RECEIVE_BYTES):
                for report in reader.receive(data):
                    self._take(report)
        except (OSError, ProtocolError):
            pass
        finally:
            self._end()

    def _take(self, report: Report) -> None:
        """Raise ProtocolError for a report that belongs to nobody."""
        if isinstance(report, Ready):
            if self._ready is not None:
                raise ProtocolError("the engine was ready before")
            self._ready = report
            self._told.set()
            return
        reports = self._open.get(report.generation)
        if reports is None or self._ready is None:
            raise ProtocolError("a report of no generation")
        reports.take(report)
        if reports.complete:
            del self._open[report.generation]

    async def _send(self, command: Command) -> None:
        try:
            self._writer.write(encode(command))
            await self._writer.drain()
        except OSError:
            raise self._end() from None

    def _end(self) -> EngineGoneError:
        """This engine is of no more use: whoever waits for a report, or for `gone`, learns of it."""
        self.gone.set()
        self._told.set()
        for reports in self._open.values():
            reports.lose()
        return EngineGoneError()


class _Reports:
    """The reports of one generation or embedding, up to its end."""

    def __init__(self, number: int, choices: int) -> None:
        self.number, self.complete = number, False
        self._unfinished, self._left, self._lost = set(range(choices)), False, False
        self._arrived, self._more = deque[Progress | Embedded](), asyncio.Event()

    def take(self, report: Progress | Embedded) -> None:
        """Keep a report for whoever reads. Raises ProtocolError for a choice that there is not."""
        match report:
            case Finished(choice=choice):
                if choice not in self._unfinished:
                    raise ProtocolError("a choice that does not exist has ended")
                self._unfinished.remove(choice)
                self.complete = not self._unfinished
            case Rejected() | Embedded():
                self.complete = True
            case _:
                pass
        if not self._left:
            self._arrived.append(report)
            self._more.set()

    def lose(self) -> None:
        """No more reports will come."""
        self._lost = True
        self._more.set()

    def leave(self) -> None:
        """Nobody reads any more."""
        self._left = True
        self._arrived.clear()

    def __aiter__(self) -> "_Reports":
        return self

    async def __anext__(self) -> Progress | Embedded:
        while not self._arrived:
            if self.complete:
                raise StopAsyncIteration
            if self._lost:
                raise EngineGoneError
            self._more.clear()
            await self._more.wait()
        return self._arrived.popleft()


async def _progress(reports: _Reports) -> AsyncGenerator[Progress]:
    """What belongs to a generation; a vector does not. Raises EngineGoneError."""
    async for report in reports:
        if isinstance(report, Embedded):
            raise EngineGoneError
        yield report
