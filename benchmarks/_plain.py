# SPDX-License-Identifier: Apache-2.0
"""The same model, engine process and API as an enclave's, over plain HTTP: what encryption is beside.

Run as a program with a port, the weights, the context in tokens and the number of threads.
"""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn
from starlette.types import Receive, Scope, Send

from deploy.local import DEFAULT_MODEL
from enclave.api.account import Account
from enclave.api.routes import Api
from enclave.config import Engine as EngineConfig
from enclave.engine.client import Engine
from enclave.session import Request
from enclave.supervisor import CHILD_ENVIRONMENT, PYTHON, engine_options
from enclave.weights import seal_weights
from models.manifest import Manifest, find_manifest


class PlainReply:
    """A reply that leaves as it is."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def whole(
        self, status: int, content_type: str, content: bytes, *, retry_after_seconds: int = 0
    ) -> None:
        """Send a complete answer."""
        assert retry_after_seconds >= 0
        await self.begin(status, content_type)
        await self._send({"type": "http.response.body", "body": content, "more_body": False})

    def account(self, account: Account) -> None:
        """There are no receipts here."""

    async def begin(self, status: int, content_type: str) -> None:
        """Begin a streamed answer."""
        headers = [(b"content-type", content_type.encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, content: bytes) -> None:
        """Send a piece of it."""
        await self._send({"type": "http.response.body", "body": content, "more_body": True})

    async def end(self) -> None:
        """End it properly."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


@contextmanager
def engine_process(
    weights: Path, manifest: Manifest, context_tokens: int, threads: int
) -> Generator[socket.socket]:
    """An engine process; our end of its socketpair."""
    sealed = seal_weights(weights, manifest)
    engine_end, own_end = socket.socketpair()
    options = engine_options(
        EngineConfig(context_tokens=context_tokens, threads=threads), manifest, production=False
    )
    arguments = [sealed, engine_end.fileno(), *options]
    command = [*PYTHON, "enclave.engine", *map(str, arguments)]
    descriptors = (sealed, engine_end.fileno())
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen(command, pass_fds=descriptors, env=CHILD_ENVIRONMENT, cwd=root) as process:
        engine_end.close()
        try:
            yield own_end
        finally:
            process.terminate()


async def serve(port: int, manifest: Manifest, connection: socket.socket) -> None:
    """Plain HTTP in front of an engine process."""
    engine = Engine(*await asyncio.open_connection(sock=connection))
    ready = await engine.ready()
    api = Api(engine, manifest, ready.context_tokens)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        fields = {name.decode(): value.decode() for name, value in scope["headers"]}
        await api.answer(Request(scope["method"], scope["path"], fields, body), PlainReply(send))

    config = uvicorn.Config(
        application, host="127.0.0.1", port=port, log_level="error", lifespan="off", access_log=False
    )
    await uvicorn.Server(config).serve()


def main(arguments: list[str]) -> int:
    """Serve until told to stop."""
    port, weights, context_tokens, threads = arguments
    manifest = find_manifest(DEFAULT_MODEL)
    with (
        suppress(KeyboardInterrupt),
        engine_process(Path(weights), manifest, int(context_tokens), int(threads)) as connection,
    ):
        asyncio.run(serve(int(port), manifest, connection))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
