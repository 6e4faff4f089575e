# SPDX-License-Identifier: Apache-2.0
"""One exchange as a state machine, without I/O: ciphertext in, one request out, an answer sealed back.

    OPENING --first chunk opens, key unused--> AUTHENTICATED --final chunk--> Opened
       | anything else: Refused                     | anything else: Aborted

Before authentication every fault gets the same outer answer (wire.md 6.9). After it a fault of the
encapsulation ends the exchange without a word, and a fault of the message inside is answered inside.
"""

from dataclasses import dataclass, field
from enum import Enum

from enclave.keys import KeySource, ReplayError, RequestKey, UnknownKeyError
from wire import bhttp, hpke, ohttp, padding
from wire.session import KEY_FIELD, encode_next_key

# An inner request is one JSON document; the longest context of the models served is a small part of this.
MAX_CONTENT_BYTES = 1 << 20
# Fields that concern one hop, of which there is none here, or invite compression (wire.md 6.4, 7.16).
DROPPED_FIELDS = frozenset(
    {"accept-encoding", "connection", "keep-alive", "proxy-connection", "te", "upgrade"}
)
# The head of a streamed answer has this size whatever it says, and that of a next key where there is one.
HEAD_BYTES = 256
FILLER_FIELD = "a-ohttp-filler"
_AROUND_FIELDS = 4 + 3 + len(FILLER_FIELD)  # framing, status and end; lengths and name of the filler


class OuterAnswer(Enum):
    """What may be said without encryption: fixed bytes, no cause disclosed (wire.md 6.9)."""

    MALFORMED = (400, b'{"title":"bad request"}')
    UNKNOWN_KEY = (
        422,
        b'{"type":"https://iana.org/assignments/http-problem-types#ohttp-key",'
        b'"title":"key identifier unknown"}',
    )
    UNKNOWN_BODY_KEY = (
        422,
        b'{"type":"urn:ietf:params:ehbp:error:key-config","title":"key configuration mismatch"}',
    )
    UNSUPPORTED_MEDIA = (415, b'{"title":"unsupported media type"}')
    METHOD_NOT_ALLOWED = (405, b'{"title":"method not allowed"}')
    NOT_FOUND = (404, b'{"title":"not found"}')
    TOO_LARGE = (413, b'{"title":"content too large"}')
    UNAVAILABLE = (503, b'{"title":"unavailable"}')

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
    """One decrypted request; `session` names the session it came in, and is empty under an epoch key."""

    method: str
    path: str = field(repr=False)
    fields: dict[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    session: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """A complete, authentic request, or what was wrong with it, and the means to answer.

    `origin` is what the client took for the enclave's. `kem` and `encapsulated` say how it was sealed.
    """

    request: Request | Problem
    answer: "AnswerSealer"
    origin: str
    kem: hpke.Kem
    encapsulated: bytes = field(repr=False)


@dataclass(slots=True)
class _Opening:
    """A request whose key was found and claimed; `authentic` once its first chunk has opened."""

    key: RequestKey
    opener: ohttp.RequestOpener
    encapsulated: bytes
    authentic: bool = False


class RequestReceiver:
    """Takes the body of one outer request as it arrives. Whoever makes one calls `abandon` in the end."""

    def __init__(self, keys: KeySource, content_type: str) -> None:
        """Raise Refused for a media type that is not OHTTP's."""
        formats = {ohttp.CHUNKED_REQUEST: ohttp.Format.CHUNKED, ohttp.REQUEST: ohttp.Format.WHOLE}
        if content_type not in formats:
            raise Refused(OuterAnswer.UNSUPPORTED_MEDIA)
        self._keys, self._format = keys, formats[content_type]
        self._head = b""
        self._size = 0
        self._now = 0.0
        self._opening: _Opening | None = None
        self._message = _Message()

    @property
    def authenticated(self) -> bool:
        """Whether the request is known to come from a client that has the key list."""
        return self._opening is not None and self._opening.authentic

    def receive(self, data: bytes, now: float) -> None:
        """Take some bytes.

        Raises Refused before authentication and Aborted after it.
        """
        self._size += len(data)
        self._now = now
        if self._size > ohttp.MAX_BODY_BYTES:
            raise self._fault(OuterAnswer.TOO_LARGE)
        if self._opening is None:
            data = self._receive_head(data)
        if self._opening is not None:
            self._take(self._opening, data, end=False)

    def end(self) -> Opened:
        """The body is complete.

        Raises Refused before authentication and Aborted after it.
        """
        opening = self._opening
        if opening is None:
            raise Refused(OuterAnswer.MALFORMED)
        self._take(opening, b"", end=True)
        origin, request = self._message.finish(opening.key.session)
        next_key = opening.key.next_key(self._now)
        fields = ((KEY_FIELD, encode_next_key(next_key)),) if next_key else ()
        sealer = AnswerSealer(opening.opener.response_sealer(), self._format, fields)
        return Opened(request, sealer, origin, opening.key.kem, opening.encapsulated)

    def abandon(self) -> None:
        """Nothing more will come: a key that could not be used is there for others again."""
        if self._opening is not None:
            self._opening.key.abandon()

    def _fault(self, answer: OuterAnswer) -> Refused | Aborted:
        """What a fault is at this point; a key that was claimed is given back at once."""
        if self.authenticated:
            return Aborted()
        self.abandon()
        return Refused(answer)

    def _receive_head(self, data: bytes) -> bytes:
        """Gather key identifier and encapsulated key, and claim the key; return the rest."""
        self._head += data
        if len(self._head) < ohttp.HEAD_SIZE:
            return b""
        try:
            key = self._keys.find(self._head[0], self._now)
        except UnknownKeyError:
            raise Refused(OuterAnswer.UNKNOWN_KEY) from None
        head = self._decode_head(key.kem)
        start = ohttp.HEAD_SIZE + head.suite.kem.enc_size
        if len(self._head) < start:
            return b""
        encapsulated, rest = self._head[ohttp.HEAD_SIZE : start], self._head[start:]
        self._opening = _Opening(key, self._decapsulate(key, head, encapsulated), encapsulated)
        self._head = b""
        return rest

    def _decode_head(self, kem: hpke.Kem) -> ohttp.RequestHead:
        try:
            head = ohttp.RequestHead.decode(self._head[: ohttp.HEAD_SIZE])
        except ohttp.RequestError:
            raise Refused(OuterAnswer.MALFORMED) from None
        if head.suite.kem is not kem:
            raise Refused(OuterAnswer.MALFORMED)
        return head

    def _decapsulate(
        self, key: RequestKey, head: ohttp.RequestHead, encapsulated: bytes
    ) -> ohttp.RequestOpener:
        """What opens the request. The private key is used here and not kept."""
        try:
            return ohttp.RequestOpener(head, self._format, key.claim(encapsulated), encapsulated)
        except UnknownKeyError:
            raise Refused(OuterAnswer.UNKNOWN_KEY) from None
        except (ReplayError, hpke.OpenError):
            key.abandon()
            raise Refused(OuterAnswer.MALFORMED) from None

    def _take(self, opening: _Opening, data: bytes, *, end: bool) -> None:
        """Decrypt, and mark the key as used in the same step in which the first chunk opens."""
        try:
            chunks = opening.opener.end() if end else opening.opener.receive(data)
        except (hpke.OpenError, ohttp.RequestError, ohttp.Truncated):
            self._authenticate(opening)  # the first chunk may have opened before a later one broke
            raise self._fault(OuterAnswer.MALFORMED) from None
        self._authenticate(opening)
        for chunk in chunks:
            self._message.receive(chunk)

    def _authenticate(self, opening: _Opening) -> None:
        if opening.authentic or not opening.opener.authenticated:
            return
        try:
            opening.key.opened()
        except ReplayError:  # a copy that arrived at the same time was first
            raise Refused(OuterAnswer.MALFORMED) from None
        opening.authentic = True


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

    def finish(self, session: bytes) -> tuple[str, Request | Problem]:
        """The origin that the message was meant for, and the message."""
        if self._problem is None:
            self._events(b"", end=True)
        head = self._head
        problem = self._problem or (
            Problem.MALFORMED_MESSAGE if head is None else _check_fields(head, len(self._content))
        )
        if problem is not None or head is None:
            return "", problem or Problem.MALFORMED_MESSAGE
        fields = {name: value for name, value in head.fields if name not in DROPPED_FIELDS}
        origin = f"{head.scheme}://{head.authority}"
        return origin, Request(head.method, head.path, fields, bytes(self._content), session)

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

    def __init__(self, sealer: ohttp.ResponseSealer, form: ohttp.Format, fields: bhttp.Fields = ()) -> None:
        """Every head of the answer gets these fields too."""
        self._sealer, self._fields = sealer, fields
        self.chunked = form is ohttp.Format.CHUNKED
        self._held = bytearray()

    @property
    def media_type(self) -> str:
        """The outer content type."""
        return ohttp.CHUNKED_RESPONSE if self.chunked else ohttp.RESPONSE

    def whole(self, head: bhttp.ResponseHead, content: bytes) -> bytes:
        """Seal a complete answer, padded so that its length says little (wire.md 6.7)."""
        head = bhttp.ResponseHead(head.status, head.fields + self._fields)
        plain = len(bhttp.encode_response(head, content))
        message = bhttp.encode_response(head, content, padded_size=padding.padded_size(plain))
        if not self.chunked:
            return self._sealer.seal(message, last=True)
        return self.part(message) + self._sealer.seal(b"", last=True)

    def head(self, head: bhttp.ResponseHead) -> bytes:
        """Seal the head of a streamed answer, of a size that depends on the next key alone."""
        taken = sum(len(name) + len(value) + 2 for name, value in head.fields)  # each with its length
        fields = (
            *head.fields,
            *self._fields,
            (FILLER_FIELD, "0" * max(0, HEAD_BYTES - _AROUND_FIELDS - taken)),
        )
        return self.part(bhttp.encode_response_head(bhttp.ResponseHead(head.status, fields)))

    def content(self, data: bytes) -> bytes:
        """Seal a piece of a streamed answer."""
        return self.part(bhttp.encode_content(data))

    def end(self) -> bytes:
        """Seal the end of a streamed answer: only now may the client call it complete."""
        last = self.part(bhttp.encode_end())
        if self._held:
            self._held += bytes(padding.padded_size(len(self._held)) - len(self._held))
        return last + self.last()

    def part(self, message: bytes) -> bytes:
        """Seal some bytes of the Binary HTTP message as they are; for an unchunked answer keep them."""
        if not self.chunked:
            self._held += message
            return b""
        step = ohttp.MAX_CHUNK_PLAINTEXT
        pieces = [message[start : start + step] for start in range(0, len(message), step)]
        return b"".join(self._sealer.seal(piece, last=False) for piece in pieces)

    def last(self) -> bytes:
        """Seal the last chunk, which is empty unless the answer is in one piece."""
        return self._sealer.seal(bytes(self._held), last=True)
