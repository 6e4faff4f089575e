# SPDX-License-Identifier: Apache-2.0
"""The form of receipts at the client: how one is asked for, and how one is read. Nothing is verified."""

import os
from dataclasses import dataclass, field
from typing import Final

from attestation.results.values import Value, ValueFormError, decode_cbor
from wire import receipt as form
from wire.receipt import Receipt
from wire.strict_json import StrictJsonError, base64url_octets, encode_base64url

_DIGESTS: Final = ("request", "answer", "text", "model", "release", "configuration", "keys", "nonce")
_NAMES: Final = frozenset(
    {*_DIGESTS, "version", "measurement", "time", "sampling", "tokens", "finish", "repeatable"}
)
MAX_WORDS: Final = 100


class ReceiptError(Exception):
    """Not a receipt, or none came with the answer."""


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """A receipt in its one form, which nobody verified yet."""

    receipt: Receipt
    payload: bytes
    public_key: bytes
    nonce: bytes = field(repr=False)
    signature: bytes


def new_wish(now: float) -> str:
    """A field that asks for a receipt, with a nonce, and the minute of `now` in unix seconds."""
    minute = int(now) // form.TIME_STEP_SECONDS * form.TIME_STEP_SECONDS
    return f"1;time={minute};nonce={encode_base64url(os.urandom(form.NONCE_SIZE))}"


def from_text(value: str) -> bytes:
    """The receipt in a field or a comment. Raises ReceiptError."""
    try:
        return base64url_octets(value, "receipt")
    except StrictJsonError as error:
        raise ReceiptError(str(error)) from None


def decode_receipt(data: bytes) -> SignedReceipt:
    """Read a receipt; ReceiptError for anything but its one encoding, and where its key is hidden."""
    if len(data) > form.MAX_RECEIPT_BYTES:
        raise ReceiptError(f"a receipt of {len(data)} bytes exceeds {form.MAX_RECEIPT_BYTES}")
    if data[:1] != form.TAG:
        raise ReceiptError("expected COSE_Sign1")
    match _cbor(data[1:]):
        case [form.PROTECTED, dict(header), bytes(payload), bytes(signature)]:
            if header.keys() != {"key", "nonce"}:
                raise ReceiptError("expected the key and the nonce in the header, and nothing else")
            return SignedReceipt(
                _receipt(payload),
                payload,
                _octets(header["key"], "key", form.KEY_SIZE),
                _octets(header["nonce"], "nonce", form.NONCE_SIZE),
                _octets(signature, "signature", form.SIGNATURE_SIZE),
            )
        case _:
            raise ReceiptError("expected a COSE_Sign1 with EdDSA, a header, a payload and a signature")


def _receipt(payload: bytes) -> Receipt:
    members = _cbor(payload)
    if not isinstance(members, dict) or members.keys() != _NAMES:
        raise ReceiptError("expected exactly the names of a receipt")
    values = {str(name): value for name, value in members.items()}
    if _number(values, "version") != form.VERSION:
        raise ReceiptError(f"expected a receipt of version {form.VERSION}")
    digests = {name: _octets(values[name], name, form.DIGEST_SIZE) for name in _DIGESTS}
    prompt, completion = _tokens(values["tokens"])
    return Receipt(
        **digests,
        measurement=_octets(values["measurement"], "measurement", form.MEASUREMENT_SIZE),
        time=_number(values, "time"),
        sampling=_sampling(values["sampling"]),
        prompt_tokens=prompt,
        completion_tokens=completion,
        finish=_words(values, "finish"),
        repeatable=_words(values, "repeatable"),
    )


def _tokens(value: Value) -> tuple[int, int]:
    match value:
        case [int(prompt), int(completion)] if type(prompt) is type(completion) is int:
            return prompt, completion
        case _:
            raise ReceiptError("expected two numbers as tokens")


def _sampling(value: Value) -> dict[str, int | str]:
    if not isinstance(value, dict):
        raise ReceiptError("expected settings as sampling")
    settings: dict[str, int | str] = {}
    for name, setting in value.items():
        if not isinstance(name, str) or isinstance(setting, bool) or not isinstance(setting, int | str):
            raise ReceiptError("expected numbers by name as sampling")
        settings[name] = setting
    return settings


def _number(members: dict[str, Value], name: str) -> int:
    value = members[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= form.MAX_TIME:
        raise ReceiptError(f"expected a number as {name}")
    return value


def _words(members: dict[str, Value], name: str) -> str:
    value = members[name]
    if not isinstance(value, str) or not value.isprintable() or len(value) > MAX_WORDS:
        raise ReceiptError(f"expected some words as {name}")
    return value


def _octets(value: Value, name: str, size: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != size:
        raise ReceiptError(f"expected {size} bytes as {name}")
    return value


def _cbor(data: bytes) -> Value:
    try:
        return decode_cbor(data)
    except ValueFormError as error:
        raise ReceiptError(str(error)) from None
