# SPDX-License-Identifier: Apache-2.0
"""A strict reader of DER (X.690 section 10), as far as certificates and revocation lists need it.

AMD gives every VCEK the serial number 0, which X.509 libraries are about to refuse, and what a lenient reader
skips is where two parsers disagree. So: definite and minimal lengths, one-byte tags, canonical integers, and
no byte that no field accounts for.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
UTF8_STRING: Final = 0x0C
PRINTABLE_STRING: Final = 0x13
IA5_STRING: Final = 0x16
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31

# The longest thing read here is a certificate of about 1,700 bytes; two length bytes reach 65,535.
MAX_LENGTH_BYTES: Final = 2


class DerError(Exception):
    """The bytes are not the DER that was expected."""


class Element(NamedTuple):
    """One tag, length and value. Certificates have hundreds: a NamedTuple is made in half the time."""

    tag: int
    content: bytes
    encoded: bytes


class Reader:
    """Reads the elements inside one constructed value, in order; raises DerError."""

    __slots__ = ("_content", "_offset")

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._offset = 0

    def at(self, *tags: int) -> bool:
        """Whether the next element has one of these tags."""
        return self._offset < len(self._content) and self._content[self._offset] in tags

    @property
    def finished(self) -> bool:
        """Whether every byte was read."""
        return self._offset == len(self._content)

    def read(self, *tags: int) -> Element:
        """The next element, which must have one of these tags."""
        content, start = self._content, self._offset
        head = content[start : start + 2]
        if not head or head[0] not in tags:
            expected = "/".join(f"{tag:02x}" for tag in tags)
            raise DerError(f"expected a DER tag of {expected}, found {head[:1].hex() or 'the end'}")
        # Nearly all lengths are one byte, and this is where the time of parsing goes.
        length, body = (head[1], start + 2) if len(head) == 2 and head[1] < 0x80 else self._length()
        end = body + length
        if end > len(content):
            raise DerError(f"element of {length} bytes exceeds the {len(content) - body} that are left")
        self._offset = end
        return Element(head[0], content[body:end], content[start:end])

    def enter(self, *tags: int) -> "Reader":
        """A reader over the content of the next element."""
        return Reader(self.read(*tags).content)

    def end(self) -> None:
        """Refuse bytes that nothing read."""
        if not self.finished:
            raise DerError(
                f"expected the end of the value, found {len(self._content) - self._offset} more bytes"
            )

    def _length(self) -> tuple[int, int]:
        """A length of more than one byte, and where the content begins."""
        octets = self._content[self._offset + 1 : self._offset + 2 + MAX_LENGTH_BYTES]
        count = octets[0] & 0x7F if octets else 0
        if not 1 <= count <= MAX_LENGTH_BYTES or len(octets) < 1 + count:
            raise DerError(
                f"expected a definite length of up to {MAX_LENGTH_BYTES} bytes, found {octets.hex()}"
            )
        length = int.from_bytes(octets[1 : 1 + count], "big")
        if length < 0x80 or length < 1 << (8 * (count - 1)):
            raise DerError(f"length {length} takes {count} bytes more than it needs")
        return length, self._offset + 2 + count


def sole(encoded: bytes, tag: int) -> Element:
    """The one element that `encoded` consists of."""
    reader = Reader(encoded)
    element = reader.read(tag)
    reader.end()
    return element


def integer(element: Element) -> int:
    """A non-negative INTEGER in its shortest form."""
    content = element.content
    if not content or content[0] >= 0x80 or (len(content) > 1 and content[0] == 0 and content[1] < 0x80):
        raise DerError(f"expected a canonical non-negative integer, found {content.hex() or 'nothing'}")
    return int.from_bytes(content, "big")


def boolean(element: Element) -> bool:
    """A BOOLEAN, which DER writes as 00 or FF."""
    match element.content:
        case b"\x00":
            return False
        case b"\xff":
            return True
        case other:
            raise DerError(f"expected a boolean of 00 or ff, found {other.hex() or 'nothing'}")


def bits(element: Element) -> bytes:
    """The octets of a BIT STRING; bits it does not use are zero."""
    if not element.content or element.content[0] > 7:
        raise DerError(f"expected a bit string, found {element.content[:1].hex() or 'nothing'}")
    unused, octets = element.content[0], element.content[1:]
    if (unused and not octets) or (octets and octets[-1] & ((1 << unused) - 1)):
        raise DerError(f"expected {unused} unused zero bits, found {octets[-1:].hex() or 'nothing'}")
    return octets


def whole_octets(element: Element) -> bytes:
    """The octets of a BIT STRING that uses all its bits, such as a signature."""
    if element.content[:1] != b"\x00":
        raise DerError(
            f"expected a bit string of whole octets, found {element.content[:1].hex() or 'nothing'}"
        )
    return element.content[1:]


def text(element: Element) -> str:
    """The characters of one of the string types, all of which are read as UTF-8 here."""
    try:
        return element.content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DerError("expected text in UTF-8") from error


def object_identifier(element: Element) -> str:
    """An OBJECT IDENTIFIER in dotted form."""
    return _dotted(element.content)


@lru_cache(maxsize=128)
def _dotted(content: bytes) -> str:
    """The same few identifiers occur in every certificate."""
    if not content or content[-1] >= 0x80:
        raise DerError(f"expected an object identifier, found {content.hex() or 'nothing'}")
    arcs, value = list[int](), 0
    for octet in content:
        if octet == 0x80 and value == 0:
            raise DerError(f"object identifier {content.hex()} has an arc with a leading zero")
        value = value << 7 | octet & 0x7F
        if octet < 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (first, arcs[0] - 40 * first, *arcs[1:]))


_TIME_FORMS: Final = {UTC_TIME: re.compile(rb"[0-9]{12}Z"), GENERALIZED_TIME: re.compile(rb"[0-9]{14}Z")}


def unix_time(element: Element) -> int:
    """A UTCTime or GeneralizedTime in the form of RFC 5280 section 4.1.2.5, as unix seconds."""
    if not _TIME_FORMS[element.tag].fullmatch(element.content):
        raise DerError(f"expected a time to the second in UTC, found {element.content.hex()}")
    digits = element.content.decode("ascii")
    if element.tag == UTC_TIME:
        digits = ("20" if digits < "50" else "19") + digits
    month, day, hour, minute, second = (int(digits[start : start + 2]) for start in range(4, 14, 2))
    try:
        time = datetime(int(digits[:4]), month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise DerError(f"expected a time, found {digits}") from error
    return int(time.timestamp())
