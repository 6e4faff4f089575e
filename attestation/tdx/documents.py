# SPDX-License-Identifier: Apache-2.0
"""A strict reader of JSON (RFC 8259), and of the exact bytes that a signature inside a document covers.

Python's reader keeps the last of duplicate names, accepts NaN and calls `true` an integer. Here: every name
once, no fractions, and each value of the one type that was asked for.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

from attestation.x509 import Signed

MAX_DOCUMENT_SIZE: Final = 1 << 20
"""TCB info is about 20 KB, and a set of collateral about 30 KB."""

MAX_DIGITS: Final = 10

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"

_SPACES: Final = " \t\r\n"
_SPACE: Final = f"[{_SPACES}]*"
# Half a character, which JSON can escape and UTF-8 cannot encode.
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_TIME: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z")


class DocumentError(Exception):
    """The text is not the JSON that was expected."""


@dataclass(frozen=True, slots=True)
class SignedDocument:
    """The value that a document's signature covers: its exact bytes with the signature, and its members."""

    signed: Signed
    members: "Members"


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DocumentError("expected each name once in a JSON object")
    return members


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise DocumentError(f"expected numbers of up to {MAX_DIGITS} digits, found {len(digits)}")
    return int(digits)


def _refuse(found: str) -> None:
    raise DocumentError(f"expected whole numbers, found {found[:MAX_DIGITS]}")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_once, parse_int=_integer, parse_float=_refuse, parse_constant=_refuse
)


class Members:
    """The members of a JSON object, each of which is taken with its type; `end` refuses the others."""

    __slots__ = ("_left", "_name")

    def __init__(self, value: Json, name: str) -> None:
        if not isinstance(value, dict):
            raise DocumentError(f"expected an object as {name}")
        self._left = dict(value)
        self._name = name

    def has(self, name: str) -> bool:
        """Whether there is a member of this name that was not taken yet."""
        return name in self._left

    def text(self, name: str) -> str:
        """Take a string."""
        value = self._take(name)
        if not isinstance(value, str) or _SURROGATE.search(value):
            raise DocumentError(f"expected text as {self._name}.{name}")
        return value

    def number(self, name: str, greatest: int) -> int:
        """Take a number from 0 on."""
        value = self._take(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= greatest:
            raise DocumentError(f"expected a number up to {greatest} as {self._name}.{name}")
        return value

    def octets(self, name: str, size: int) -> bytes:
        """Take hexadecimal digits of this many bytes, in either case."""
        text = self.text(name)
        if not re.fullmatch(f"[0-9a-fA-F]{{{2 * size}}}", text):
            raise DocumentError(f"expected {2 * size} hexadecimal digits as {self._name}.{name}")
        return bytes.fromhex(text)

    def time(self, name: str) -> int:
        """Take a time in UTC, as unix seconds."""
        parts = _TIME.fullmatch(self.text(name))
        year, month, day, hour, minute, second = map(int, parts.groups() if parts else "000000")
        try:
            return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
        except ValueError as error:
            raise DocumentError(f"expected a time in UTC as {self._name}.{name}") from error

    def values(self, name: str) -> list[Json]:
        """Take a list."""
        value = self._take(name)
        if not isinstance(value, list):
            raise DocumentError(f"expected a list as {self._name}.{name}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Take a list of strings."""
        values = self.values(name)
        texts = tuple(value for value in values if isinstance(value, str))
        if len(texts) != len(values):
            raise DocumentError(f"expected a list of texts as {self._name}.{name}")
        return texts

    def objects(self, name: str) -> "tuple[Members, ...]":
        """Take a list of objects."""
        return tuple(Members(value, f"{self._name}.{name}") for value in self.values(name))

    def object(self, name: str) -> "Members":
        """Take an object."""
        return Members(self._take(name), f"{self._name}.{name}")

    def end(self) -> None:
        """Refuse members that nothing took."""
        if self._left:
            raise DocumentError(f"{self._name} has unknown members {', '.join(sorted(self._left))}")

    def _take(self, name: str) -> Json:
        if name not in self._left:
            raise DocumentError(f"expected {name} in {self._name}")
        return self._left.pop(name)


def read_object(document: bytes, name: str) -> Members:
    """The one JSON object that `document` consists of."""
    return Members(_sole(document), name)


def read_list(document: bytes, name: str) -> tuple[Members, ...]:
    """The one JSON list of objects that `document` consists of."""
    values = _sole(document)
    if not isinstance(values, list):
        raise DocumentError(f"expected a list as {name}")
    return tuple(Members(value, name) for value in values)


def read_signed(document: bytes, name: str) -> SignedDocument:
    """A document {name: value, "signature": hex}; the signature covers the value's bytes as they came."""
    text = _text(document)
    head = re.match(f'{_SPACE}{{{_SPACE}"{name}"{_SPACE}:{_SPACE}', text)
    if head is None:
        raise DocumentError(f"expected a JSON object that begins with {name}")
    value, end = _value(text, head.end())
    tail = re.compile(f'{_SPACE},{_SPACE}"signature"{_SPACE}:{_SPACE}"([0-9a-f]{{128}})"{_SPACE}}}{_SPACE}')
    signature = tail.fullmatch(text, end)
    if signature is None:
        raise DocumentError(
            f"expected a signature of 128 lower case hexadecimal digits after {name}, and nothing else"
        )
    content = text[head.end() : end].encode()
    return SignedDocument(Signed(content, bytes.fromhex(signature[1])), Members(value, name))


def compose_signed(name: str, content: str, signature: str) -> bytes:
    """The document that `read_signed` reads, from parts that were delivered apart."""
    return f'{{"{name}":{content},"signature":"{signature}"}}'.encode()


def _sole(document: bytes) -> Json:
    text = _text(document)
    value, end = _value(text, len(text) - len(text.lstrip(_SPACES)))
    if text[end:].strip(_SPACES):
        raise DocumentError("expected nothing after the JSON value")
    return value


def _text(document: bytes) -> str:
    if len(document) > MAX_DOCUMENT_SIZE:
        raise DocumentError(f"document of {len(document)} bytes exceeds {MAX_DOCUMENT_SIZE}")
    try:
        return document.decode()
    except UnicodeDecodeError as error:
        raise DocumentError("expected JSON in UTF-8") from error


def _value(text: str, start: int) -> tuple[Json, int]:
    try:
        decoded: tuple[Json, int] = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        raise DocumentError("expected a JSON value") from error
    return decoded
