# SPDX-License-Identifier: Apache-2.0
"""Oblivious HTTP, whole and in chunks (RFC 9458, draft-ietf-ohai-chunked-ohttp-08; wire.md 2, 6.4, 6.8).

    client   RequestSealer --- body ---> RequestOpener    enclave
             ResponseOpener <-- body --- ResponseSealer

Each object serves one body, once. Key lists are in `key_configuration`, the layout of bodies in `chunks`;
both are offered here too.
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from wire import hpke
from wire.aead import Aead, CountingCipher, OpenError
from wire.chunks import (
    MAX_BODY_BYTES,
    MAX_CHUNK_CIPHERTEXT,
    MAX_CHUNK_PLAINTEXT,
    MAX_CHUNKS,
    STREAM_LIMITS,
    WHOLE_OR_REQUEST_LIMITS,
    Format,
    Limits,
    Reader,
    RequestError,
    Truncated,
    Writer,
)
from wire.hpke import Encapsulate, Kdf, Kem, PrivateKey, RecipientContext, SenderContext, Suite
from wire.key_configuration import (
    MAX_KEY_LIST_BYTES,
    KeyConfiguration,
    KeyListError,
    decode_configuration,
    decode_key_list,
    encode_key_list,
)

__all__ = [
    "CHUNKED_REQUEST",
    "CHUNKED_RESPONSE",
    "HEAD_SIZE",
    "KEYS",
    "MAX_BODY_BYTES",
    "MAX_CHUNKS",
    "MAX_CHUNK_CIPHERTEXT",
    "MAX_CHUNK_PLAINTEXT",
    "MAX_KEY_LIST_BYTES",
    "REQUEST",
    "RESPONSE",
    "Format",
    "KeyConfiguration",
    "KeyListError",
    "OpenError",
    "RequestError",
    "RequestHead",
    "RequestOpener",
    "RequestSealer",
    "ResponseOpener",
    "ResponseSealer",
    "Truncated",
    "decode_configuration",
    "decode_key_list",
    "encode_key_list",
]

KEYS = "application/ohttp-keys"
REQUEST = "message/ohttp-req"
RESPONSE = "message/ohttp-res"
CHUNKED_REQUEST = "message/ohttp-chunked-req"
CHUNKED_RESPONSE = "message/ohttp-chunked-res"

_HEAD = struct.Struct(">BHHH")
HEAD_SIZE = _HEAD.size


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The seven bytes in clear before every request: which key, and which algorithms."""

    key_id: int
    suite: Suite

    def encode(self) -> bytes:
        """Return the seven bytes."""
        return _HEAD.pack(self.key_id, self.suite.kem, self.suite.kdf, self.suite.aead)

    @staticmethod
    def decode(data: bytes) -> "RequestHead":
        """Return the head of exactly these bytes. Raises RequestError for another size or algorithm."""
        if len(data) != HEAD_SIZE:
            raise RequestError(f"request head of {len(data)} bytes, not {HEAD_SIZE}")
        numbers = [int.from_bytes(data[start : start + 2], "big") for start in (1, 3, 5)]
        try:
            suite = Suite(Kem(numbers[0]), Kdf(numbers[1]), Aead(numbers[2]))
        except ValueError as error:
            raise RequestError("request head names an unknown algorithm") from error
        return RequestHead(data[0], suite)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What a response needs to know of its request (wire.md 6.4)."""

    form: Format
    aead: Aead
    enc: bytes
    secret: bytes = field(repr=False)

    @property
    def nonce_size(self) -> int:
        return _entropy_size(self.aead)

    @property
    def response_limits(self) -> Limits:
        return STREAM_LIMITS if self.form is Format.CHUNKED else WHOLE_OR_REQUEST_LIMITS

    def response_cipher(self, nonce: bytes) -> CountingCipher:
        """Return what seals or opens the response that begins with this nonce."""
        pseudorandom_key = hpke.extract(self.enc + nonce, self.secret)
        key = hpke.expand(pseudorandom_key, b"key", self.aead.key_size)
        base_nonce = hpke.expand(pseudorandom_key, b"nonce", self.aead.nonce_size)
        return CountingCipher(self.aead, key, base_nonce)


class RequestSealer:
    """The client's side of one request."""

    def __init__(
        self,
        configuration: KeyConfiguration,
        suite: tuple[Kdf, Aead],
        format: Format = Format.CHUNKED,  # noqa: A002 - named at every call
        *,
        encapsulate: Encapsulate = hpke.encapsulate,
    ) -> None:
        """Encapsulate a fresh key. Raises PublicKeyError, and RuntimeError for a suite not offered."""
        if suite not in configuration.suites:
            raise RuntimeError("suite is not one of the key configuration")
        head = RequestHead(configuration.key_id, Suite(configuration.kem, *suite))
        enc, context = hpke.setup_sender(
            head.suite, configuration.public_key, _info(format, head), encapsulate=encapsulate
        )
        self._exchange = _exchange(format, head, enc, context)
        self._writer = Writer(format, WHOLE_OR_REQUEST_LIMITS, context, head.encode() + enc)

    @property
    def encapsulated(self) -> bytes:
        """The encapsulated key `enc`, which names this request (wire.md 6.3, 6.6)."""
        return self._exchange.enc

    def seal(self, chunk: bytes, *, last: bool) -> bytes:
        """Return the next bytes of the body; the first begin with head and `enc`.

        Raises RuntimeError for a chunk above 16384 bytes, an empty one before the last, one after the last, a
        body above 32 MiB, and a whole request in more than one piece.
        """
        return self._writer.seal(chunk, last=last)

    def response_opener(self) -> "ResponseOpener":
        """Return what opens the response to this request."""
        return ResponseOpener(self._exchange)


class RequestOpener:
    """The enclave's side of one request. After an error it is dead: further calls raise RuntimeError."""

    def __init__(
        self,
        head: RequestHead,
        format: Format,  # noqa: A002 - as above
        private_key: PrivateKey,
        enc: bytes,
    ) -> None:
        """Decapsulate. Raises OpenError."""
        context = hpke.setup_recipient(head.suite, private_key, enc, _info(format, head))
        self._exchange = _exchange(format, head, enc, context)
        self._reader = Reader(format, WHOLE_OR_REQUEST_LIMITS, context)

    @property
    def authenticated(self) -> bool:
        """Whether the first chunk was opened: the sender knew the key and the head is the one it sent."""
        return self._reader.opened > 0

    def receive(self, data: bytes) -> list[bytes]:
        """Take bytes that follow `enc` and return the chunks they complete, opened.

        Raises RequestError when lengths or limits are broken and OpenError when a chunk cannot be opened.
        """
        return self._reader.receive(data)

    def end(self) -> list[bytes]:
        """Return the last chunk when the body has ended. Raises Truncated, RequestError or OpenError."""
        return [self._reader.end()]

    def response_sealer(self, *, random_bytes: Callable[[int], bytes] = os.urandom) -> "ResponseSealer":
        """Return what seals the response. Raises RuntimeError before the request is authenticated."""
        if not self.authenticated:
            raise RuntimeError("response before the request is authenticated")
        return ResponseSealer(self._exchange, random_bytes(self._exchange.nonce_size))


class ResponseSealer:
    """The enclave's side of one response. Made by `RequestOpener.response_sealer`."""

    def __init__(self, exchange: _Exchange, nonce: bytes) -> None:
        cipher = exchange.response_cipher(nonce)
        self._writer = Writer(exchange.form, exchange.response_limits, cipher, nonce)

    def seal(self, chunk: bytes, *, last: bool) -> bytes:
        """Return the next bytes of the body; the first begin with the response nonce.

        Raises RuntimeError as for a request, except that a chunked response may have 2^30 bytes.
        """
        return self._writer.seal(chunk, last=last)


class ResponseOpener:
    """The client's side of one response. Made by `RequestSealer.response_opener`.

    After an error it is dead: further calls raise RuntimeError. Broken rules are OpenError here, for the
    client can do nothing with the difference: in either case somebody on the way touched the response.
    """

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange
        self._nonce = b""
        self._reader: Reader | None = None
        self._ended = False

    def receive(self, data: bytes) -> list[bytes]:
        """Return the chunks that these bytes complete, opened. Raises OpenError."""
        self._check_usable()
        reader, rest = self._started(data)
        if reader is None:
            return []
        try:
            return reader.receive(rest)
        except RequestError:
            raise OpenError from None

    def end(self) -> list[bytes]:
        """Return the last chunk when the body has ended. Raises Truncated, or OpenError."""
        self._check_usable()
        self._ended = True
        if self._reader is None:
            raise Truncated("body ended within the response nonce")
        return [self._reader.end()]

    def _check_usable(self) -> None:
        if self._ended:
            raise RuntimeError("opener used after its end")

    def _started(self, data: bytes) -> tuple[Reader | None, bytes]:
        """Return the reader once the nonce is complete, and the bytes for it."""
        if self._reader is None:
            missing = self._exchange.nonce_size - len(self._nonce)
            self._nonce, data = self._nonce + data[:missing], data[missing:]
            if len(self._nonce) == self._exchange.nonce_size:
                cipher = self._exchange.response_cipher(self._nonce)
                self._reader = Reader(self._exchange.form, self._exchange.response_limits, cipher)
        return self._reader, data


def _exchange(
    form: Format, head: RequestHead, enc: bytes, context: SenderContext | RecipientContext
) -> _Exchange:
    # Exported now, so that the response does not keep the keys of the request alive.
    aead = head.suite.aead
    return _Exchange(form, aead, enc, context.export(form.response_label, _entropy_size(aead)))


def _entropy_size(aead: Aead) -> int:
    return max(aead.nonce_size, aead.key_size)


def _info(form: Format, head: RequestHead) -> bytes:
    return form.request_label + b"\0" + head.encode()
