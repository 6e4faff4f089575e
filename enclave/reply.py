# SPDX-License-Identifier: Apache-2.0
"""Where the API puts its answer: sealed, and shaped as the client asked (wire.md 6.7)."""

import asyncio

import msgspec

from enclave.api.account import Account
from enclave.session import Aborted, AnswerSealer, Request
from enclave.shaping import Bare, Bucketed, Framed, Send, Ticks
from wire import bhttp, frames
from wire.shaping import (
    DEFAULT,
    SHAPING_FIELD,
    Buckets,
    BucketShaper,
    Frames,
    FrameShaper,
    Off,
    Shaping,
    parse_shaping,
)

MAX_STREAM_BYTES = 64 << 20
EVENT_STREAM = "text/event-stream"


class _Wish(msgspec.Struct):
    """All that is read of a body before the API reads it."""

    stream: bool | None = None


def wanted_shaping(request: Request) -> Shaping:
    """What the client asks for: frames unless it says otherwise. Raises ShapingError."""
    value = request.fields.get(SHAPING_FIELD)
    return DEFAULT if value is None else parse_shaping(value)


def wants_stream(request: Request) -> bool:
    """Whether the client asks for a stream; then an error looks like one too."""
    try:
        return bool(msgspec.json.decode(request.content, type=_Wish).stream)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


class SealedReply:
    """A reply that leaves sealed."""

    def __init__(self, send: Send, sealer: AnswerSealer) -> None:
        self._connection_send, self._sealer = send, sealer
        self._start = asyncio.get_running_loop().time()
        self._shaping: Shaping = Off()
        self._streamed = False
        self._stream: Bare | Bucketed | Framed | None = None
        self._begun = False
        self._size = 0
        self._shaper: FrameShaper | None = None
        self._fields: bhttp.Fields = ()
        self.status = 0

    def shape(self, shaping: Shaping, *, streamed: bool) -> None:
        """Shape what follows; where a stream was asked for, a whole answer looks like one."""
        self._shaping, self._streamed = shaping, streamed

    @property
    def complete(self) -> bool:
        """Whether the end of a shaped answer has left: a client that goes away now has all of it."""
        return self._shaper is not None and self._shaper.complete

    def add_field(self, name: str, value: str) -> None:
        """Have a field in the head of a whole answer."""
        self._fields += ((name, value),)

    def account(self, account: Account) -> None:
        """Nobody asked for a receipt."""

    async def whole(
        self, status: int, content_type: str, content: bytes, *, retry_after_seconds: int = 0
    ) -> None:
        """Send a complete answer."""
        fields = [("content-type", content_type)]
        if retry_after_seconds:
            fields.append(("retry-after", str(retry_after_seconds)))
        head = bhttp.ResponseHead(status, (*fields, *self._fields))
        self.status = status
        if isinstance(self._shaping, Frames):
            if self._streamed and self._sealer.chunked:
                await self._begin(head)
                await self.write(content)
                await self.end()
                return
            await self._ticks(self._shaping).wait()
        await self._send(self._sealer.whole(head, content))

    async def begin(self, status: int, content_type: str) -> None:
        """Begin a streamed answer, of server-sent events: their comments fill the frames."""
        if content_type != EVENT_STREAM:
            raise RuntimeError("only streams of events can be shaped")
        await self._begin(bhttp.ResponseHead(status, (("content-type", content_type),)))

    async def write(self, content: bytes) -> None:
        """Send a piece of it. Raises Aborted where the stream becomes too long."""
        self._size += len(content)
        if self._size > MAX_STREAM_BYTES:
            raise Aborted
        await self._begun_stream().write(content)

    async def end(self) -> None:
        """End it properly."""
        await self._begun_stream().end()

    async def drain(self) -> None:
        """Wait until what was written has left."""
        if isinstance(self._stream, Framed):
            await self._stream.drain()

    async def stop(self) -> None:
        """Send nothing any more."""
        if isinstance(self._stream, Framed):
            await self._stream.stop()

    async def _begin(self, head: bhttp.ResponseHead) -> None:
        self.status = head.status
        self._stream = self._new_stream()
        await self._stream.begin(self._sealer.head(head))

    def _new_stream(self) -> Bare | Bucketed | Framed:
        match self._shaping:
            case Frames() as shape if self._sealer.chunked:
                self._shaper = FrameShaper(shape)
                return Framed(self._sealer, self._send, self._shaper, self._ticks(shape))
            case Buckets() as shape if self._sealer.chunked:
                return Bucketed(self._sealer, self._send, BucketShaper(shape))
            case _:
                return Bare(self._sealer, self._send)

    def _ticks(self, shape: Frames) -> Ticks:
        return Ticks(self._start, shape.tick_milliseconds / 1000)

    def _begun_stream(self) -> Bare | Bucketed | Framed:
        if self._stream is None:
            raise RuntimeError("write before begin")
        return self._stream

    async def _send(self, sealed: bytes) -> None:
        if not sealed:
            return
        if not self._begun:
            self._begun = True
            sealed = frames.encode_answer_head(frames.AnswerHead(200, self._sealer.media_type)) + sealed
        await self._connection_send(sealed)
