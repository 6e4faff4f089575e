# SPDX-License-Identifier: Apache-2.0
"""A network that breaks: a relay which cuts every connection after so many bytes of answers."""

import socket
import struct
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

READ_BYTES = 4096
RESET = struct.pack("ii", 1, 0)


class Cutter:
    """Relays to a port of the loopback address; `cut_after` says when it breaks next."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._left: int | None = None
        self._reset = False
        self._open: set[socket.socket] = set()

    def cut_after(self, size: int, *, reset: bool) -> None:
        """Let this many bytes of answers pass, then end all connections, properly or with a reset."""
        with self._lock:
            self._left, self._reset = size, reset

    def mend(self) -> None:
        """Break no more."""
        with self._lock:
            self._left = None

    def serve(self) -> None:
        """Accept until closed."""
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(near,), daemon=True).start()

    def close(self) -> None:
        """End everything."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut()

    def _relay(self, near: socket.socket) -> None:
        with near, suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as far:
            with self._lock:
                self._open |= {near, far}
            there = threading.Thread(target=self._copy, args=(near, far), daemon=True)
            there.start()
            with suppress(OSError):
                while data := far.recv(READ_BYTES):
                    near.sendall(data[: (allowed := self._allowed(len(data)))])
                    if allowed < len(data):
                        self._cut()
                        break
            for end in (near, far):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            there.join()
            with self._lock:
                self._open -= {near, far}

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(READ_BYTES):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def _allowed(self, size: int) -> int:
        with self._lock:
            if self._left is None:
                return size
            allowed = min(size, self._left)
            self._left -= allowed
            return allowed

    def _cut(self) -> None:
        with self._lock:
            for end in self._open:
                with suppress(OSError):
                    if self._reset:
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    end.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutter(target: int) -> Generator[Cutter]:
    """A relay to this port, until the block ends."""
    relay = Cutter(target)
    thread = threading.Thread(target=relay.serve)
    thread.start()
    try:
        yield relay
    finally:
        relay.close()
        thread.join()
