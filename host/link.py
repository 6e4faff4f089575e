# SPDX-License-Identifier: Apache-2.0
"""The connection to the enclave: one stream for each exchange."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

READ_BYTES = 1 << 16
CONNECT_SECONDS = 5


class LinkError(Exception):
    """The enclave cannot be reached, or ended the exchange before it answered."""


class NoEnclaveError(LinkError):
    """Nobody listens at the enclave's address."""


class Stream:
    """One exchange's stream to the enclave."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Send, and wait while the enclave does not take it. Raises LinkError."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise LinkError(str(error)) from error

    def finish(self) -> None:
        """Mark the end of the request. Raises LinkError."""
        try:
            self._writer.write_eof()
        except OSError as error:
            raise LinkError(str(error)) from error

    async def receive(self) -> bytes:
        """Some more of the answer; empty at its end. Raises LinkError."""
        try:
            return await self._reader.read(READ_BYTES)
        except OSError as error:
            raise LinkError(str(error)) from error


@asynccontextmanager
async def connect(address: str) -> AsyncGenerator[Stream]:
    """A stream to the enclave at `unix:PATH`, `tcp:HOST:PORT` or `vsock:CID:PORT`. Raises LinkError."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await _open(address)
    except (OSError, TimeoutError) as error:
        raise NoEnclaveError(f"{address}: {error}") from error
    try:
        yield Stream(reader, writer)
    finally:
        # Nothing is kept for an exchange that is over: the enclave sees at once that nobody listens.
        writer.transport.abort()


async def _open(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    scheme, _, place = address.partition(":")
    if scheme == "unix":
        return await asyncio.open_unix_connection(place, limit=READ_BYTES)
    host, _, port = place.rpartition(":")
    if scheme == "tcp":
        return await asyncio.open_connection(host.strip("[]"), int(port), limit=READ_BYTES)
    connection = socket.socket(socket.AF_VSOCK)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (int(host), int(port)))
    return await asyncio.open_connection(sock=connection, limit=READ_BYTES)
