# SPDX-License-Identifier: Apache-2.0
"""What was parsed and verified before, found again by the bytes it came from (attestation.md 7.5, X9; 11).

A key is a digest over all the bytes that the result depends on, so a hit means exactly these bytes were
verified before. Nothing that depends on the clock or on a policy is kept: dates are checked at each use.
"""

from hashlib import sha256
from typing import Final, Generic, TypeVar

Value = TypeVar("Value")

DEFAULT_CAPACITY: Final = 64


class Cache(Generic[Value]):
    """A bounded table that forgets what was not used for longest. A capacity of 0 keeps nothing."""

    __slots__ = ("_capacity", "_entries")

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self._capacity = capacity
        self._entries: dict[bytes, Value] = {}

    def __len__(self) -> int:
        """How many results are kept."""
        return len(self._entries)

    def find(self, key: bytes) -> Value | None:
        """The result that was kept under this key, or None."""
        value = self._entries.pop(key, None)
        if value is not None:
            self._entries[key] = value
        return value

    def keep(self, key: bytes, value: Value) -> None:
        """Keep a result, and forget the one that was not used for longest where there is no room."""
        self._entries.pop(key, None)
        self._entries[key] = value
        while len(self._entries) > self._capacity:
            del self._entries[next(iter(self._entries))]


def content_key(*parts: bytes) -> bytes:
    """A digest of these parts, each with its length."""
    digest = sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
