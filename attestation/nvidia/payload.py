# SPDX-License-Identifier: Apache-2.0
"""What NVIDIA's remote service is sent: a nonce, and for each GPU its report and chain, in JSON.

The nonce in it is what the sender says to have asked for. It says nothing about what you asked for.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass
from typing import Final

from attestation.tdx.documents import DocumentError, Members, read_object
from attestation.tdx.pem import PemError, decode_pem

MAX_GPUS: Final = 16
NONCE_SIZE: Final = 32


class PayloadError(Exception):
    """The bytes are no such document."""


@dataclass(frozen=True, slots=True)
class GpuEvidence:
    """One GPU's report with its certificates, leaf first."""

    report: bytes
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Payload:
    """The sender's nonce, its name for the architecture, and the GPUs."""

    nonce: bytes
    architecture: str
    gpus: tuple[GpuEvidence, ...]


def decode_payload(document: bytes) -> Payload:
    """Read the document; PayloadError for unknown, missing or malformed members."""
    try:
        members = read_object(document, "payload")
        payload = Payload(
            members.octets("nonce", NONCE_SIZE),
            members.text("arch"),
            tuple(map(_gpu, members.objects("evidence_list"))),
        )
        members.end()
    except DocumentError as error:
        raise PayloadError(str(error)) from error
    if not 0 < len(payload.gpus) <= MAX_GPUS:
        raise PayloadError(f"expected evidence of 1 to {MAX_GPUS} GPUs, found {len(payload.gpus)}")
    return payload


def _gpu(members: Members) -> GpuEvidence:
    try:
        evidence = GpuEvidence(
            _base64(members.text("evidence")), decode_pem(_base64(members.text("certificate")))
        )
    except (Base64Error, PemError, ValueError) as error:
        raise PayloadError(f"expected base64 of a report and of a chain in PEM: {error}") from error
    members.end()
    return evidence


def _base64(text: str) -> bytes:
    return b64decode(text, validate=True)
