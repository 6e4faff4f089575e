# SPDX-License-Identifier: Apache-2.0
"""The connection from the host: one stream per exchange, ciphertext and public documents (wire.md 6.1)."""

import asyncio
import gc
import select
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from enclave.api.routes import Reply
from enclave.events import Exchanged, Outcome, log
from enclave.keys import KeyRing
from enclave.session import (
    Aborted,
    AnswerSealer,
    Opened,
    OuterAnswer,
    Problem,
    Refused,
    Request,
    RequestReceiver,
)
from wire import bhttp, frames, ohttp

EVIDENCE_PATH = "/.well-known/attested-ohttp"
GATEWAY_PATHS = ("/.well-known/ohttp-gateway", "/ohttp")
PROBLEM = "application/problem+json"
READ_BYTES = 1 << 16
MAX_EXCHANGES = 256
FIRST_CHUNK_SECONDS, REQUEST_SECONDS, STREAM_SECONDS = 10, 120, 7200
HANGUP_CHECK_SECONDS = 0.05
LINGER_SECONDS = 1

Answerer = Callable[[Request | Problem, Reply], Awaitable[None]]


@dataclass(slots=True)
class Published:
    """The public documents of the epoch in force; empty while there is none."""

    key_list: bytes = b""
    evidence: bytes = b""


class Link:
    """Serves the host's connections."""

    def __init__(self, ring: KeyRing, published: Published, answer: Answerer) -> None:
        self._ring, self._published, self._answer = ring, published, answer
        self._active = 0

    async def serve(self, listener: socket.socket) -> asyncio.Server:
        """Begin to accept connections."""
        return await asyncio.start_server(self._connected, sock=listener, limit=READ_BYTES)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._active += 1
        connection = _Connection(reader, writer)
        try:
            await self._exchange(connection)
        except Refused as refusal:
            await connection.refuse(refusal.answer)
            log(Exchanged(Outcome.REFUSED, refusal.answer.status))
        except (Aborted, TimeoutError):
            writer.transport.abort()
            log(Exchanged(Outcome.ABORTED, 0))
        except (OSError, _Gone, asyncio.CancelledError):  # cancelled: the process is ending
            log(Exchanged(Outcome.CANCELLED, 0))
        else:
            return
        finally:
            self._active -= 1
            writer.close()
        # An exchange that ended by an exception leaves circles of references; what they hold goes now.
        asyncio.get_running_loop().call_soon(gc.collect)

    async def _exchange(self, connection: "_Connection") -> None:
        if self._active > MAX_EXCHANGES:
            raise Refused(OuterAnswer.UNAVAILABLE)
        head = await connection.head()
        match head.method, head.path:
            case "GET", path if path == GATEWAY_PATHS[0]:
                await self._publish(connection, ohttp.KEYS, self._published.key_list)
            case "GET", path if path == EVIDENCE_PATH:
                await self._publish(connection, "application/json", self._published.evidence)
            case "POST", path if path in GATEWAY_PATHS:
                opened = await self._open(connection, head.content_type)
                await self._reply(connection, opened)
            case _, path if path in (*GATEWAY_PATHS, EVIDENCE_PATH):
                raise Refused(OuterAnswer.METHOD_NOT_ALLOWED)
            case _:
                raise Refused(OuterAnswer.NOT_FOUND)

    async def _publish(self, connection: "_Connection", content_type: str, document: bytes) -> None:
        if not document:
            raise Refused(OuterAnswer.UNAVAILABLE)
        await connection.send(frames.encode_answer_head(frames.AnswerHead(200, content_type)) + document)
        await connection.finish()

    async def _open(self, connection: "_Connection", content_type: str) -> Opened:
        """Receive and decrypt the request; the limits on time are those of wire.md 6.8."""
        receiver = RequestReceiver(self._ring, content_type)
        start = time.monotonic()
        while True:
            limit = REQUEST_SECONDS if receiver.authenticated else FIRST_CHUNK_SECONDS
            try:
                async with asyncio.timeout(start + limit - time.monotonic()):
                    data = await connection.read()
            except TimeoutError:
                raise Aborted if receiver.authenticated else Refused(OuterAnswer.TIMEOUT) from None
            if not data:
                return receiver.end()
            receiver.receive(data, time.monotonic())

    async def _reply(self, connection: "_Connection", opened: Opened) -> None:
        """Let the API answer, for as long as the client is there."""
        reply = SealedReply(connection, opened.answer)
        answering = asyncio.ensure_future(self._answer(opened.request, reply))
        hangup = asyncio.ensure_future(connection.hangup())
        try:
            await asyncio.wait(
                {answering, hangup}, timeout=STREAM_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            hangup.cancel()
            answering.cancel()
            with suppress(asyncio.CancelledError):
                await answering  # what it was doing is undone before anyone else's turn
        if answering.cancelled():
            raise _Gone
        await connection.finish()
        log(Exchanged(Outcome.ANSWERED, reply.status))


class _Gone(Exception):  # noqa: N818 - an event, not a fault
    """The client went away, or the stream lasted too long."""


class _Connection:
    """One stream from the host."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._rest = b""

    async def head(self) -> frames.RequestHead:
        """The head that the host put before the body. Raises Refused."""
        head_reader = frames.RequestHeadReader()
        try:
            async with asyncio.timeout(FIRST_CHUNK_SECONDS):
                while data := await self._reader.read(READ_BYTES):
                    head = head_reader.receive(data)
                    if head is not None:
                        self._rest = head_reader.rest
                        return head
        except (frames.FrameError, TimeoutError):
            pass
        raise Refused(OuterAnswer.MALFORMED)

    async def read(self) -> bytes:
        """Some more of the body; empty at its end."""
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        return await self._reader.read(READ_BYTES)

    async def send(self, data: bytes) -> None:
        """Send, and wait while the host does not take it."""
        self._writer.write(data)
        await self._writer.drain()

    async def finish(self) -> None:
        """Mark the end of the answer."""
        self._writer.write_eof()
        await self._writer.drain()

    async def refuse(self, answer: OuterAnswer) -> None:
        """Send an outer answer, and take what is still coming, so that the answer is not lost."""
        with suppress(OSError, TimeoutError):
            head = frames.encode_answer_head(frames.AnswerHead(answer.status, PROBLEM))
            await self.send(head + answer.body)
            await self.finish()
            async with asyncio.timeout(LINGER_SECONDS):
                while await self._reader.read(READ_BYTES):
                    pass

    async def hangup(self) -> None:
        """Return when the host has closed the stream in both directions.

        The end of the request closes one direction only. Unix and vsock sockets tell the two apart; TCP does
        not, and there a client that went away is noticed by the next write.
        """
        poll = select.poll()
        poll.register(self._writer.get_extra_info("socket").fileno(), 0)
        while not poll.poll(0):  # noqa: ASYNC110 - the event loop cannot wait for a hang-up alone
            await asyncio.sleep(HANGUP_CHECK_SECONDS)


class SealedReply:
    """A reply that leaves sealed."""

    def __init__(self, connection: _Connection, sealer: AnswerSealer) -> None:
        self._connection, self._sealer = connection, sealer
        self._begun = False
        self.status = 0

    async def whole(
        self, status: int, content_type: str, content: bytes, *, retry_after_seconds: int = 0
    ) -> None:
        """Send a complete answer."""
        fields = [("content-type", content_type)]
        if retry_after_seconds:
            fields.append(("retry-after", str(retry_after_seconds)))
        self.status = status
        await self._send(self._sealer.whole(bhttp.ResponseHead(status, tuple(fields)), content))

    async def begin(self, status: int, content_type: str) -> None:
        """Begin a streamed answer."""
        self.status = status
        await self._send(self._sealer.head(bhttp.ResponseHead(status, (("content-type", content_type),))))

    async def write(self, content: bytes) -> None:
        """Send a piece of it."""
        await self._send(self._sealer.content(content))

    async def end(self) -> None:
        """End it properly."""
        await self._send(self._sealer.end())

    async def _send(self, sealed: bytes) -> None:
        if not self._begun:
            self._begun = True
            sealed = frames.encode_answer_head(frames.AnswerHead(200, self._sealer.media_type)) + sealed
        await self._connection.send(sealed)
