# SPDX-License-Identifier: Apache-2.0
"""One exchange as a state machine, without I/O: ciphertext in, one request out, an answer sealed back.

    OPENING --first chunk opens, tag new--> AUTHENTICATED --final chunk--> Opened
       | anything else: Refused                  | anything else: Aborted

Before authentication every fault gets the same outer answer (wire.md 6.9). After it a fault of the
encapsulation ends the exchange without a word, and a fault of the message inside is answered inside.
"""

from dataclasses import dataclass, field
from enum import Enum

from enclave.keys import Epoch, KeyRing, ReplayError, UnknownKeyError
from wire import bhttp, hpke, ohttp, padding

# An inner request is one JSON document; the longest context of the models served is a small part of this.
MAX_CONTENT_BYTES = 1 << 20
MAX_METHOD_BYTES = 32


class OuterAnswer(Enum):
    """What may be said without encryption: fixed bytes, no cause disclosed (wire.md 6.9)."""

    MALFORMED = (400, b'{"title":"bad request"}')
    UNKNOWN_KEY = (
        422,
        b'{"type":"https://iana.org/assignments/http-problem-types#ohttp-key",'
        b'"title":"key identifier unknown"}',
    )
    UNSUPPORTED_MEDIA = (415, b'{"title":"unsupported media type"}')
    METHOD_NOT_ALLOWED = (405, b'{"title":"method not allowed"}')
    NOT_FOUND = (404, b'{"title":"not found"}')
    TOO_LARGE = (413, b'{"title":"content too large"}')
    UNAVAILABLE = (503, b'{"title":"unavailable"}')
    TIMEOUT = (408, b'{"title":"request timeout"}')

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value[0]

    @property
    def body(self) -> bytes:
        """The bytes of the problem document."""
        return self.value[1]


class Refused(Exception):  # noqa: N818 - an outcome of the protocol, named as in the specification
    """The exchange ends with an outer answer."""

    def __init__(self, answer: OuterAnswer) -> None:
        super().__init__(answer.name)
        self.answer = answer


class Aborted(Exception):  # noqa: N818 - an outcome of the protocol, named as in the specification
    """The exchange ends without an answer: the encapsulation broke after it was authentic."""


class Problem(Enum):
    """What was wrong with an authentic request before anything looked at its meaning."""

    MALFORMED_MESSAGE = 400
    CONTENT_TOO_LARGE = 413
    CONTENT_ENCODING = 415


@dataclass(frozen=True, slots=True)
class Request:
    """One decrypted request."""

    method: str
    path: str = field(repr=False)
    fields: dict[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    session: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """A complete, authentic request, or what was wrong with it, and the means to answer."""

    request: Request | Problem
    answer: "AnswerSealer"


class RequestReceiver:
    """Takes the body of one outer request as it arrives."""

    def __init__(self, ring: KeyRing, content_type: str) -> None:
        """Raise Refused for a media type that is not OHTTP's."""
        formats = {ohttp.CHUNKED_REQUEST: ohttp.Format.CHUNKED, ohttp.REQUEST: ohttp.Format.WHOLE}
        if content_type not in formats:
            raise Refused(OuterAnswer.UNSUPPORTED_MEDIA)
        self._ring, self._format = ring, formats[content_type]
        self._head = b""
        self._size = 0
        self._epoch: Epoch | None = None
        self._opener: ohttp.RequestOpener | None = None
        self._encapsulated = b""
        self._remembered = False
        self._message = _Message()

    @property
    def authenticated(self) -> bool:
        """Whether the request is known to come from a client that has the key list."""
        return self._remembered

    def receive(self, data: bytes, now: float) -> None:
        """Take some bytes.

        Raises Refused before authentication and Aborted after it.
        """
        self._size += len(data)
        if self._size > ohttp.MAX_BODY_BYTES:
            raise Aborted if self._remembered else Refused(OuterAnswer.TOO_LARGE)
        if self._opener is None:
            data = self._receive_head(data, now)
        if self._opener is not None:
            self._take(self._opener, data, end=False)

    def end(self) -> Opened:
        """The body is complete.

        Raises Refused before authentication and Aborted after it.
        """
        if self._opener is None:
            raise Refused(OuterAnswer.MALFORMED)
        self._take(self._opener, b"", end=True)
        return Opened(self._message.finish(), AnswerSealer(self._opener.response_sealer(), self._format))

    def _receive_head(self, data: bytes, now: float) -> bytes:
        """Gather key identifier and encapsulated key, find the key, refuse a replay; return the rest."""
        self._head += data
        if len(self._head) < ohttp.HEAD_SIZE:
            return b""
        epoch, private_key = self._find(self._head[0], now)
        head = self._decode_head(private_key)
        start = ohttp.HEAD_SIZE + head.suite.kem.enc_size
        if len(self._head) < start:
            return b""
        self._encapsulated, rest = self._head[ohttp.HEAD_SIZE : start], self._head[start:]
        try:
            epoch.check_unused(self._encapsulated)
            self._opener = ohttp.RequestOpener(head, self._format, private_key, self._encapsulated)
        except (ReplayError, hpke.OpenError):
            raise Refused(OuterAnswer.MALFORMED) from None
        self._epoch, self._head = epoch, b""
        return rest

    def _find(self, key_id: int, now: float) -> tuple[Epoch, hpke.PrivateKey]:
        try:
            return self._ring.find(key_id, now)
        except UnknownKeyError:
            raise Refused(OuterAnswer.UNKNOWN_KEY) from None

    def _decode_head(self, private_key: hpke.PrivateKey) -> ohttp.RequestHead:
        try:
            head = ohttp.RequestHead.decode(self._head[: ohttp.HEAD_SIZE])
        except ohttp.RequestError:
            raise Refused(OuterAnswer.MALFORMED) from None
        if head.suite.kem is not private_key.kem:
            raise Refused(OuterAnswer.MALFORMED)
        return head

    def _take(self, opener: ohttp.RequestOpener, data: bytes, *, end: bool) -> None:
        """Decrypt, and mark the encapsulated key as used in the same step in which the first chunk opens."""
        try:
            chunks = opener.end() if end else opener.receive(data)
        except (hpke.OpenError, ohttp.RequestError, ohttp.Truncated):
            self._remember(opener)  # the first chunk may have opened before a later one broke
            raise Aborted if self._remembered else Refused(OuterAnswer.MALFORMED) from None
        self._remember(opener)
        for chunk in chunks:
            self._message.receive(chunk)

    def _remember(self, opener: ohttp.RequestOpener) -> None:
        if not opener.authenticated or self._remembered:
            return
        assert self._epoch is not None
        try:
            self._epoch.remember(self._encapsulated)
        except ReplayError:  # a copy that arrived at the same time was first
            raise Refused(OuterAnswer.MALFORMED) from None
        self._remembered = True


class _Message:
    """The Binary HTTP message inside; after the first thing wrong with it the rest is not looked at."""

    def __init__(self) -> None:
        self._decoder = bhttp.RequestDecoder()
        self._head: bhttp.RequestHead | None = None
        self._content = bytearray()
        self._problem: Problem | None = None

    def receive(self, data: bytes) -> None:
        if self._problem is None:
            self._events(data, end=False)

    def finish(self) -> Request | Problem:
        if self._problem is None:
            self._events(b"", end=True)
        head = self._head
        problem = self._problem or (
            Problem.MALFORMED_MESSAGE if head is None else _check_fields(head, len(self._content))
        )
        if problem is not None or head is None:
            return problem or Problem.MALFORMED_MESSAGE
        return Request(head.method, head.path, dict(head.fields), bytes(self._content))

    def _events(self, data: bytes, *, end: bool) -> None:
        try:
            for event in self._decoder.end() if end else self._decoder.receive(data):
                if isinstance(event, bhttp.RequestHead):
                    self._head = event
                elif isinstance(event, bhttp.Content):
                    self._content += event.data
        except bhttp.MessageError:
            self._problem = Problem.MALFORMED_MESSAGE
        if len(self._content) > MAX_CONTENT_BYTES:
            self._problem = Problem.CONTENT_TOO_LARGE


def _check_fields(head: bhttp.RequestHead, size: int) -> Problem | None:
    """Fields that would let two readers see two messages: refused, never smuggled (wire.md 7.16, 7.18)."""
    names = [name for name, _ in head.fields]
    fields = dict(head.fields)
    if len(names) != len(fields) or "transfer-encoding" in fields:
        return Problem.MALFORMED_MESSAGE
    if (
        fields.get("content-length", str(size)) != str(size)
        or fields.get("host", head.authority) != head.authority
    ):
        return Problem.MALFORMED_MESSAGE
    if fields.get("content-encoding", "identity") != "identity":
        return Problem.CONTENT_ENCODING
    return None


class AnswerSealer:
    """Seals the answer to one request, at once or piece by piece; to an unchunked request always at once."""

    def __init__(self, sealer: ohttp.ResponseSealer, form: ohttp.Format) -> None:
        self._sealer, self._chunked = sealer, form is ohttp.Format.CHUNKED
        self._held = bytearray()

    @property
    def media_type(self) -> str:
        """The outer content type."""
        return ohttp.CHUNKED_RESPONSE if self._chunked else ohttp.RESPONSE

    def whole(self, head: bhttp.ResponseHead, content: bytes) -> bytes:
        """Seal a complete answer, padded so that its length says little (wire.md 6.7)."""
        plain = len(bhttp.encode_response(head, content))
        message = bhttp.encode_response(head, content, padded_size=padding.padded_size(plain))
        if not self._chunked:
            return self._sealer.seal(message, last=True)
        return self._seal(message) + self._sealer.seal(b"", last=True)

    def head(self, head: bhttp.ResponseHead) -> bytes:
        """Seal the head of a streamed answer."""
        return self._part(bhttp.encode_response_head(head))

    def content(self, data: bytes) -> bytes:
        """Seal a piece of a streamed answer."""
        return self._part(bhttp.encode_content(data))

    def end(self) -> bytes:
        """Seal the end of a streamed answer: only now may the client call it complete."""
        last = self._part(bhttp.encode_end())
        if self._held:
            self._held += bytes(padding.padded_size(len(self._held)) - len(self._held))
        return last + self._sealer.seal(bytes(self._held), last=True)

    def _part(self, message: bytes) -> bytes:
        if self._chunked:
            return self._seal(message)
        self._held += message
        return b""

    def _seal(self, message: bytes) -> bytes:
        step = ohttp.MAX_CHUNK_PLAINTEXT
        pieces = [message[start : start + step] for start in range(0, len(message), step)]
        return b"".join(self._sealer.seal(piece, last=False) for piece in pieces)
