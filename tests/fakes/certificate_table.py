# SPDX-License-Identifier: Apache-2.0
"""Tables of certificates as hosts make them."""

import struct
from base64 import b64encode
from uuid import UUID

from attestation.collect.certificate_table import Content


def head(guid: UUID, offset: int, length: int) -> bytes:
    """The entry of a table."""
    return struct.pack("<16sII", guid.bytes_le, offset, length)


def table(*entries: tuple[Content, bytes]) -> bytes:
    """Entries, the end of the list, and what they point at."""
    heads, contents = b"", b""
    first = 24 * (len(entries) + 1)
    for content, data in entries:
        heads += head(content.value, first + len(contents), len(data))
        contents += data
    return heads + bytes(24) + contents


def pem(data: bytes) -> bytes:
    """A certificate as text."""
    return b"-----BEGIN CERTIFICATE-----\n" + b64encode(data) + b"\n-----END CERTIFICATE-----\n"


GOOD = table((Content.VCEK, b"leaf"), (Content.ASK, b"middle"), (Content.ARK, pem(b"root")))
