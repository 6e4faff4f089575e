# SPDX-License-Identifier: Apache-2.0
"""Requests and answers as ciphertext, without I/O (wire.md 6.9, 6.10).

An exchange can only be made with a `VerifiedEnclave`: nothing is ever sealed to a key that was not verified.
Whatever stands outside the encryption (status, headers, lengths) is the host's word and decides nothing here.
"""

import os
from dataclasses import dataclass, field

from attestation.verify import VerifiedEnclave
from sottovoce.one_time_keys import OneTimeKey
from wire import bhttp, hpke, ohttp, padding
from wire.session import (
    IDEMPOTENCY_FIELD,
    IDEMPOTENCY_KEY_SIZE,
    KEY_FIELD,
    SUITE,
    SessionMessageError,
)
from wire.strict_json import encode_base64url

# Half of what fits into an outer request; enclaves set lower limits of their own.
MAX_CONTENT_BYTES = 16 << 20
GATEWAY_PATH = "/.well-known/ohttp-gateway"
UNKNOWN_KEY = 422  # the outer status that says so; like every outer status it may be a lie


class AnswerError(Exception):
    """The answer cannot be believed; what was received before the fault must not be taken for an answer.

    `partial` is the text that came before it, where the application was reading text.
    """

    partial = ""


class TruncatedResponse(AnswerError):  # noqa: N818 - named as in the specification
    """The answer was cut before its authenticated end."""


class TamperedResponse(AnswerError):  # noqa: N818 - in line with its sibling
    """The answer was changed on its way, or does not belong to this request."""


class RequestTooLargeError(Exception):
    """The request is larger than any enclave takes. Nothing was sent."""


class NoSuitableKeyError(Exception):
    """The verified key list has no post-quantum key with the suite that this client requires."""


@dataclass(frozen=True, slots=True)
class Head:
    """The authenticated beginning of an answer."""

    status: int
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class Content:
    """An authenticated piece of an answer."""

    data: bytes = field(repr=False)


Event = Head | Content


def check_size(content: bytes) -> None:
    """Raise RequestTooLargeError for what is not even tried."""
    if len(content) > MAX_CONTENT_BYTES:
        raise RequestTooLargeError(f"a request of {len(content)} bytes exceeds {MAX_CONTENT_BYTES}")


def new_idempotency_key() -> tuple[str, str]:
    """A field that names one request of the application, however often it is sent (wire.md 6.6)."""
    return IDEMPOTENCY_FIELD, encode_base64url(os.urandom(IDEMPOTENCY_KEY_SIZE))


class Exchange:
    """One request and its answer. Single use."""

    media_type = ohttp.CHUNKED_REQUEST

    def __init__(
        self,
        key: VerifiedEnclave | OneTimeKey,
        method: str,
        path: str,
        *,
        content: bytes,
        content_type: str,
        fields: bhttp.Fields = (),
    ) -> None:
        """Encrypt a request to a one-time key, or to the enclave's post-quantum epoch key.

        Raises NoSuitableKeyError, RequestTooLargeError, and bhttp.MessageError for a head that is none.
        """
        check_size(content)
        self._key = key if isinstance(key, OneTimeKey) else None
        enclave = key.enclave if isinstance(key, OneTimeKey) else key
        scheme, _, authority = enclave.claims.audience.partition("://")
        typed = (("content-type", content_type),) if content else ()
        head = bhttp.RequestHead(method, scheme, authority, path, (*typed, *fields))
        size = padding.padded_size(len(bhttp.encode_request(head, content)))
        message = bhttp.encode_request(head, content, padded_size=size)
        configuration = key.spend() if isinstance(key, OneTimeKey) else _configuration(enclave)
        sealer = ohttp.RequestSealer(configuration, SUITE)
        self.gateway_path = key.path if isinstance(key, OneTimeKey) else GATEWAY_PATH
        self.encapsulated = sealer.encapsulated
        self.body = _seal(sealer, message)
        self._opener = sealer.response_opener()
        self._decoder = bhttp.ResponseDecoder()

    def check_media_type(self, content_type: str) -> None:
        """Raise TamperedResponse where the host answers with anything but an encapsulated answer."""
        if content_type != ohttp.CHUNKED_RESPONSE:
            raise TamperedResponse("the host answered in place of the enclave")

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes of the outer body; what they made certain. Raises AnswerError."""
        try:
            return self._events(self._opener.receive(data))
        except (hpke.OpenError, bhttp.MessageError):
            raise TamperedResponse("a part of the answer does not belong to this request") from None

    def end(self) -> list[Event]:
        """The outer body has ended: the answer is complete, or AnswerError says that it is not."""
        try:
            events = self._events(self._opener.end())
            return events + self._translate(self._decoder.end())
        except (ohttp.Truncated, bhttp.MessageError):
            raise TruncatedResponse("the answer was cut before its end") from None
        except hpke.OpenError:
            raise TamperedResponse("the end of the answer does not belong to this request") from None

    def _events(self, chunks: list[bytes]) -> list[Event]:
        return [event for chunk in chunks for event in self._translate(self._decoder.receive(chunk))]

    def _translate(self, events: list[bhttp.Event]) -> list[Event]:
        """What the application sees; that the message ended is what `end` says by returning."""
        translated: list[Event] = []
        for event in events:
            if isinstance(event, bhttp.ResponseHead):
                translated.append(Head(event.status, self._without_key(dict(event.fields))))
            elif isinstance(event, bhttp.Content):
                translated.append(Content(event.data))
        return translated

    def _without_key(self, fields: dict[str, str]) -> dict[str, str]:
        """Give the next one-time key to its session at once: the head that holds it is authentic."""
        value = fields.pop(KEY_FIELD, None)
        if value is not None and self._key is not None:
            try:
                self._key.replaced(value)
            except SessionMessageError:
                raise TamperedResponse("the answer brings a key that is none") from None
        return fields


def _configuration(enclave: VerifiedEnclave) -> ohttp.KeyConfiguration:
    """The strongest verified key. There is no way down from it: a list without one ends the exchange."""
    for configuration in enclave.key_configurations:
        if configuration.kem is hpke.Kem.X_WING and SUITE in configuration.suites:
            return configuration
    raise NoSuitableKeyError("the enclave's key list has no X-Wing key with AES-256-GCM")


def _seal(sealer: ohttp.RequestSealer, message: bytes) -> bytes:
    step = ohttp.MAX_CHUNK_PLAINTEXT
    pieces = [message[start : start + step] for start in range(0, len(message), step)]
    return b"".join(sealer.seal(piece, last=False) for piece in pieces) + sealer.seal(b"", last=True)
