# SPDX-License-Identifier: Apache-2.0
"""Authenticated encryption under nonces that count (RFC 9180 section 5.2, RFC 9458 section 4.4).

The nonce of message number i is the base nonce XOR i. HPKE contexts and OHTTP responses both work this way.
"""

from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

TAG_SIZE = 16


class OpenError(Exception):
    """Something sealed cannot be opened. It never tells why, for the reason could help an attacker."""

    def __init__(self) -> None:
        super().__init__("cannot be opened")


class Aead(IntEnum):
    """The ciphers, by their HPKE identifiers (RFC 9180 section 7.3)."""

    AES_128_GCM = 1
    AES_256_GCM = 2
    CHACHA20_POLY1305 = 3

    @property
    def key_size(self) -> int:
        """Nk, in bytes."""
        return 16 if self is Aead.AES_128_GCM else 32

    @property
    def nonce_size(self) -> int:
        """Nn, in bytes."""
        return 12


class CountingCipher:
    """One direction of one exchange: each message sealed or opened takes the next nonce."""

    def __init__(self, aead: Aead, key: bytes, base_nonce: bytes) -> None:
        self._cipher = ChaCha20Poly1305(key) if aead is Aead.CHACHA20_POLY1305 else AESGCM(key)
        self._base = int.from_bytes(base_nonce, "big")
        self._size = aead.nonce_size
        self._count = 0

    def seal(self, plaintext: bytes, aad: bytes = b"") -> bytes:
        """Return the ciphertext of the next message, 16 bytes longer than the plaintext."""
        ciphertext = self._cipher.encrypt(self._nonce(), plaintext, aad)
        self._count += 1
        return ciphertext

    def open(self, ciphertext: bytes, aad: bytes = b"") -> bytes:
        """Return the plaintext of the next message. Raises OpenError; the count then stays."""
        try:
            plaintext = self._cipher.decrypt(self._nonce(), ciphertext, aad)
        except InvalidTag:
            raise OpenError from None
        self._count += 1
        return plaintext

    def _nonce(self) -> bytes:
        return (self._base ^ self._count).to_bytes(self._size, "big")
