# SPDX-License-Identifier: Apache-2.0
"""Receipts: what an enclave signs about one answer, as COSE_Sign1 (RFC 9052), and how a client asks for one.

    a-ohttp-receipt: 1                                    a nonce of the enclave's, no time
    a-ohttp-receipt: 1;time=1790000040;nonce=<43>         the client's minute and its nonce, in base64url

    18([ h'{1: -8}', {"key": public key, "nonce": nonce}, payload, signature ])

The payload holds digests and numbers, and no text of a conversation. The nonce salts the digests of request
and answer, or a short answer could be guessed from its receipt; the payload commits to it. Here are the form
and the one encoding of it (RFC 8949 section 4.2.1); clients read it with a library (docs/spec/receipts.md).
"""

import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, TypeAlias

from wire.strict_json import StrictJsonError, base64url_octets

RECEIPT_FIELD: Final = "a-ohttp-receipt"
COMMENT: Final = b": a-ohttp-receipt "
EVENT_END: Final = b"\n\n"
DONE: Final = b"data: [DONE]"

VERSION: Final = 1
NONCE_SIZE: Final = 32
KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
DIGEST_SIZE: Final = 32
MEASUREMENT_SIZE: Final = 48
TIME_STEP_SECONDS: Final = 60  # finer times would tell more about a conversation than anyone needs
MAX_RECEIPT_BYTES: Final = 2048

TAG: Final = b"\xd2"  # 18, COSE_Sign1
PROTECTED: Final = b"\xa1\x01\x27"  # {1: -8}, EdDSA with the key's own curve
CONTEXT: Final = "Signature1"
EXTERNAL: Final = b"A-OHTTP/1 receipt"
REQUEST_LABEL: Final = b"A-OHTTP/1 receipt request\x00"
ANSWER_LABEL: Final = b"A-OHTTP/1 receipt answer\x00"
TEXT_LABEL: Final = b"A-OHTTP/1 receipt text\x00"
NONCE_LABEL: Final = b"A-OHTTP/1 receipt nonce\x00"

MAX_TIME: Final = 2**53 - 1
_WISH: Final = re.compile("1(;time=(?P<time>0|[1-9][0-9]{0,15});nonce=(?P<nonce>[A-Za-z0-9_-]{43}))?")

Item: TypeAlias = "int | str | bytes | list[Item] | dict[str, Item]"


class ReceiptFormError(Exception):
    """A value of `a-ohttp-receipt` that is none of the forms above."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client asks for: `time` in unix seconds, whole minutes, 0 for none; a nonce, empty for none."""

    time: int = 0
    nonce: bytes = field(default=b"", repr=False)


def parse_wish(value: str) -> Wish:
    """Read the field of a request. Raises ReceiptFormError."""
    form = _WISH.fullmatch(value)
    if form is None:
        raise ReceiptFormError("expected 1, or 1;time=<unix seconds>;nonce=<32 bytes in base64url>")
    if form["time"] is None:
        return Wish()
    time = int(form["time"])
    if time % TIME_STEP_SECONDS or time > MAX_TIME:
        raise ReceiptFormError("expected a time in whole minutes")
    try:
        return Wish(time, base64url_octets(form["nonce"], "nonce"))
    except StrictJsonError as error:
        raise ReceiptFormError(str(error)) from None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was done, in digests and numbers.

    `request`, `answer` and `text` are salted digests: of the request's content, of the answer's content and
    of its text alone. `model`, `release`, `configuration` and `measurement` are those of the evidence, `keys`
    is the SHA-256 of the key list in force when the request came. `time` is the client's word, in whole
    minutes, 0 for none. `sampling` holds numbers, fractions as decimal text. `repeatable` says whether the
    same request with these settings gives the same tokens again from the same release on the same kind of
    processor.
    """

    request: bytes
    answer: bytes
    text: bytes
    model: bytes
    measurement: bytes
    release: bytes
    configuration: bytes
    keys: bytes
    nonce: bytes
    time: int
    sampling: dict[str, int | str]
    prompt_tokens: int
    completion_tokens: int
    finish: str
    repeatable: str

    def encode(self) -> bytes:
        """The payload."""
        return encode_item(
            {
                "version": VERSION,
                "request": self.request,
                "answer": self.answer,
                "text": self.text,
                "model": self.model,
                "measurement": self.measurement,
                "release": self.release,
                "configuration": self.configuration,
                "keys": self.keys,
                "nonce": self.nonce,
                "time": self.time,
                "sampling": dict(self.sampling),
                "tokens": [self.prompt_tokens, self.completion_tokens],
                "finish": self.finish,
                "repeatable": self.repeatable,
            }
        )


def salted(label: bytes, nonce: bytes, digest: bytes) -> bytes:
    """The digest that a receipt shows in place of a plain SHA-256 of 32 bytes."""
    return sha256(label + nonce + digest).digest()


def commitment(nonce: bytes) -> bytes:
    """What the payload says of the nonce: it can be checked, and tells nothing of it."""
    return sha256(NONCE_LABEL + nonce).digest()


def to_sign(payload: bytes) -> bytes:
    """The bytes that the signature is over: RFC 9052 section 4.4."""
    return encode_item([CONTEXT, PROTECTED, EXTERNAL, payload])


def encode_signed(payload: bytes, public_key: bytes, nonce: bytes, signature: bytes) -> bytes:
    """The whole receipt."""
    return TAG + encode_item([PROTECTED, {"key": public_key, "nonce": nonce}, payload, signature])


def encode_item(item: Item) -> bytes:
    """CBOR in its deterministic form, for what receipts hold: whole numbers from 0, text, bytes."""
    match item:
        case int():
            return _head(0, item)
        case bytes():
            return _head(2, len(item)) + item
        case str():
            encoded = item.encode()
            return _head(3, len(encoded)) + encoded
        case list():
            return _head(4, len(item)) + b"".join(map(encode_item, item))
        case dict():
            pairs = sorted((encode_item(name), encode_item(value)) for name, value in item.items())
            return _head(5, len(pairs)) + b"".join(name + value for name, value in pairs)


def _head(major: int, number: int) -> bytes:
    """Major type and argument in the shortest form (RFC 8949 section 3)."""
    if number < 24:
        return bytes((major << 5 | number,))
    power = next(power for power in range(4) if number < 1 << (8 << power))
    return bytes((major << 5 | 24 + power,)) + number.to_bytes(1 << power, "big")


class ContentDigest:
    """SHA-256 of an answer's content as any client sees it: of a stream its events, without comments.

    Comments fill frames, and the receipt is one; the mark of the end follows the receipt. Neither counts.
    Feed it as the content comes; `receipt` is the value of the receipt's comment, once there was one.
    """

    def __init__(self, *, stream: bool) -> None:
        self._digest, self._stream = sha256(), stream
        self._held = b""
        self.receipt = ""

    def update(self, data: bytes) -> None:
        """Take some of the content."""
        if not self._stream:
            self._digest.update(data)
            return
        *events, self._held = (self._held + data).split(EVENT_END)
        for event in events:
            self._event(event)

    def digest(self) -> bytes:
        """The digest of what came so far, whole events of a stream."""
        return self._digest.digest()

    def _event(self, event: bytes) -> None:
        if event.startswith(COMMENT):
            self.receipt = event.removeprefix(COMMENT).decode("latin-1")
        elif event != DONE and not event.startswith(b":"):
            self._digest.update(event + EVENT_END)
