# SPDX-License-Identifier: Apache-2.0
"""HPKE contexts in base mode, with exporter (RFC 9180 sections 5.1.1, 5.2 and 5.3; wire.md 3).

The cryptography library's own HPKE seals single messages and lacks the exporter that OHTTP needs. It is the
oracle of the tests instead.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from wire.aead import Aead, CountingCipher, OpenError
from wire.hkdf import expand, extract, labeled_expand, labeled_extract
from wire.kem import (
    Encapsulate,
    Kem,
    PrivateKey,
    PublicKeyError,
    check_public_key,
    encapsulate,
    encapsulation_for_vectors,
    generate,
    private_key_from_bytes,
)

__all__ = [
    "Aead",
    "ContextKeys",
    "Encapsulate",
    "Kdf",
    "Kem",
    "OpenError",
    "PrivateKey",
    "PublicKeyError",
    "RecipientContext",
    "SenderContext",
    "Suite",
    "check_public_key",
    "derive_context_keys",
    "encapsulate",
    "encapsulation_for_vectors",
    "expand",
    "extract",
    "generate",
    "private_key_from_bytes",
    "setup_recipient",
    "setup_sender",
]

_BASE_MODE = b"\0"
_EXPORTER_SECRET_SIZE = 32


class Kdf(IntEnum):
    """The key derivation, by its HPKE identifier (RFC 9180 section 7.2)."""

    HKDF_SHA256 = 1


@dataclass(frozen=True, slots=True)
class Suite:
    """The three algorithms of one context."""

    kem: Kem
    kdf: Kdf
    aead: Aead

    @property
    def identifier(self) -> bytes:
        """The suite_id of RFC 9180 section 5.1."""
        return b"HPKE" + b"".join(part.to_bytes(2, "big") for part in (self.kem, self.kdf, self.aead))


@dataclass(frozen=True, slots=True)
class ContextKeys:
    """What the key schedule gives both sides."""

    key: bytes = field(repr=False)
    base_nonce: bytes = field(repr=False)
    exporter_secret: bytes = field(repr=False)


class SenderContext:
    """Seals messages in order."""

    def __init__(self, suite: Suite, keys: ContextKeys) -> None:
        self._suite = suite
        self._cipher = CountingCipher(suite.aead, keys.key, keys.base_nonce)
        self._exporter_secret = keys.exporter_secret

    def seal(self, plaintext: bytes, aad: bytes = b"") -> bytes:
        """Return the ciphertext of the next message."""
        return self._cipher.seal(plaintext, aad)

    def export(self, context: bytes, length: int) -> bytes:
        """Return a secret that only the two sides know (RFC 9180 section 5.3)."""
        return _export(self._suite, self._exporter_secret, context, length)


class RecipientContext:
    """Opens messages in the order in which they were sealed."""

    def __init__(self, suite: Suite, keys: ContextKeys) -> None:
        self._suite = suite
        self._cipher = CountingCipher(suite.aead, keys.key, keys.base_nonce)
        self._exporter_secret = keys.exporter_secret

    def open(self, ciphertext: bytes, aad: bytes = b"") -> bytes:
        """Return the plaintext of the next message. Raises OpenError; that message is then still next."""
        return self._cipher.open(ciphertext, aad)

    def export(self, context: bytes, length: int) -> bytes:
        """Return a secret that only the two sides know (RFC 9180 section 5.3)."""
        return _export(self._suite, self._exporter_secret, context, length)


def setup_sender(
    suite: Suite, public_key: bytes, info: bytes, *, encapsulate: Encapsulate = encapsulate
) -> tuple[bytes, SenderContext]:
    """Return `enc` and the context for a recipient's public key. Raises PublicKeyError."""
    shared_secret, enc = encapsulate(suite.kem, public_key)
    return enc, SenderContext(suite, derive_context_keys(suite, shared_secret, info))


def setup_recipient(suite: Suite, private_key: PrivateKey, enc: bytes, info: bytes) -> RecipientContext:
    """Return the context that a sender made. Raises OpenError for a bad `enc` or a key of another kind."""
    # The suite comes from the peer's head, which may name another key encapsulation than the key's.
    if suite.kem is not private_key.kem:
        raise OpenError
    return RecipientContext(suite, derive_context_keys(suite, private_key.decapsulate(enc), info))


def derive_context_keys(suite: Suite, shared_secret: bytes, info: bytes) -> ContextKeys:
    """Return the keys of a context in base mode (KeySchedule of RFC 9180 section 5.1)."""
    suite_id = suite.identifier
    context = (
        _BASE_MODE
        + labeled_extract(suite_id, b"", b"psk_id_hash", b"")
        + labeled_extract(suite_id, b"", b"info_hash", info)
    )
    secret = labeled_extract(suite_id, shared_secret, b"secret", b"")
    return ContextKeys(
        key=labeled_expand(suite_id, secret, b"key", context, suite.aead.key_size),
        base_nonce=labeled_expand(suite_id, secret, b"base_nonce", context, suite.aead.nonce_size),
        exporter_secret=labeled_expand(suite_id, secret, b"exp", context, _EXPORTER_SECRET_SIZE),
    )


def _export(suite: Suite, exporter_secret: bytes, context: bytes, length: int) -> bytes:
    return labeled_expand(suite.identifier, exporter_secret, b"sec", context, length)
