# SPDX-License-Identifier: Apache-2.0
"""Elliptic-curve keys from a seed: one seed, one set of keys, in every process and on every machine."""

import hmac
from hashlib import sha512
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Curve: TypeAlias = "ec.SECP256R1 | ec.SECP384R1"

SCALAR_SIZE: Final = 32


def derive(seed: bytes, label: bytes) -> bytes:
    """64 bytes that only this seed and label give."""
    return hmac.digest(seed, b"sottovoce simulated " + label, sha512)


def derive_key(seed: bytes, label: bytes, curve: Curve) -> ec.EllipticCurvePrivateKey:
    """A private key by FIPS 186-5 A.2.1: the 512 bits are at least 64 more than the order has."""
    scalar = int.from_bytes(derive(seed, label), "big") % (curve.group_order - 1) + 1
    return ec.derive_private_key(scalar, curve)


def deterministic(algorithm: HashAlgorithm) -> ec.ECDSA:
    """ECDSA with the nonce of RFC 6979, so that the same key and message give the same signature."""
    return ec.ECDSA(algorithm, deterministic_signing=True)


def sign_raw(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """A P-256 signature as Intel writes it: r and s, 32 bytes each, big-endian."""
    r, s = decode_dss_signature(key.sign(message, deterministic(SHA256())))
    return r.to_bytes(SCALAR_SIZE, "big") + s.to_bytes(SCALAR_SIZE, "big")


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public key as Intel writes it: x and y without the octet that says so."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
