# SPDX-License-Identifier: Apache-2.0
"""The connection from the host: one stream per exchange, ciphertext and public documents (wire.md 6.1)."""

import asyncio
import gc
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from enclave import ehbp
from enclave.connection import READ_BYTES, Connection
from enclave.ehbp_reply import BodyReply, BodyService
from enclave.events import Exchanged, Outcome, log
from enclave.keys import KeyRing, KeySource
from enclave.reply import SealedReply
from enclave.rotation import Published
from enclave.session import Aborted, Opened, OuterAnswer, Refused, RequestReceiver
from enclave.sessions import Sessions
from wire import frames, ohttp
from wire.session import GATEWAY_PREFIX

EVIDENCE_PATH = "/.well-known/attested-ohttp"
GATEWAY_PATHS = ("/.well-known/ohttp-gateway", "/ohttp")
MAX_EXCHANGES = 256
COLLECT_SECONDS = 0.1
FIRST_CHUNK_SECONDS, REQUEST_SECONDS, STREAM_SECONDS = 10, 120, 7200

Answerer = Callable[[Opened, SealedReply], Awaitable[None]]
_Whole_co = TypeVar("_Whole_co", covariant=True)


class Receiver(Protocol[_Whole_co]):
    """Takes the body of a request, and makes of it what can be answered."""

    @property
    def authenticated(self) -> bool:
        """Whether a first piece has opened."""
        ...

    def receive(self, data: bytes, now: float) -> None:
        """Take some bytes. Raises Refused and Aborted."""
        ...

    def end(self) -> _Whole_co:
        """The body is complete. Raises Refused and Aborted."""
        ...

    def abandon(self) -> None:
        """Nothing more will come."""
        ...


@dataclass(frozen=True, slots=True)
class Keys:
    """What requests can be opened with: epoch keys, and the one-time keys of sessions."""

    ring: KeyRing
    sessions: Sessions = field(default_factory=Sessions)

    def at(self, path: str) -> KeySource | None:
        """The keys that a path leads to; None where requests are not posted to it."""
        if path in GATEWAY_PATHS:
            return self.ring
        if path.startswith(GATEWAY_PREFIX):
            return self.sessions.keys(path.removeprefix(GATEWAY_PREFIX))
        return None


class Link:
    """Serves the host's connections."""

    def __init__(
        self, keys: Keys, published: Published, answer: Answerer, bodies: BodyService | None = None
    ) -> None:
        """Serve these keys; and, where it is configured, the protocol that encrypts bodies alone."""
        self._keys, self._published, self._answer = keys, published, answer
        self._bodies = bodies
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._collecting = False

    async def serve(self, listener: socket.socket) -> asyncio.Server:
        """Begin to accept connections."""
        return await asyncio.start_server(self._connected, sock=listener, limit=READ_BYTES)

    async def drain(self) -> None:
        """Wait until no exchange is under way."""
        await self._idle.wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._active += 1
        self._idle.clear()
        connection = Connection(reader, writer)
        try:
            await self._exchange(connection)
        except Refused as refusal:
            await connection.refuse(refusal.answer)
            log(Exchanged(Outcome.REFUSED, refusal.answer.status))
        except (Aborted, TimeoutError):
            connection.abort()
            log(Exchanged(Outcome.ABORTED, 0))
        except (OSError, _Gone, asyncio.CancelledError):  # cancelled: the process is ending
            log(Exchanged(Outcome.CANCELLED, 0))
        else:
            return
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()
            connection.close()
        self._collect_soon()

    def _collect_soon(self) -> None:
        """An exchange that ended by an exception leaves circles of references; what they hold goes soon.

        Those of a moment go together, or a flood of garbage would keep the process busy with this alone.
        """
        if not self._collecting:
            self._collecting = True
            asyncio.get_running_loop().call_later(COLLECT_SECONDS, self._collect)

    def _collect(self) -> None:
        self._collecting = False
        gc.collect()

    async def _exchange(self, connection: Connection) -> None:
        if self._active > MAX_EXCHANGES:
            raise Refused(OuterAnswer.UNAVAILABLE)
        head = await connection.head()
        keys = self._keys.at(head.path)
        match head.method, head.path:
            case "GET", path if path == GATEWAY_PATHS[0]:
                await self._publish(connection, ohttp.KEYS, self._published.attested.key_list)
            case "GET", path if path == EVIDENCE_PATH:
                await self._publish(connection, "application/json", self._published.attested.document)
            case "POST", _ if keys is not None:
                opened = await self._open(connection, RequestReceiver(keys, head.content_type))
                reply = SealedReply(connection.send, opened.answer)
                await self._reply(connection, reply, self._answer(opened, reply))
            case _, path if keys is not None or path == EVIDENCE_PATH:
                raise Refused(OuterAnswer.METHOD_NOT_ALLOWED)
            case _ if self._bodies is not None:
                await self._exchange_body(connection, head, self._bodies)
            case _:
                raise Refused(OuterAnswer.NOT_FOUND)

    async def _exchange_body(
        self, connection: Connection, head: frames.RequestHead, bodies: BodyService
    ) -> None:
        """An exchange of the protocol that encrypts bodies alone (wire.md 8.2)."""
        match head.method, head.path:
            case "GET", ehbp.KEYS_PATH:
                await self._publish(connection, ohttp.KEYS, bodies.keys.configuration())
            case "POST", path if path.startswith(ehbp.PATH_PREFIX + "/"):
                inner = path.removeprefix(ehbp.PATH_PREFIX)
                receiver = ehbp.BodyReceiver(bodies.keys, inner, head.content_type)
                opened = await self._open(connection, receiver)
                reply = BodyReply(connection.send, opened.answer)
                await self._reply(connection, reply, bodies.answer(opened, reply))
            case _:
                raise Refused(OuterAnswer.NOT_FOUND)

    async def _publish(self, connection: Connection, content_type: str, document: bytes) -> None:
        if not document:
            raise Refused(OuterAnswer.UNAVAILABLE)
        await connection.send(frames.encode_answer_head(frames.AnswerHead(200, content_type)) + document)
        await connection.finish()

    async def _open(self, connection: Connection, receiver: Receiver[_Whole_co]) -> _Whole_co:
        """Receive and decrypt the request; whatever happens, no key stays claimed."""
        try:
            return await self._receive(connection, receiver)
        finally:
            receiver.abandon()

    async def _receive(self, connection: Connection, receiver: Receiver[_Whole_co]) -> _Whole_co:
        """Feed the receiver; the limits on time are those of wire.md 6.8."""
        start = time.monotonic()
        while True:
            limit = REQUEST_SECONDS if receiver.authenticated else FIRST_CHUNK_SECONDS
            try:
                async with asyncio.timeout(start + limit - time.monotonic()):
                    data = await connection.read()
            except TimeoutError:
                raise Aborted if receiver.authenticated else Refused(OuterAnswer.MALFORMED) from None
            if not data:
                return receiver.end()
            receiver.receive(data, time.monotonic())

    async def _reply(
        self, connection: Connection, reply: SealedReply | BodyReply, answer: Awaitable[None]
    ) -> None:
        """Have the request answered, for as long as the client is there."""
        answering = asyncio.ensure_future(_answered(reply, answer))
        hangup = asyncio.ensure_future(connection.hangup())
        try:
            await asyncio.wait(
                {answering, hangup}, timeout=STREAM_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            hangup.cancel()
            await _ended(answering)  # what it was doing is undone before anyone else's turn
            await reply.stop()
        if answering.cancelled() and not reply.complete:
            raise _Gone
        may_happen = (OSError, asyncio.CancelledError) if reply.complete else ()  # who has all of it may go
        with suppress(*may_happen):
            answering.result()
            await connection.finish()
        log(Exchanged(Outcome.ANSWERED, reply.status))


async def _answered(reply: SealedReply | BodyReply, answer: Awaitable[None]) -> None:
    """The answer, until its last byte has left: the model may have finished long before."""
    await answer
    await reply.drain()


async def _ended(task: asyncio.Task[None]) -> None:
    """End a task, and wait until it has. What it raised is still in it."""
    task.cancel()
    await asyncio.wait({task})


class _Gone(Exception):  # noqa: N818 - an event, not a fault
    """The client went away, or the stream lasted too long."""
