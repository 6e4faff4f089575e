# SPDX-License-Identifier: Apache-2.0
"""What the engine remembers between two requests of one session: sealed keys and values (engine.md 4).

A conversation goes on from its own snapshot, and from nobody else's: entries are found by identity and
session together. Each snapshot is sealed with a key of its own, which is overwritten when the snapshot is
replaced, displaced, or too old. The tags cover the model, the library and the context's form, identity,
session and length; the state's is verified before llama.cpp reads a byte.

Tokens and state are sealed one by one, between llama.cpp's buffers and the ciphertext without a copy: copies
cost many times more than the encryption, and a conversation that took another turn needs no state at all.
"""

import os
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from enclave.engine.llama import Tokens

KEY_BYTES, TAG_BYTES = 32, 16
# A key seals one snapshot, which is these two messages.
TOKENS_NONCE, STATE_NONCE = bytes(12), bytes(11) + b"\1"
TOKEN = np.dtype("<i4")
IDLE_SECONDS = 1800.0


class SnapshotError(Exception):
    """The snapshot is not the one that was sealed."""


@dataclass(slots=True)
class Snapshot:
    """One sealed snapshot."""

    key: bytearray = field(repr=False)
    tokens: bytearray = field(repr=False)
    state: bytearray = field(repr=False)
    used: float

    @property
    def size_bytes(self) -> int:
        """How much is kept."""
        return len(self.tokens) + len(self.state)

    @property
    def token_count(self) -> int:
        """How many tokens it holds."""
        return (len(self.tokens) - TAG_BYTES) // TOKEN.itemsize

    def erase(self) -> None:
        """Overwrite the key, without which the rest says nothing."""
        self.key[:] = bytes(len(self.key))


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a session had: its tokens, to be overwritten by the caller, and the way to its state."""

    tokens: Tokens = field(repr=False)
    _snapshot: Snapshot
    _bound: bytes = field(repr=False)
    _room: memoryview = field(repr=False)

    def open_state(self) -> memoryview:
        """Keys and values, to be overwritten by the caller before anything else is recalled.

        Raises SnapshotError.
        """
        return _open(self._snapshot.key, STATE_NONCE, self._snapshot.state, self._bound, self._room)


class SessionMemory:
    """The snapshots of all sessions, within a limit of bytes. Times are seconds of one clock."""

    def __init__(self, binding: bytes, most_bytes: int) -> None:
        """Bind snapshots to what made them: model, library, form of the context."""
        self._binding, self._most_bytes = binding, most_bytes
        self.snapshots: OrderedDict[tuple[bytes, bytes], Snapshot] = OrderedDict()
        self._bytes = 0
        # Every state is opened here: fresh memory for each would take longer than opening it.
        self._room = bytearray()

    @property
    def size_bytes(self) -> int:
        """How much is kept."""
        return self._bytes

    def keep(self, identity: bytes, session: bytes, tokens: Tokens, state: bytearray, now: float) -> None:
        """Seal what a session has got so far; `state` and `tokens` remain the caller's to overwrite."""
        self.forget(identity, session)
        if len(tokens) * TOKEN.itemsize + len(state) + 2 * TAG_BYTES > self._most_bytes:
            return
        key, bound = bytearray(os.urandom(KEY_BYTES)), self._bound(identity, session, len(tokens))
        plain = np.ascontiguousarray(tokens, TOKEN).data.cast("B")
        snapshot = Snapshot(
            key, _seal(key, TOKENS_NONCE, plain, bound), _seal(key, STATE_NONCE, state, bound), now
        )
        self.snapshots[identity, session] = snapshot
        self._bytes += snapshot.size_bytes
        while self._bytes > self._most_bytes:
            self.forget(*next(iter(self.snapshots)))

    def recall(self, identity: bytes, session: bytes, now: float) -> Recalled | None:
        """What a session had; None without a snapshot. Raises SnapshotError."""
        self.expire(now)
        snapshot = self.snapshots.get((identity, session))
        if snapshot is None:
            return None
        bound = self._bound(identity, session, snapshot.token_count)
        plain = memoryview(bytearray(len(snapshot.tokens) - TAG_BYTES))
        tokens = np.frombuffer(_open(snapshot.key, TOKENS_NONCE, snapshot.tokens, bound, plain), TOKEN)
        snapshot.used = now
        self.snapshots.move_to_end((identity, session))
        size = len(snapshot.state) - TAG_BYTES
        if len(self._room) < size:
            self._room = bytearray(size)
        return Recalled(tokens, snapshot, bound, memoryview(self._room)[:size])

    def forget(self, identity: bytes, session: bytes) -> None:
        """Erase what is kept of a session; nothing where there is nothing."""
        snapshot = self.snapshots.pop((identity, session), None)
        if snapshot is not None:
            self._bytes -= snapshot.size_bytes
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


def _seal(key: bytearray, nonce: bytes, plain: bytearray | memoryview, bound: bytes) -> bytearray:
    sealed = bytearray(len(plain) + TAG_BYTES)
    AESGCM(key).encrypt_into(nonce, plain, bound, sealed)
    return sealed


def _open(key: bytearray, nonce: bytes, sealed: bytearray, bound: bytes, plain: memoryview) -> memoryview:
    try:
        AESGCM(key).decrypt_into(nonce, sealed, bound, plain)
    except InvalidTag:
        raise SnapshotError from None
    return plain
