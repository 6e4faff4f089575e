# SPDX-License-Identifier: Apache-2.0
"""The engine's end of the socketpair."""

import select
import socket

from enclave.engine.protocol import Command, CommandReader, Report, encode

RECEIVE_BYTES = 1 << 16


class Disconnected(Exception):  # noqa: N818 - an event, not a fault
    """The session process closed its end."""


class Channel:
    """Receives commands, sends reports: all reports of a step in one call."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._reader = connection, CommandReader()
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def receive(self, *, wait: bool) -> list[Command]:
        """What has arrived; with `wait`, at least one command. Raises Disconnected and ProtocolError."""
        commands: list[Command] = []
        while (wait and not commands) or self._poll.poll(0):
            data = self._connection.recv(RECEIVE_BYTES)
            if not data:
                raise Disconnected
            commands.extend(self._reader.receive(data))
        return commands

    def send(self, reports: list[Report]) -> None:
        """Send reports. Raises Disconnected."""
        if not reports:
            return
        try:
            self._connection.sendall(b"".join(map(encode, reports)))
        except OSError:
            raise Disconnected from None
