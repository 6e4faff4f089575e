# SPDX-License-Identifier: Apache-2.0
"""What session process and reporter process say to each other: length-prefixed MessagePack on a socketpair.

The reporter greets; from then on each 64 bytes of report data are answered by one message, in turn.
"""

import socket
from typing import Literal, TypeAlias

import msgspec

from attestation.binding import TeeOctet
from enclave.events import Lack

REPORT_DATA_BYTES = 64
# A report or quote of up to 32 KiB, as much of certificates, and Intel's collateral of the simulated vendor.
MAX_MESSAGE_BYTES = 256 << 10
LENGTH_BYTES = 4

TeeName: TypeAlias = Literal["sev-snp", "tdx"]


class ProtocolError(Exception):
    """The other process said something that is not of this protocol."""


class Greeting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="greeting"):
    """The reporter can report. `octet` is what report data names the hardware (wire.md 6.3)."""

    tee: TeeName
    octet: TeeOctet
    protections: dict[str, str]


class Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="signed"):
    """A signed report, with as much of what a verifier needs besides as there is: the host adds the rest.

    `chain` (DER, leaf first) and `crl` belong to SEV-SNP, `collateral` to TDX.
    """

    tee: TeeName
    report: bytes
    chain: tuple[bytes, ...] = ()
    crl: bytes = b""
    collateral: bytes = b""


class NoReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="none"):
    """The hardware gave none this time."""

    reason: Lack


Message = Greeting | Signed | NoReport


def send_message(connection: socket.socket, message: Message) -> None:
    """Send one message. Raises OSError."""
    body = msgspec.msgpack.encode(message)
    assert len(body) <= MAX_MESSAGE_BYTES, "reports and certificates are bounded where they are collected"
    connection.sendall(len(body).to_bytes(LENGTH_BYTES, "big") + body)


def receive_message(connection: socket.socket) -> Message:
    """Wait for one message. Raises EOFError at the end of the stream, ProtocolError and OSError."""
    size = int.from_bytes(receive_exactly(connection, LENGTH_BYTES), "big")
    if not 0 < size <= MAX_MESSAGE_BYTES:
        raise ProtocolError(f"expected a message of 1 to {MAX_MESSAGE_BYTES} bytes, found {size}")
    try:
        message: Message = msgspec.msgpack.decode(receive_exactly(connection, size), type=Message)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ProtocolError("not a message of this protocol") from None
    return message


def receive_exactly(connection: socket.socket, size: int) -> bytes:
    """Exactly so many bytes. Raises EOFError where the stream ends before, and OSError."""
    received = b""
    while len(received) < size:
        piece = connection.recv(size - len(received))
        if not piece:
            raise EOFError
        received += piece
    return received
