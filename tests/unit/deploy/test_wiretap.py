# SPDX-License-Identifier: Apache-2.0
"""The wiretap passes everything on, and keeps a copy."""

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from deploy.local import free_port
from deploy.wiretap import Place, Recording, wiretap

SECONDS = 10.0


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """What listens behind the wiretap."""
    with socket.socket(socket.AF_UNIX) as far:
        far.settimeout(SECONDS)
        far.bind(str(tmp_path / "far.sock"))
        far.listen()
        yield far


def received(connection: socket.socket, size: int) -> bytes:
    """This many bytes, or fewer where the other end has ended."""
    data = b""
    while len(data) < size and (more := connection.recv(1 << 16)):
        data += more
    return data


def connected(near: Path | int) -> socket.socket:
    if isinstance(near, int):
        return socket.create_connection(("127.0.0.1", near), timeout=SECONDS)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(SECONDS)
    connection.connect(str(near))
    return connection


@pytest.mark.parametrize("by_port", [True, False])
def test_both_directions_pass_and_are_recorded(
    tmp_path: Path, listener: socket.socket, *, by_port: bool
) -> None:
    near = free_port() if by_port else tmp_path / "near.sock"
    listen = Place(port=near) if isinstance(near, int) else Place(path=near)
    request, answer = bytes(range(256)) * 2000, b"an answer"
    with wiretap(listen, Place(path=tmp_path / "far.sock")) as recording:
        with closing(connected(near)) as client:
            client.sendall(request[:1000])
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(SECONDS)
                assert received(connection, 1000) == request[:1000]
                client.sendall(request[1000:])
                assert received(connection, len(request) - 1000) == request[1000:]
                connection.sendall(answer)
                assert received(client, len(answer)) == answer
        assert b"".join(recording.forward) == request
        assert b"".join(recording.backward) == answer


def test_the_end_of_one_direction_passes_while_the_other_goes_on(
    tmp_path: Path, listener: socket.socket
) -> None:
    near = tmp_path / "near.sock"
    with wiretap(Place(path=near), Place(path=tmp_path / "far.sock")), closing(connected(near)) as client:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(SECONDS)
            assert received(connection, 1 << 20) == b"question"
            connection.sendall(b"answer")
            assert received(client, 6) == b"answer"
        assert received(client, 1) == b""


def test_a_client_that_goes_away_is_gone_on_the_other_side(tmp_path: Path, listener: socket.socket) -> None:
    near = tmp_path / "near.sock"
    with wiretap(Place(path=near), Place(path=tmp_path / "far.sock")):
        client = connected(near)
        client.sendall(b"x")
        connection, _ = listener.accept()
        client.close()
        with connection:
            connection.settimeout(SECONDS)
            assert received(connection, 1 << 20) == b"x"


def test_nobody_behind_the_wiretap_ends_the_connection(tmp_path: Path) -> None:
    near = tmp_path / "near.sock"
    with wiretap(Place(path=near), Place(path=tmp_path / "nobody.sock")) as recording:
        with closing(connected(near)) as client:
            assert received(client, 1) == b""
        assert recording.forward == []


def test_the_pieces_of_a_direction_are_searched_as_one() -> None:
    recording = Recording([b"half a te", b"xt"], [b"ans", b"wer"])
    assert recording.everything() == b"half a text\0answer"
