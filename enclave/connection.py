# SPDX-License-Identifier: Apache-2.0
"""One stream from the host: a head, a body, and an answer (wire.md 6.1)."""

import asyncio
import select
from contextlib import suppress

from enclave.session import OuterAnswer, Refused
from wire import frames

PROBLEM = "application/problem+json"
READ_BYTES = 1 << 16
HEAD_SECONDS = 10
HANGUP_CHECK_SECONDS = 0.05
LINGER_SECONDS = 1


class Connection:
    """One stream from the host."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._rest = b""

    async def head(self) -> frames.RequestHead:
        """The head that the host put before the body. Raises Refused."""
        head_reader = frames.RequestHeadReader()
        try:
            async with asyncio.timeout(HEAD_SECONDS):
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

    def abort(self) -> None:
        """Cut the stream."""
        self._writer.transport.abort()

    def close(self) -> None:
        """Close the stream once what was sent has left."""
        self._writer.close()
