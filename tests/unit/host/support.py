# SPDX-License-Identifier: Apache-2.0
"""A real host in a thread, and the enclave's end of its link in the test's own hands."""

import http.client
import json
import select
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from host.__main__ import server
from host.config import Config
from host.endorsement_settings import Settings
from wire import frames

TIMEOUT_SECONDS = 10.0


class FakeEnclave:
    """Listens where the host looks for the enclave; the test accepts, reads and answers step by step."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(TIMEOUT_SECONDS)
        self._listener.bind(str(path))
        self._listener.listen()

    def accept(self) -> "Exchange":
        """The next exchange that the host opens."""
        connection, _ = self._listener.accept()
        connection.settimeout(TIMEOUT_SECONDS)
        return Exchange(connection)

    def patience(self, seconds: float) -> None:
        """How long `accept` waits before it raises TimeoutError."""
        self._listener.settimeout(seconds)

    def close(self) -> None:
        self._listener.close()


class Exchange:
    """The enclave's end of one exchange."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._rest = b""

    def __enter__(self) -> "Exchange":
        return self

    def __exit__(self, *_raised: object) -> None:
        self.connection.close()

    def head(self) -> frames.RequestHead:
        """The head that the host sends first."""
        reader = frames.RequestHeadReader()
        while data := self.connection.recv(1 << 16):
            head = reader.receive(data)
            if head is not None:
                self._rest = reader.rest
                return head
        raise EOFError

    def body(self, size: int = 1 << 40) -> bytes:
        """The body up to its end, or as much of it as is wanted."""
        received, self._rest = self._rest, b""
        while len(received) < size and (data := self.connection.recv(1 << 16)):
            received += data
        return received

    def answer(self, status: int, content_type: str, body: bytes = b"") -> None:
        """A head, and some of the body."""
        self.connection.sendall(frames.encode_answer_head(frames.AnswerHead(status, content_type)) + body)

    def end(self) -> None:
        """The end of the answer."""
        self.connection.shutdown(socket.SHUT_WR)

    def is_closed_within(self, seconds: float) -> bool:
        """Whether the host closes both directions in this time."""
        poll = select.poll()
        poll.register(self.connection, select.POLLHUP)
        return bool(poll.poll(seconds * 1000))


@contextmanager
def running_host(
    link: Path, endorsements: Settings | None = None, *, adapters: tuple[str, ...] = ()
) -> Generator[int]:
    """A host on a port of its own, with the settings of `python -m host`; the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = int(listener.getsockname()[1])
    running = server(Config("127.0.0.1", port, f"unix:{link}", endorsements, adapters))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield port
    finally:
        running.should_exit = True
        thread.join(TIMEOUT_SECONDS)
        listener.close()


@contextmanager
def client(port: int) -> Generator[http.client.HTTPConnection]:
    """A connection to the host."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        yield connection
    finally:
        connection.close()


def problem(response: http.client.HTTPResponse) -> dict[str, str | int]:
    """The problem document of an answer of the host."""
    assert response.getheader("content-type") == "application/problem+json"
    assert response.getheader("cache-control") == "no-store"
    document: dict[str, str | int] = json.loads(response.read())
    assert document["status"] == response.status
    return document
