# SPDX-License-Identifier: Apache-2.0
"""How sealed messages are laid out in a body, whole or in chunks (wire.md 2.1, 2.2 and 6.8).

    whole:    sealed message
    chunked:  { varint(length > 0), sealed chunk }*, varint(0), sealed last chunk up to the end of the body

The lengths are not authenticated. What protects them is that every chunk has its place in the count of
nonces, and that the last one alone is sealed with the additional data "final".
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from wire import varint
from wire.aead import TAG_SIZE

# The chunked draft, section 3: every receiver takes chunks of this size, so no sender makes larger ones.
MAX_CHUNK_PLAINTEXT = 16384
MAX_CHUNK_CIPHERTEXT = MAX_CHUNK_PLAINTEXT + TAG_SIZE
MAX_CHUNKS = 65536
MAX_BODY_BYTES = 32 * 1024 * 1024

_FINAL = b"final"


class RequestError(Exception):
    """The peer sent a head or a chunk that breaks the rules."""


class Truncated(Exception):  # noqa: N818 - says what happened; wire.md 6.9 treats it as an outcome of its own
    """The body ended before its last chunk was complete."""


class Format(Enum):
    """Whether a body is one sealed message (RFC 9458) or a sequence of chunks (the chunked draft)."""

    WHOLE = ("message/bhttp", "message/ohttp")
    CHUNKED = ("message/bhttp chunked", "message/ohttp-chunked")

    def __init__(self, label: str, media_type: str) -> None:
        self.request_label = f"{label} request".encode()
        self.response_label = f"{label} response".encode()
        self.request_media_type = f"{media_type}-req"
        self.response_media_type = f"{media_type}-res"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one body may hold."""

    chunks: int
    size_bytes: int


WHOLE_OR_REQUEST_LIMITS = Limits(MAX_CHUNKS, MAX_BODY_BYTES)
# A response may stream for hours. The draft's section on message sizes allows AES-128-GCM 2^30 bytes for one
# key; no chunk but the last is empty, which bounds their number too.
STREAM_LIMITS = Limits(2**26, 2**30)


class Seals(Protocol):
    """Seals one message after the other."""

    def seal(self, plaintext: bytes, aad: bytes = b"") -> bytes:
        """Return the ciphertext of the next message."""
        ...


class Opens(Protocol):
    """Opens one message after the other."""

    def open(self, ciphertext: bytes, aad: bytes = b"") -> bytes:
        """Return the plaintext of the next message. Raises OpenError."""
        ...


class Writer:
    """Seals the chunks of one body. Its first output begins with the body's prefix."""

    def __init__(self, form: Format, limits: Limits, context: Seals, prefix: bytes) -> None:
        self._form = form
        self._limits = limits
        self._context = context
        self._prefix = prefix
        self._chunks = 0
        self._size = 0
        self._done = False

    def seal(self, chunk: bytes, *, last: bool) -> bytes:
        """Return the next bytes of the body. Raises RuntimeError when the chunk breaks the rules."""
        self._check(chunk, last=last)
        sealed = self._prefix + (self._seal_last(chunk) if last else self._seal_chunk(chunk))
        self._prefix = b""
        self._chunks += 1
        self._size += len(sealed)
        self._done = last
        return sealed

    def _check(self, chunk: bytes, *, last: bool) -> None:
        if self._done:
            raise RuntimeError("seal called after the last chunk")
        if self._form is Format.WHOLE:
            if not last:
                raise RuntimeError("a whole message is sealed in one piece")
        elif len(chunk) > MAX_CHUNK_PLAINTEXT:
            raise RuntimeError(f"chunk of {len(chunk)} bytes exceeds {MAX_CHUNK_PLAINTEXT}")
        if not chunk and not last:
            raise RuntimeError("only the last chunk may be empty")
        overhead = len(self._prefix) + varint.MAX_SIZE + TAG_SIZE
        if self._chunks == self._limits.chunks or (
            self._size + overhead + len(chunk) > self._limits.size_bytes
        ):
            raise RuntimeError(f"body exceeds {self._limits}")

    def _seal_chunk(self, chunk: bytes) -> bytes:
        ciphertext = self._context.seal(chunk)
        return varint.encode(len(ciphertext)) + ciphertext

    def _seal_last(self, chunk: bytes) -> bytes:
        if self._form is Format.WHOLE:
            return self._context.seal(chunk)
        return varint.encode(0) + self._context.seal(chunk, _FINAL)


class Reader:
    """Opens the chunks of one body, however its bytes are split. It never holds more than one chunk.

    After an error, and after the end, every call raises RuntimeError.
    """

    def __init__(self, form: Format, limits: Limits, context: Opens) -> None:
        self._form = form
        self._limits = limits
        self._context = context
        self._buffer = bytearray()
        self._size = 0
        self._in_last = form is Format.WHOLE
        self._spent = False
        self.opened = 0

    def receive(self, data: bytes) -> list[bytes]:
        """Return the chunks that these bytes complete, but never the last.

        Raises RequestError when lengths or limits are broken and OpenError when a chunk cannot be opened.
        """
        self._spend()
        self._size += len(data)
        if self._size > self._limits.size_bytes:
            raise RequestError(f"body exceeds {self._limits.size_bytes} bytes")
        self._buffer += data
        opened: list[bytes] = []
        while (ciphertext := self._next_chunk()) is not None:
            opened.append(self._open(ciphertext, b""))
        if self._in_last and self._form is Format.CHUNKED and len(self._buffer) > MAX_CHUNK_CIPHERTEXT:
            raise RequestError(f"last chunk exceeds {MAX_CHUNK_CIPHERTEXT} bytes")
        self._spent = False
        return opened

    def end(self) -> bytes:
        """Return the last chunk when the body has ended. Raises Truncated, or OpenError."""
        self._spend()
        if not self._in_last or len(self._buffer) < TAG_SIZE:
            raise Truncated("body ended before its last chunk")
        return self._open(bytes(self._buffer), b"" if self._form is Format.WHOLE else _FINAL)

    def _spend(self) -> None:
        if self._spent:
            raise RuntimeError("opener used after its end or after an error")
        # Only success takes this back.
        self._spent = True

    def _open(self, ciphertext: bytes, aad: bytes) -> bytes:
        if self.opened == self._limits.chunks:
            raise RequestError(f"body has more than {self._limits.chunks} chunks")
        plaintext = self._context.open(ciphertext, aad)
        self.opened += 1
        return plaintext

    def _next_chunk(self) -> bytes | None:
        prefix = bytes(self._buffer[: varint.MAX_SIZE])
        if self._in_last or not prefix or len(prefix) < varint.size_of(prefix[0]):
            return None
        length, start = varint.decode(prefix)
        if length == 0:
            self._in_last = True
            del self._buffer[:start]
            return None
        # An empty chunk that is not the last would let a peer make work out of nothing.
        if not TAG_SIZE < length <= MAX_CHUNK_CIPHERTEXT:
            raise RequestError(f"chunk of {length} bytes is not one of 17 to {MAX_CHUNK_CIPHERTEXT}")
        if len(self._buffer) < start + length:
            return None
        ciphertext = bytes(self._buffer[start : start + length])
        del self._buffer[: start + length]
        return ciphertext
