# SPDX-License-Identifier: Apache-2.0
"""A quoting service on a real socket. AF_UNIX stands in for vsock, where tests cannot listen."""

import socket
import struct
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from tests.fakes.kernel import td_quote

Answer = Callable[[bytes], Iterable[bytes]]
"""Turns a TDREPORT into the pieces to send."""


def message(quote: bytes, *, head: bytes = b"", sizes: bytes = b"") -> bytes:
    """GET_QUOTE_RESP without its length; head and sizes can be replaced."""
    content = (sizes or struct.pack("<II", 0, len(quote))) + quote
    return (head or struct.pack("<HHIII", 1, 1, 1, 16 + len(content), 0)) + content


def framed(content: bytes) -> bytes:
    """A message with its length."""
    return struct.pack(">I", len(content)) + content


def good(tdreport: bytes) -> Iterable[bytes]:
    """A quote of the TDREPORT, in one piece."""
    return [framed(message(td_quote(tdreport[128:192])))]


def _serve(listener: socket.socket, answer: Answer, end: Event, silent: bool) -> None:
    connection, _ = listener.accept()
    with connection, suppress(OSError):
        connection.settimeout(10)
        (size,) = struct.unpack(">I", connection.recv(4, socket.MSG_WAITALL))
        request = connection.recv(size, socket.MSG_WAITALL)
        major, _, kind, stated, error, report_size, keys = struct.unpack_from("<HHIIIII", request)
        assert (major, kind, stated, error, report_size, keys) == (1, 0, size, 0, 1024, 0)
        for piece in answer(request[24:]):
            connection.sendall(piece)
        if silent:
            end.wait(10)


@contextmanager
def quoting_service(
    folder: Path, answer: Answer = good, *, silent: bool = False
) -> Generator[Callable[[float], socket.socket]]:
    """A service for one request, and how to connect to it. A silent one never closes the connection."""
    end, listener = Event(), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with listener:
        listener.bind(str(folder / "qgs"))
        listener.listen(1)
        thread = Thread(target=_serve, args=(listener, answer, end, silent), daemon=True)
        thread.start()

        def connect(timeout_seconds: float) -> socket.socket:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(timeout_seconds)
            connection.connect(str(folder / "qgs"))
            return connection

        try:
            yield connect
        finally:
            end.set()
            thread.join(10)
