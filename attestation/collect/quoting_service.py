# SPDX-License-Identifier: Apache-2.0
"""The quoting service (QGS) of a TDX host, over vsock (attestation.md 6).

Documents: qgs_msg_lib.h of Intel's DCAP; QEMU's tdx-quote-generator.c, which speaks it as a client too.
A message has its length before it, 4 bytes big-endian; all within it is little-endian. The service belongs to
the host, so every size is checked against the bytes there are, and the whole exchange ends by a deadline.
"""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct
from types import MappingProxyType
from typing import Final

from attestation.azure.tdreport import TDREPORT_SIZE
from attestation.collect.errors import CollectError, HostError, InvalidRequestError, UnavailableError

HOST_CID: Final = 2
PORT: Final = 4050
TIMEOUT_SECONDS: Final = 30.0  # what QEMU allows for the same exchange
MAX_QUOTE_BYTES: Final = 32 * 1024  # as much as configfs would pass on

MAJOR_VERSION: Final = 1
MINOR_VERSION: Final = 1
MINOR_VERSIONS: Final = (0, 1)  # older services answer with 0, in the same form
GET_QUOTE_REQUEST: Final = 0
GET_QUOTE_RESPONSE: Final = 1

_LENGTH: Final = Struct(">I")
# major and minor version, type, size with this head, error
_HEAD: Final = Struct("<HHIII")
# sizes of the TDREPORT and of a list of keys; or of the selected key and the quote
_SIZES: Final = Struct("<II")
_FIXED: Final = _HEAD.size + _SIZES.size

ERRORS: Final = MappingProxyType(
    {
        0x12001: "an unexpected error; its log says more, often that the platform is not registered",
        0x12002: "it has no memory",
        0x12003: "it takes the request for wrong",
        0x12004: "it does not know this version of the protocol",
        0x12005: "it does not know this type of message",
        0x12006: "it takes the size for wrong",
        0x12007: "it met an error code of its own that it does not know",
    }
)

Connect = Callable[[float], socket.socket]
"""Connects within so many seconds. Raises OSError."""


def connect_vsock(timeout_seconds: float) -> socket.socket:
    """A connection to the host's quoting service."""
    connection = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_seconds)
        connection.connect((HOST_CID, PORT))
    except BaseException:
        connection.close()
        raise
    return connection


@dataclass(frozen=True, slots=True)
class QuotingService:
    """The service, reached anew for each quote."""

    connect: Connect = field(default=connect_vsock, repr=False)
    timeout_seconds: float = TIMEOUT_SECONDS
    monotonic: Callable[[], float] = field(default=time.monotonic, repr=False)

    def quote(self, tdreport: bytes) -> bytes:
        """The quote of a TDREPORT. Raises CollectError."""
        request, end = encode_request(tdreport), self.monotonic() + self.timeout_seconds
        try:
            connection = self.connect(self.timeout_seconds)
        except OSError as error:
            raise UnavailableError(
                f"no quoting service at vsock {HOST_CID}:{PORT} ({error}); use configfs, or have one run"
            ) from error
        with connection:
            try:
                connection.settimeout(self._left(end))
                connection.sendall(request)
                return parse_response(self._receive_message(connection, end))
            except CollectError:
                raise
            except OSError as error:
                raise HostError(f"the quoting service broke off: {error}") from error

    def _receive_message(self, connection: socket.socket, end: float) -> bytes:
        (size,) = _LENGTH.unpack(self._receive(connection, _LENGTH.size, end))
        if not _FIXED < size <= _FIXED + MAX_QUOTE_BYTES:
            raise HostError(
                f"expected a message of {_FIXED + 1} to {_FIXED + MAX_QUOTE_BYTES} bytes, found {size}"
            )
        return self._receive(connection, size, end)

    def _receive(self, connection: socket.socket, size: int, end: float) -> bytes:
        """Exactly so many bytes, however small the pieces, and not after the deadline."""
        received = b""
        while len(received) < size:
            connection.settimeout(self._left(end))
            piece = connection.recv(size - len(received))
            if not piece:
                raise HostError(
                    f"expected {size} bytes of the quoting service, found an end after {len(received)}"
                )
            received += piece
        return received

    def _left(self, end: float) -> float:
        left = end - self.monotonic()
        if left <= 0:
            raise HostError(
                f"expected a quote within {self.timeout_seconds:g} s; the quoting service is too slow"
            )
        return left


def encode_request(tdreport: bytes) -> bytes:
    """GET_QUOTE_REQ with its length before it. The service chooses the key to sign with."""
    if len(tdreport) != TDREPORT_SIZE:
        raise InvalidRequestError(f"expected a TDREPORT of {TDREPORT_SIZE} bytes, found {len(tdreport)}")
    size = _FIXED + len(tdreport)
    head = _HEAD.pack(MAJOR_VERSION, MINOR_VERSION, GET_QUOTE_REQUEST, size, 0)
    return _LENGTH.pack(size) + head + _SIZES.pack(len(tdreport), 0) + tdreport


def parse_response(message: bytes) -> bytes:
    """The quote in GET_QUOTE_RESP.

    1. The head is of a known version and type, and states the size there is.
    2. The service reports no error.
    3. The quote fills what is left; no key was offered, so none is selected.
    """
    if len(message) < _HEAD.size:
        raise HostError(f"expected a message of {_HEAD.size} bytes or more, found {len(message)}")
    # 1.
    major, minor, kind, size, error = _HEAD.unpack_from(message)
    if major != MAJOR_VERSION or minor not in MINOR_VERSIONS or kind != GET_QUOTE_RESPONSE:
        raise HostError(
            f"expected type 1 of version 1.0 or 1.1, found type {kind} of version {major}.{minor}"
        )
    if size != len(message):
        raise HostError(f"expected a message that states {len(message)} bytes, found {size}")
    # 2.
    if error:
        raise HostError(f"the quoting service failed ({error:#x}): {ERRORS.get(error, 'an unknown error')}")
    # 3.
    if len(message) < _FIXED:
        raise HostError(f"expected a message of {_FIXED} bytes or more, found {len(message)}")
    selected, quote_size = _SIZES.unpack_from(message, _HEAD.size)
    if selected or not quote_size or quote_size != len(message) - _FIXED:
        raise HostError(
            f"expected no key and a quote of {len(message) - _FIXED} bytes, found {selected} and {quote_size}"
        )
    return message[_FIXED:]
