# SPDX-License-Identifier: Apache-2.0
"""Strict readers of JSON, CBOR and base64url: one form for each value, and nothing behind it."""

import base64
import json
from typing import Final, TypeAlias

import cbor2

MAX_BYTES: Final = 256 * 1024  # a result with its raw evidence of up to 64 KiB, in base64 twice
MAX_DEPTH: Final = 12
MAX_DIGITS: Final = 16

Value: TypeAlias = "bool | int | float | str | bytes | list[Value] | dict[int | str, Value] | None"


class ValueFormError(Exception):
    """Bytes are not JSON, CBOR or base64url in the one form that is read here."""


def encode_json(value: Value) -> bytes:
    """JSON without white space, in ASCII."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def decode_json(data: bytes) -> Value:
    """A JSON value of whole numbers, with every name once. Raises ValueFormError."""
    _check_size(data)
    try:
        value: Value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_once,
            parse_int=_integer,
            parse_float=_refuse,
            parse_constant=_refuse,
        )
    except (ValueError, RecursionError) as error:
        raise ValueFormError(f"expected JSON: {error}") from error
    return value


def encode_cbor(value: Value) -> bytes:
    """CBOR in its deterministic form (RFC 8949 section 4.2.1)."""
    return cbor2.dumps(value, canonical=True)


def decode_cbor(data: bytes) -> Value:
    """One CBOR item without tags and floats, in its deterministic form. Raises ValueFormError."""
    _check_size(data)
    try:
        value: Value = cbor2.loads(
            data, max_depth=MAX_DEPTH, allow_indefinite=False, allow_duplicate_keys=False
        )
        plain = _is_plain(value)
        same = plain and encode_cbor(value) == data
    except (cbor2.CBORError, ValueError, TypeError, RecursionError) as error:
        raise ValueFormError(f"expected CBOR: {error}") from error
    if not same:
        raise ValueFormError("expected CBOR of plain items in deterministic form")
    return value


def base64url(content: bytes) -> str:
    """RFC 4648 section 5 without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def decode_base64url(text: str) -> bytes:
    """The octets of base64url in its one form: no padding, unused bits zero. Raises ValueFormError."""
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise ValueFormError("expected base64url") from error
    if base64url(content) != text:
        raise ValueFormError("base64url is not in its one form")
    return content


def _check_size(data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise ValueFormError(f"{len(data)} bytes exceed {MAX_BYTES}")


def _is_plain(value: Value) -> bool:
    """Whether there is nothing but integers, text, octets, lists, maps, true, false and null.

    The library turns tags into objects of other types, such as dates; none is expected here.
    """
    match value:
        case list():
            return all(map(_is_plain, value))
        case dict():
            return all(type(key) in {int, str} and _is_plain(item) for key, item in value.items())
        case _:
            return value is None or type(value) in {bool, int, str, bytes}


def _once(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice in an object")
    return members


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _refuse(found: str) -> None:
    raise ValueError(f"expected whole numbers, found {found[:MAX_DIGITS]}")
