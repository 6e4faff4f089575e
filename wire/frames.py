# SPDX-License-Identifier: Apache-2.0
"""The heads that host and enclave exchange on their link (wire.md 6.1).

The only module of this package that the untrusted host imports: it knows no keys and no plaintext. What
follows a head on the link is the body, up to the end of the stream.

    request = u32be head length, JSON {"m": method, "p": path, "ct": content type}, body
    answer  = u16be status, u16be length of the content type, content type, body
"""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass

# A path with a session identifier and a content type fit many times.
MAX_REQUEST_HEAD_BYTES = 4096
MAX_CONTENT_TYPE_BYTES = 200

_PREFIX_SIZE = 4


class FrameError(Exception):
    """The other end of the link sent a head that breaks the rules, or one of ours does not fit them."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What the host tells of an outer request."""

    method: str
    path: str
    content_type: str


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """What the enclave tells of its outer answer."""

    status: int
    content_type: str


def encode_request_head(head: RequestHead) -> bytes:
    """Return the bytes of a request head. Raises FrameError when it is too long or not printable ASCII."""
    for text in (head.method, head.path, head.content_type):
        _check_text(text)
    members = {"m": head.method, "p": head.path, "ct": head.content_type}
    encoded = json.dumps(members, separators=(",", ":")).encode()
    _check_size(len(encoded), MAX_REQUEST_HEAD_BYTES)
    return struct.pack(">I", len(encoded)) + encoded


def encode_answer_head(head: AnswerHead) -> bytes:
    """Return the bytes of an answer head. Raises FrameError as for one received."""
    _check_status(head.status)
    _check_text(head.content_type)
    _check_size(len(head.content_type), MAX_CONTENT_TYPE_BYTES)
    return struct.pack(">HH", head.status, len(head.content_type)) + head.content_type.encode()


class RequestHeadReader:
    """Collects one request head from a stream."""

    def __init__(self) -> None:
        self._collector = _Collector(_request_head_size)

    def receive(self, data: bytes) -> RequestHead | None:
        """Return the head once it is complete. Raises FrameError, and RuntimeError when called after that."""
        collected = self._collector.receive(data)
        return None if collected is None else _decode_request_head(collected[_PREFIX_SIZE:])

    @property
    def rest(self) -> bytes:
        """The bytes received behind the head: the beginning of the body."""
        return self._collector.rest


class AnswerHeadReader:
    """Collects one answer head from a stream."""

    def __init__(self) -> None:
        self._collector = _Collector(_answer_head_size)

    def receive(self, data: bytes) -> AnswerHead | None:
        """Return the head once it is complete. Raises FrameError, and RuntimeError when called after that."""
        collected = self._collector.receive(data)
        return None if collected is None else _decode_answer_head(collected)

    @property
    def rest(self) -> bytes:
        """The bytes received behind the head: the beginning of the body."""
        return self._collector.rest


class _Collector:
    """Gathers a prefix of four bytes and as much again as the prefix announces."""

    def __init__(self, announced_size: Callable[[bytes], int]) -> None:
        self._announced_size = announced_size
        self._buffer = bytearray()
        self._spent = False
        self.rest = b""

    def receive(self, data: bytes) -> bytes | None:
        if self._spent:
            raise RuntimeError("receive called after the head or after an error")
        self._buffer += data
        # Stays so when the head is complete, and when it is refused.
        self._spent = True
        size = self._size()
        if size is None or len(self._buffer) < size:
            self._spent = False
            return None
        self.rest = bytes(self._buffer[size:])
        return bytes(self._buffer[:size])

    def _size(self) -> int | None:
        if len(self._buffer) < _PREFIX_SIZE:
            return None
        return _PREFIX_SIZE + self._announced_size(bytes(self._buffer[:_PREFIX_SIZE]))


def _request_head_size(prefix: bytes) -> int:
    size = int.from_bytes(prefix, "big")
    _check_size(size, MAX_REQUEST_HEAD_BYTES)
    return size


def _answer_head_size(prefix: bytes) -> int:
    size = int.from_bytes(prefix[2:], "big")
    _check_status(int.from_bytes(prefix[:2], "big"))
    _check_size(size, MAX_CONTENT_TYPE_BYTES)
    return size


def _decode_request_head(encoded: bytes) -> RequestHead:
    try:
        members: object = json.loads(encoded.decode("ascii"), object_pairs_hook=_checked_members)
    except (ValueError, RecursionError) as error:
        raise FrameError("request head is not JSON") from error
    match members:
        case {"m": str(method), "p": str(path), "ct": str(content_type)}:
            for text in (method, path, content_type):
                _check_text(text)
            return RequestHead(method, path, content_type)
        case _:
            raise FrameError("request head is not an object of strings")


def _decode_answer_head(encoded: bytes) -> AnswerHead:
    try:
        content_type = encoded[_PREFIX_SIZE:].decode("ascii")
    except UnicodeDecodeError as error:
        raise FrameError("content type is not ASCII") from error
    _check_text(content_type)
    return AnswerHead(int.from_bytes(encoded[:2], "big"), content_type)


def _checked_members(members: list[tuple[str, object]]) -> dict[str, object]:
    if sorted(name for name, _ in members) != ["ct", "m", "p"]:
        raise FrameError("request head does not have the members m, p and ct, each once")
    return dict(members)


def _check_status(status: int) -> None:
    if not 200 <= status <= 599:
        raise FrameError(f"status {status} is not one from 200 to 599")


def _check_text(text: str) -> None:
    if not (text.isascii() and text.isprintable()):
        raise FrameError("head holds something other than printable ASCII")


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise FrameError(f"head of {size} bytes exceeds {limit}")
