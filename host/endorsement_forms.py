# SPDX-License-Identifier: Apache-2.0
"""The outer shapes of vendors' answers: PEM blocks, one DER value, a signed JSON value.

Only shapes: a certificate is opaque bytes to the host, and nothing here says that a signature holds.
"""

import base64
import json
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from host.endorsement_requests import Form, Request

MAX_CHAIN_LENGTH: Final = 4
SEQUENCE: Final = 0x30
_PEM: Final = re.compile(
    rb"\s*-----BEGIN CERTIFICATE-----\s+([0-9A-Za-z+/=\s]+?)-----END CERTIFICATE-----\s*", re.ASCII
)
# The signed value must be kept octet by octet, so it is cut out and never written anew (attestation.md 5).
_SIGNED: Final = re.compile(
    rb'\s*\{\s*"(tcbInfo|enclaveIdentity)"\s*:\s*(\{.*\})\s*,\s*"signature"\s*:\s*"([0-9a-fA-F]{128})"\s*\}\s*',
    re.DOTALL,
)


class FormError(Exception):
    """An answer has not the shape that its question asks for."""


@dataclass(frozen=True, slots=True)
class SignedJson:
    """What Intel signed, in the exact octets, and the signature (64 octets, r then s)."""

    content: str
    signature: bytes


def check_form(request: Request, content: bytes) -> None:
    """Raise FormError for content that is not of the request's form."""
    match request.form:
        case Form.DER:
            check_der(content)
        case Form.PEM:
            certificates(content)
        case Form.JSON:
            signed_json(content)


def check_der(content: bytes) -> None:
    """Raise FormError unless this is one DER SEQUENCE of definite length with nothing behind it."""
    if len(content) < 2 or content[0] != SEQUENCE:
        raise FormError("expected a DER sequence")
    length, start = content[1], 2
    if length >= 0x80:
        size = length - 0x80
        start += size
        length = int.from_bytes(content[2:start], "big")
        if not 0 < size <= 4:
            raise FormError("expected a DER sequence of definite length")
    if len(content) != start + length:
        raise FormError(f"expected {start + length} bytes of DER, found {len(content)}")


def certificates(pem: bytes) -> tuple[bytes, ...]:
    """The DER of 1 to 4 certificates in PEM, with nothing between or around them. Raises FormError."""
    found: list[bytes] = []
    position = 0
    while position < len(pem):
        block = _PEM.match(pem, position)
        if block is None or len(found) == MAX_CHAIN_LENGTH:
            raise FormError(f"expected up to {MAX_CHAIN_LENGTH} PEM certificates and nothing else")
        try:
            found.append(base64.b64decode(b"".join(block[1].split()), validate=True))
        except ValueError as error:
            raise FormError("expected base64 in PEM") from error
        check_der(found[-1])
        position = block.end()
    if not found:
        raise FormError("expected PEM certificates, found none")
    return tuple(found)


def chain_of_header(value: str, max_bytes: int) -> bytes:
    """The PEM that Intel escapes into a header. Raises FormError."""
    if len(value) > 3 * max_bytes:
        raise FormError(f"issuer chain of {len(value)} characters is too long")
    pem = unquote_to_bytes(value)
    certificates(pem)
    return pem


def signed_json(content: bytes) -> SignedJson:
    """The signed value inside Intel's answer, as it was received. Raises FormError."""
    match = _SIGNED.fullmatch(content)
    if match is None:
        raise FormError("expected a JSON object of a signed value and its signature")
    try:
        text = match[2].decode("utf-8")
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormError("expected JSON as the signed value") from error
    return SignedJson(text, bytes.fromhex(match[3].decode("ascii")))
