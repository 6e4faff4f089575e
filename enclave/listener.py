# SPDX-License-Identifier: Apache-2.0
"""The listening socket of the link, opened by the supervisor so that it outlives a restart."""

import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

BACKLOG = 256


@contextmanager
def listening(address: str) -> Generator[socket.socket]:
    """The listening socket; a Unix socket's file is removed at the end. Raises OSError."""
    path = Path(address.removeprefix("unix:")) if address.startswith("unix:") else None
    with listen(address) as listener:
        try:
            yield listener
        finally:
            if path:
                path.unlink(missing_ok=True)


def listen(address: str) -> socket.socket:
    """A listening socket for `unix:PATH`, `tcp:HOST:PORT` or `vsock:CID:PORT`. Raises OSError."""
    scheme, _, place = address.partition(":")
    if scheme == "unix":
        _remove_abandoned(Path(place))
        return _listening_at(socket.AF_UNIX, place)
    host, _, port = place.rpartition(":")
    if scheme == "vsock":
        return _listening_at(socket.AF_VSOCK, (int(host), int(port)))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=BACKLOG)


def _listening_at(family: socket.AddressFamily, place: str | tuple[int, int]) -> socket.socket:
    listener = socket.socket(family)
    try:
        listener.bind(place)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_abandoned(path: Path) -> None:
    """Remove the socket of an enclave that was killed; where somebody listens it stays, and binding fails."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
