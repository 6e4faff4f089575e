# SPDX-License-Identifier: Apache-2.0
"""Certificates and revocation lists in PEM (RFC 7468 section 3, strict): the form Intel delivers them in."""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import Final

MAX_BLOCKS: Final = 5
"""A chain is leaf, intermediate and root; attestation.md 7.5 (X7) bounds it."""

CERTIFICATE: Final = b"CERTIFICATE"
REVOCATION_LIST: Final = b"X509 CRL"

_BLOCK: Final = re.compile(
    rb"-----BEGIN ([A-Z0-9 ]+)-----\r?\n"
    rb"((?:[A-Za-z0-9+/]{64}\r?\n)*[A-Za-z0-9+/]{1,64}={0,2}\r?\n)"
    rb"-----END \1-----"
)
_LINE_END: Final = re.compile(rb"\r?\n")


class PemError(Exception):
    """The text is not the sequence of PEM blocks that was expected."""


def decode_pem(text: bytes, label: bytes = CERTIFICATE) -> tuple[bytes, ...]:
    """The DER of every block, in order. Line ends may stand between blocks, and zero bytes at the end."""
    text, blocks, offset = text.rstrip(b"\x00"), list[bytes](), 0
    while offset < len(text):
        block = _BLOCK.match(text, offset)
        if block is None or block[1] != label or len(blocks) == MAX_BLOCKS:
            raise PemError(f"expected up to {MAX_BLOCKS} PEM blocks {label.decode()}, found other text")
        blocks.append(_decode_base64(block[2]))
        offset = _after_line_end(text, block.end())
    if not blocks:
        raise PemError(f"expected a PEM block {label.decode()}, found nothing")
    return tuple(blocks)


def _after_line_end(text: bytes, offset: int) -> int:
    line_end = _LINE_END.match(text, offset)
    return line_end.end() if line_end else offset


def _decode_base64(lines: bytes) -> bytes:
    """Canonical base64: one text for one value, so a changed character is a changed certificate."""
    characters = lines.replace(b"\r", b"").replace(b"\n", b"")
    try:
        decoded = b64decode(characters, validate=True)
    except Base64Error as error:
        raise PemError("expected base64 in a PEM block") from error
    if b64encode(decoded) != characters:
        raise PemError("expected canonical base64 in a PEM block")
    return decoded
