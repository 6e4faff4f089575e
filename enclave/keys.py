# SPDX-License-Identifier: Apache-2.0
"""Epoch keys: their rotation, and which requests they have opened (wire.md 6.2, 6.6). No clock of its own."""

import hashlib
from dataclasses import dataclass, field

from wire import hpke, ohttp

ROTATION_SECONDS = 600
GRACE_SECONDS = 60  # for requests that were on their way when the keys changed
HARD_LIFE_SECONDS = 1200  # where no evidence can be had for new keys
MAX_TAGS = 1 << 18  # 98 bytes each, one for each request; the keys rotate early instead of forgetting one
TAG_BYTES = 16

_AES_128 = (hpke.Kdf.HKDF_SHA256, hpke.Aead.AES_128_GCM)
_AES_256 = (hpke.Kdf.HKDF_SHA256, hpke.Aead.AES_256_GCM)
_CHACHA = (hpke.Kdf.HKDF_SHA256, hpke.Aead.CHACHA20_POLY1305)


class UnknownKeyError(Exception):
    """No living key has this identifier. That is public, and the client reads keys and evidence again."""


class ReplayError(Exception):
    """This encapsulated key was opened before."""


@dataclass(slots=True)
class Epoch:
    """One epoch's key pairs, and the tags of the requests that they opened."""

    number: int
    born: float
    keys: dict[int, hpke.PrivateKey] = field(repr=False)
    key_list: bytes
    _tags: set[bytes] = field(default_factory=set[bytes], repr=False)

    @property
    def remembered(self) -> int:
        """How many requests are remembered."""
        return len(self._tags)

    def check_unused(self, encapsulated: bytes) -> None:
        """Raise ReplayError where this encapsulated key was opened before."""
        if _tag(encapsulated) in self._tags:
            raise ReplayError

    def remember(self, encapsulated: bytes) -> None:
        """Note that a request was opened; it is never forgotten while the keys live."""
        self.check_unused(encapsulated)
        self._tags.add(_tag(encapsulated))

    def is_worn(self, now: float) -> bool:
        """Whether the keys are to be replaced: by age, or because they opened enough."""
        return len(self._tags) >= MAX_TAGS or now - self.born >= ROTATION_SECONDS

    def is_dead(self, now: float) -> bool:
        """Whether the keys may open nothing any more."""
        return now - self.born >= HARD_LIFE_SECONDS


class KeyRing:
    """The keys in force and, for a short time, those they replaced.

    Times are seconds of one clock that never goes back.
    """

    def __init__(self, first_epoch: int) -> None:
        self._next_number = first_epoch
        self._current: Epoch | None = None
        self._retiring: Epoch | None = None
        self._retired_at = 0.0

    def make_epoch(self, now: float) -> Epoch:
        """New key pairs, not yet in force: evidence comes first."""
        number, self._next_number = self._next_number, self._next_number + 1
        short = number & 0x7F
        hybrid, classical = hpke.generate(hpke.Kem.X_WING), hpke.generate(hpke.Kem.X25519)
        configurations = (
            ohttp.KeyConfiguration(short, hybrid.kem, hybrid.public_key, (_AES_256, _AES_128, _CHACHA)),
            ohttp.KeyConfiguration(
                0x80 | short, classical.kem, classical.public_key, (_AES_128, _CHACHA, _AES_256)
            ),
        )
        keys = {configurations[0].key_id: hybrid, configurations[1].key_id: classical}
        return Epoch(number, now, keys, ohttp.encode_key_list(configurations))

    def install(self, epoch: Epoch, now: float) -> None:
        """Put new keys in force; the old ones open requests for a minute more."""
        self._retiring, self._retired_at = self._current, now
        self._current = epoch

    def needs_rotation(self, now: float) -> bool:
        """Whether new keys are due."""
        return self._current is None or self._current.is_worn(now)

    def expire(self, now: float) -> None:
        """Erase keys whose time is over."""
        if self._retiring and (now - self._retired_at >= GRACE_SECONDS or self._retiring.is_dead(now)):
            self._retiring = None
        if self._current and self._current.is_dead(now):
            self._current = None

    def is_alive(self, now: float) -> bool:
        """Whether there are keys in force."""
        self.expire(now)
        return self._current is not None

    def find(self, key_id: int, now: float) -> tuple[Epoch, hpke.PrivateKey]:
        """The living key with this identifier.

        Raises UnknownKeyError.
        """
        self.expire(now)
        for epoch in (self._current, self._retiring):
            if epoch and key_id in epoch.keys:
                return epoch, epoch.keys[key_id]
        raise UnknownKeyError


def _tag(encapsulated: bytes) -> bytes:
    return hashlib.sha256(encapsulated).digest()[:TAG_BYTES]
