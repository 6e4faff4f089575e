# SPDX-License-Identifier: Apache-2.0
"""Epoch keys: their rotation, and which requests they have opened (wire.md 6.2, 6.6). No clock of its own.

    Fresh --600 s, or worn--> Retiring --60 s--> erased            Fresh --1200 s--> erased

Every kind of key serves a request in the same steps: found, claimed, then opened or abandoned.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Protocol

from wire import hpke, ohttp

ROTATION_SECONDS = 600
GRACE_SECONDS = 60  # for requests that were on their way when the keys changed
HARD_LIFE_SECONDS = 1200  # where no evidence can be had for new keys
MAX_TAGS = 1 << 18  # 98 bytes each, one for each request; the keys rotate early instead of forgetting one
MAX_REQUESTS = 1 << 20  # that were decapsulated, whether or not they opened
TAG_BYTES = 16

_AES_128 = (hpke.Kdf.HKDF_SHA256, hpke.Aead.AES_128_GCM)
_AES_256 = (hpke.Kdf.HKDF_SHA256, hpke.Aead.AES_256_GCM)
_CHACHA = (hpke.Kdf.HKDF_SHA256, hpke.Aead.CHACHA20_POLY1305)


class UnknownKeyError(Exception):
    """No living key has this identifier. That is public, and the client reads keys and evidence again."""


class ReplayError(Exception):
    """This encapsulated key was opened before."""


class RequestKey(Protocol):
    """One key's part in one request."""

    @property
    def kem(self) -> hpke.Kem:
        """The key encapsulation that the key belongs to."""
        ...

    @property
    def session(self) -> bytes:
        """The 16 bytes that name the session; empty for an epoch key."""
        ...

    def claim(self, encapsulated: bytes) -> hpke.PrivateKey:
        """The private key, to decapsulate with at once. Raises ReplayError and UnknownKeyError."""
        ...

    def opened(self) -> None:
        """The first chunk is authentic: no other request opens with this `enc`. Raises ReplayError."""
        ...

    def abandon(self) -> None:
        """The request ended before that, if it did; calling it later does nothing."""
        ...

    def next_key(self, now: float) -> ohttp.KeyConfiguration | None:
        """What replaces a key that can be used once; None where there is nothing to replace."""
        ...


class KeySource(Protocol):
    """The keys that one outer path leads to."""

    def find(self, key_id: int, now: float) -> RequestKey:
        """The living key with this identifier. Raises UnknownKeyError."""
        ...


@dataclass(slots=True)
class Epoch:
    """One epoch's key pairs, and the tags of the requests that they opened."""

    number: int
    born: float
    keys: dict[int, hpke.PrivateKey] = field(repr=False)
    key_list: bytes
    _tags: set[bytes] = field(default_factory=set[bytes], repr=False)
    _requests: int = 0

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

    def count(self) -> None:
        """Note that a request is decapsulated."""
        self._requests += 1

    def is_worn(self, now: float) -> bool:
        """Whether the keys are to be replaced: by age, or because they served enough."""
        used_up = len(self._tags) >= MAX_TAGS or self._requests >= MAX_REQUESTS
        return used_up or now - self.born >= ROTATION_SECONDS

    def is_dead(self, now: float) -> bool:
        """Whether the keys may open nothing any more."""
        return now - self.born >= HARD_LIFE_SECONDS

    def erase(self) -> None:
        """Drop the private keys, for requests too that were about to use them."""
        self.keys.clear()
        self._tags.clear()


@dataclass(frozen=True, slots=True)
class Fresh:
    """The epoch in force."""

    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Retiring:
    """The epoch before it, which opens what was on its way."""

    epoch: Epoch
    since: float


class EpochKey:
    """An epoch's key in one request. Many requests use it, each `enc` opens once."""

    session = b""

    def __init__(self, epoch: Epoch, key_id: int) -> None:
        self.epoch, self._key_id = epoch, key_id
        self._encapsulated = b""
        self.kem = epoch.keys[key_id].kem

    def claim(self, encapsulated: bytes) -> hpke.PrivateKey:
        """The private key. Raises ReplayError, and UnknownKeyError where it was erased meanwhile."""
        self.epoch.check_unused(encapsulated)
        private_key = self.epoch.keys.get(self._key_id)
        if private_key is None:
            raise UnknownKeyError
        self._encapsulated = encapsulated
        self.epoch.count()
        return private_key

    def opened(self) -> None:
        """Remember the request. Raises ReplayError where a copy that arrived at the same time was first."""
        self.epoch.remember(self._encapsulated)

    def abandon(self) -> None:
        """Nothing was taken away."""

    def next_key(self, now: float) -> None:  # noqa: ARG002 - the key is still there
        """Nothing is to be replaced."""
        return


class KeyRing:
    """The keys in force and, for a short time, those they replaced.

    Times are seconds of one clock that never goes back.
    """

    def __init__(self, first_epoch: int, *, pq_only: bool = False) -> None:
        """Begin without keys; with `pq_only` no classical key is ever offered."""
        self._next_number, self._pq_only = first_epoch, pq_only
        self._fresh: Fresh | None = None
        self._retiring: Retiring | None = None

    def make_epoch(self, now: float) -> Epoch:
        """New key pairs, not yet in force: evidence comes first."""
        number, self._next_number = self._next_number, self._next_number + 1
        short = number & 0x7F
        hybrid = hpke.generate(hpke.Kem.X_WING)
        keys = {short: hybrid}
        configurations = [
            ohttp.KeyConfiguration(short, hybrid.kem, hybrid.public_key, (_AES_256, _AES_128, _CHACHA))
        ]
        if not self._pq_only:
            classical = keys[0x80 | short] = hpke.generate(hpke.Kem.X25519)
            suites = (_AES_128, _CHACHA, _AES_256)
            configurations.append(
                ohttp.KeyConfiguration(0x80 | short, classical.kem, classical.public_key, suites)
            )
        return Epoch(number, now, keys, ohttp.encode_key_list(tuple(configurations)))

    def install(self, epoch: Epoch, now: float) -> None:
        """Put new keys in force; the old ones open requests for a minute more."""
        if self._retiring:
            self._retiring.epoch.erase()
        self._retiring = Retiring(self._fresh.epoch, now) if self._fresh else None
        self._fresh = Fresh(epoch)

    def needs_rotation(self, now: float) -> bool:
        """Whether new keys are due."""
        return self._fresh is None or self._fresh.epoch.is_worn(now)

    def expire(self, now: float) -> None:
        """Erase keys whose time is over."""
        retiring, fresh = self._retiring, self._fresh
        if retiring and (now - retiring.since >= GRACE_SECONDS or retiring.epoch.is_dead(now)):
            retiring.epoch.erase()
            self._retiring = None
        if fresh and fresh.epoch.is_dead(now):
            fresh.epoch.erase()
            self._fresh = None

    def is_alive(self, now: float) -> bool:
        """Whether there are keys in force."""
        self.expire(now)
        return self._fresh is not None

    def find(self, key_id: int, now: float) -> EpochKey:
        """The living key with this identifier.

        Raises UnknownKeyError.
        """
        self.expire(now)
        for state in (self._fresh, self._retiring):
            if state and key_id in state.epoch.keys:
                return EpochKey(state.epoch, key_id)
        raise UnknownKeyError


def _tag(encapsulated: bytes) -> bytes:
    return hashlib.sha256(encapsulated).digest()[:TAG_BYTES]
