# SPDX-License-Identifier: Apache-2.0
"""HKDF-SHA256 (RFC 5869), plain and with HPKE's labels (RFC 9180 section 4)."""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

_VERSION = b"HPKE-v1"


def extract(salt: bytes, input_key_material: bytes) -> bytes:
    """Return a pseudorandom key of 32 bytes."""
    return HKDF.extract(SHA256(), salt, input_key_material)


def expand(pseudorandom_key: bytes, info: bytes, length: int) -> bytes:
    """Return `length` bytes, at most 8160."""
    return HKDFExpand(SHA256(), length, info).derive(pseudorandom_key)


def labeled_extract(suite_id: bytes, salt: bytes, label: bytes, input_key_material: bytes) -> bytes:
    """LabeledExtract of RFC 9180 section 4."""
    return extract(salt, _VERSION + suite_id + label + input_key_material)


def labeled_expand(suite_id: bytes, pseudorandom_key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """LabeledExpand of RFC 9180 section 4."""
    return expand(pseudorandom_key, length.to_bytes(2, "big") + _VERSION + suite_id + label + info, length)
