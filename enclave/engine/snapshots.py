# SPDX-License-Identifier: Apache-2.0
"""What the engine remembers between two requests of one session: sealed keys and values (engine.md 4).

A conversation goes on from its own snapshot, and from nobody else's: entries are found by identity and
session together. Each snapshot is sealed with a key of its own, which is overwritten when the snapshot is
replaced, displaced, or too old. The tag covers the model, the library and the context's form, identity,
session and length; it is verified before llama.cpp reads a byte.
"""

import os
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from enclave.engine.llama import Tokens

KEY_BYTES, NONCE_BYTES, TAG_BYTES, TOKEN_BYTES = 32, 12, 16, 4
IDLE_SECONDS = 1800.0


class SnapshotError(Exception):
    """The snapshot is not the one that was sealed."""


@dataclass(slots=True)
class Snapshot:
    """One sealed snapshot of so many tokens."""

    key: bytearray = field(repr=False)
    nonce: bytes = field(repr=False)
    sealed: bytearray = field(repr=False)
    tokens: int
    used: float

    def erase(self) -> None:
        """Overwrite the key, without which the rest says nothing."""
        self.key[:] = bytes(len(self.key))


class SessionMemory:
    """The snapshots of all sessions, within a limit of bytes. Times are seconds of one clock."""

    def __init__(self, binding: bytes, most_bytes: int) -> None:
        """Bind snapshots to what made them: model, library, form of the context."""
        self._binding, self._most_bytes = binding, most_bytes
        self.snapshots: OrderedDict[tuple[bytes, bytes], Snapshot] = OrderedDict()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """How much is kept."""
        return self._bytes

    def keep(self, identity: bytes, session: bytes, tokens: Tokens, state: bytearray, now: float) -> None:
        """Seal what a session has got so far; `state` and `tokens` remain the caller's to overwrite."""
        self.forget(identity, session)
        size = len(tokens) * TOKEN_BYTES + len(state)
        if size + TAG_BYTES > self._most_bytes:
            return
        plain = bytearray(tokens.astype("<i4").tobytes()) + state
        snapshot = Snapshot(
            bytearray(os.urandom(KEY_BYTES)),
            os.urandom(NONCE_BYTES),
            bytearray(size + TAG_BYTES),
            len(tokens),
            now,
        )
        bound = self._bound(identity, session, len(tokens))
        AESGCM(snapshot.key).encrypt_into(snapshot.nonce, plain, bound, snapshot.sealed)
        plain[:] = bytes(len(plain))
        self.snapshots[identity, session] = snapshot
        self._bytes += len(snapshot.sealed)
        while self._bytes > self._most_bytes:
            self.forget(*next(iter(self.snapshots)))

    def recall(self, identity: bytes, session: bytes, now: float) -> tuple[Tokens, bytearray] | None:
        """The tokens and the state of a session, to be overwritten by the caller; None without a snapshot.

        Raises SnapshotError.
        """
        self.expire(now)
        snapshot = self.snapshots.get((identity, session))
        if snapshot is None:
            return None
        plain = bytearray(len(snapshot.sealed) - TAG_BYTES)
        bound = self._bound(identity, session, snapshot.tokens)
        try:
            AESGCM(snapshot.key).decrypt_into(snapshot.nonce, snapshot.sealed, bound, plain)
        except InvalidTag:
            raise SnapshotError from None
        snapshot.used = now
        self.snapshots.move_to_end((identity, session))
        cut = snapshot.tokens * TOKEN_BYTES
        tokens, state = np.frombuffer(plain[:cut], "<i4").astype(np.int32), plain[cut:]
        plain[:] = bytes(len(plain))
        return tokens, state

    def forget(self, identity: bytes, session: bytes) -> None:
        """Erase what is kept of a session; nothing where there is nothing."""
        snapshot = self.snapshots.pop((identity, session), None)
        if snapshot is not None:
            self._bytes -= len(snapshot.sealed)
            snapshot.erase()

    def expire(self, now: float) -> None:
        """Erase what nobody used for a while."""
        while self.snapshots:
            place, oldest = next(iter(self.snapshots.items()))
            if now - oldest.used < IDLE_SECONDS:
                return
            self.forget(*place)

    def _bound(self, identity: bytes, session: bytes, tokens: int) -> bytes:
        parts = (self._binding, identity, session, tokens.to_bytes(4, "big"))
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
