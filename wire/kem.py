# SPDX-License-Identifier: Apache-2.0
"""Key encapsulation: X25519 (RFC 9180 section 4.1) and the hybrid X-Wing (draft-ietf-hpke-pq, wire.md 3.2).

Secrets live only inside objects of the cryptography library, which wipes them when they are freed.
"""

import hashlib
from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from wire.aead import OpenError
from wire.hkdf import labeled_expand, labeled_extract

_X25519_SIZE = 32
_ML_KEM_PUBLIC_KEY_SIZE = 1184
_ML_KEM_CIPHERTEXT_SIZE = 1088
_ML_KEM_SEED_SIZE = 64
_X_WING_LABEL = rb"\.//^" + b"\\"


class PublicKeyError(Exception):
    """A peer's public key that cannot be used."""


class Kem(IntEnum):
    """The key encapsulations, by their HPKE identifiers."""

    X25519 = 0x0020
    X_WING = 0x647A

    @property
    def public_key_size(self) -> int:
        """Npk, in bytes."""
        return _X25519_SIZE if self is Kem.X25519 else _ML_KEM_PUBLIC_KEY_SIZE + _X25519_SIZE

    @property
    def enc_size(self) -> int:
        """Nenc, the size of an encapsulated key in bytes."""
        return _X25519_SIZE if self is Kem.X25519 else _ML_KEM_CIPHERTEXT_SIZE + _X25519_SIZE


class PrivateKey(Protocol):
    """What opens encapsulated keys. Dropping the last reference erases it."""

    @property
    def kem(self) -> Kem:
        """The key encapsulation this key belongs to."""
        ...

    @property
    def public_key(self) -> bytes:
        """The serialized public half."""
        ...

    def decapsulate(self, enc: bytes) -> bytes:
        """Return the shared secret. Raises OpenError for everything that is wrong with `enc`."""
        ...


# Returns the shared secret and `enc` for a public key.
Encapsulate = Callable[[Kem, bytes], tuple[bytes, bytes]]


def generate(kem: Kem) -> PrivateKey:
    """Make a new key pair. No seed is kept (wire.md 3.2)."""
    if kem is Kem.X25519:
        return _X25519Key(X25519PrivateKey.generate())
    return _XWingKey(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())


def private_key_from_bytes(kem: Kem, raw: bytes) -> PrivateKey:
    """Return the key of a published test vector: 32 bytes of X25519, or the 32-byte seed of X-Wing."""
    if kem is Kem.X25519:
        return _X25519Key(X25519PrivateKey.from_private_bytes(raw))
    expanded = hashlib.shake_256(raw).digest(_ML_KEM_SEED_SIZE + _X25519_SIZE)
    return _XWingKey(
        MLKEM768PrivateKey.from_seed_bytes(expanded[:_ML_KEM_SEED_SIZE]),
        X25519PrivateKey.from_private_bytes(expanded[_ML_KEM_SEED_SIZE:]),
    )


def encapsulate(kem: Kem, public_key: bytes) -> tuple[bytes, bytes]:
    """Return a fresh shared secret and its encapsulation `enc`. Raises PublicKeyError."""
    return _encapsulate(kem, public_key, X25519PrivateKey.generate())


def encapsulation_for_vectors(ephemeral_private_key: bytes) -> Encapsulate:
    """Return an `encapsulate` for X25519 whose ephemeral key is that of a published test vector."""

    def encapsulate_as_published(kem: Kem, public_key: bytes) -> tuple[bytes, bytes]:
        return _encapsulate(kem, public_key, X25519PrivateKey.from_private_bytes(ephemeral_private_key))

    return encapsulate_as_published


def check_public_key(kem: Kem, public_key: bytes) -> None:
    """Raise PublicKeyError unless a key can be encapsulated to this public key.

    Tries it, because a point of low order shows only then.
    """
    encapsulate(kem, public_key)


def _encapsulate(kem: Kem, public_key: bytes, ephemeral: X25519PrivateKey) -> tuple[bytes, bytes]:
    # The library refuses wrong lengths, so the slices need no check of their own.
    try:
        if kem is Kem.X25519:
            enc = ephemeral.public_key().public_bytes_raw()
            shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public_key))
            return _dhkem_secret(shared, enc, public_key), enc
        ml_kem_key, x25519_key = _split(public_key, _ML_KEM_PUBLIC_KEY_SIZE)
        ml_kem_secret, ciphertext = MLKEM768PublicKey.from_public_bytes(ml_kem_key).encapsulate()
        point = ephemeral.public_key().public_bytes_raw()
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(x25519_key))
        return _x_wing_secret(ml_kem_secret, shared, point, x25519_key), ciphertext + point
    except ValueError as error:
        raise PublicKeyError(
            f"public key of {len(public_key)} bytes is not usable with {kem.name}"
        ) from error


class _X25519Key:
    """DHKEM(X25519, HKDF-SHA256)."""

    kem = Kem.X25519

    def __init__(self, private_key: X25519PrivateKey) -> None:
        self._private_key = private_key
        self.public_key = private_key.public_key().public_bytes_raw()

    def decapsulate(self, enc: bytes) -> bytes:
        try:
            shared = self._private_key.exchange(X25519PublicKey.from_public_bytes(enc))
        except ValueError:
            raise OpenError from None
        return _dhkem_secret(shared, enc, self.public_key)


class _XWingKey:
    """ML-KEM-768 and X25519 together: safe while either is."""

    kem = Kem.X_WING

    def __init__(self, ml_kem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> None:
        self._ml_kem = ml_kem
        self._x25519 = x25519
        self._x25519_public_key = x25519.public_key().public_bytes_raw()
        self.public_key = ml_kem.public_key().public_bytes_raw() + self._x25519_public_key

    def decapsulate(self, enc: bytes) -> bytes:
        ciphertext, point = _split(enc, _ML_KEM_CIPHERTEXT_SIZE)
        try:
            ml_kem_secret = self._ml_kem.decapsulate(ciphertext)
            shared = self._x25519.exchange(X25519PublicKey.from_public_bytes(point))
        except ValueError:
            raise OpenError from None
        return _x_wing_secret(ml_kem_secret, shared, point, self._x25519_public_key)


def _split(data: bytes, size: int) -> tuple[bytes, bytes]:
    return data[:size], data[size:]


def _dhkem_secret(shared: bytes, enc: bytes, public_key: bytes) -> bytes:
    """ExtractAndExpand of RFC 9180 section 4.1."""
    suite_id = b"KEM" + Kem.X25519.to_bytes(2, "big")
    pseudorandom_key = labeled_extract(suite_id, b"", b"eae_prk", shared)
    return labeled_expand(suite_id, pseudorandom_key, b"shared_secret", enc + public_key, 32)


def _x_wing_secret(ml_kem_secret: bytes, shared: bytes, point: bytes, public_key: bytes) -> bytes:
    """The combiner of wire.md 3.2."""
    return hashlib.sha3_256(ml_kem_secret + shared + point + public_key + _X_WING_LABEL).digest()
