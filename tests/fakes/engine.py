# SPDX-License-Identifier: Apache-2.0
"""An engine process that says what a test wants, behind the real client; a reply that keeps an answer."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Sequence

import msgspec

from enclave.api.account import Account
from enclave.api.routes import Api
from enclave.engine.client import Engine
from enclave.engine.protocol import Command, CommandReader, Embed, Generate, Ready, Report, encode
from enclave.session import Problem, Request
from models.manifest import Manifest

SECONDS = 10
CONTEXT_TOKENS = 64
READY = Ready(CONTEXT_TOKENS, 1, "b1", {})


class KeptReply:
    """Keeps an answer."""

    def __init__(self) -> None:
        self.status, self.content_type, self.retry_after_seconds = 0, "", 0
        self.pieces: list[bytes] = []
        self.ended = False
        self.accounts: list[Account] = []

    async def whole(
        self, status: int, content_type: str, content: bytes, *, retry_after_seconds: int = 0
    ) -> None:
        """Keep a complete answer."""
        assert not self.pieces, "an answer is whole or streamed"
        self.status, self.content_type, self.retry_after_seconds = status, content_type, retry_after_seconds
        self.pieces.append(content)
        self.ended = True

    def account(self, account: Account) -> None:
        """Keep what the generation was."""
        self.accounts.append(account)

    async def begin(self, status: int, content_type: str) -> None:
        """Keep the head of a streamed answer."""
        self.status, self.content_type = status, content_type

    async def write(self, content: bytes) -> None:
        """Keep a piece of it."""
        assert content, "an empty piece tells nothing"
        self.pieces.append(content)

    async def end(self) -> None:
        """Note that it ended properly."""
        self.ended = True

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.pieces)


def post(
    path: str, body: dict[str, object], *, session: bytes = b"", headers: dict[str, str] | None = None
) -> Request:
    """A decrypted request."""
    fields = {"content-type": "application/json"} | (headers or {})
    return Request("POST", path, fields, json.dumps(body).encode(), session)


def answered(
    manifest: Manifest, request: Request | Problem, reports: Sequence[Report], *, gone: bool = False
) -> tuple[KeptReply, list[Command]]:
    """Answer a request while the engine says this; with `gone` the engine ends afterwards.

    The reply, and what the engine was told.
    """
    return asyncio.run(asyncio.wait_for(_answered(manifest, request, reports, gone=gone), SECONDS))


async def _answered(
    manifest: Manifest, request: Request | Problem, reports: Sequence[Report], *, gone: bool
) -> tuple[KeptReply, list[Command]]:
    near, far = socket.socketpair()
    engine_reader, engine_writer = await asyncio.open_connection(sock=far)
    reader, writer = await asyncio.open_connection(sock=near)
    engine = Engine(reader, writer)
    engine_writer.write(encode(READY))
    await engine.ready()
    told: list[Command] = []
    playing = asyncio.ensure_future(_play(engine_reader, engine_writer, reports, told, gone=gone))
    reply = KeptReply()
    try:
        await Api(engine, manifest, CONTEXT_TOKENS).answer(request, reply)
    finally:
        playing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await playing
        engine_writer.close()
        await engine.gone.wait()
        writer.close()
        await asyncio.gather(engine_writer.wait_closed(), writer.wait_closed(), return_exceptions=True)
    return reply, told


async def _play(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    reports: Sequence[Report],
    told: list[Command],
    *,
    gone: bool,
) -> None:
    commands = CommandReader()
    while data := await reader.read(1 << 16):
        for command in commands.receive(data):
            told.append(command)
            if isinstance(command, Generate | Embed):
                for report in reports:
                    writer.write(encode(msgspec.structs.replace(report, generation=command.generation)))
                if gone:
                    writer.close()
                    return
