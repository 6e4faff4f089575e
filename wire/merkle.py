# SPDX-License-Identifier: Apache-2.0
"""The tree under which one hardware report answers for many session requests (wire.md 6.3, RFC 9162).

A leaf ties a client's nonce, the session keys it gets and its encapsulated key together. The number of leaves
is a power of two, so that a place in the tree and the path to it say nothing about how many were real.
"""

import hashlib
from typing import Final, NewType

LEAF_LABEL: Final = b"A-OHTTP/1 leaf"
HASH_SIZE: Final = 32
NONCE_SIZE: Final = 32
MAX_LEAVES: Final = 64  # wire.md 6.3: one batch
MAX_PATH_LENGTH: Final = 6

Leaf = NewType("Leaf", bytes)
Root = NewType("Root", bytes)


class MerkleError(Exception):
    """An index or a path that no tree of this profile has."""


def leaf(client_nonce: bytes, session_keys: bytes, enc: bytes) -> Leaf:
    """The leaf of one session request: its nonce of 32 bytes, the exact key list given for it, its `enc`.

    Raises RuntimeError for a nonce of another size, which would let two inputs give one leaf.
    """
    if len(client_nonce) != NONCE_SIZE:
        raise RuntimeError(f"nonce of {len(client_nonce)} bytes, not {NONCE_SIZE}")
    hashes = hashlib.sha256(session_keys).digest() + hashlib.sha256(enc).digest()
    return Leaf(hashlib.sha256(b"\0" + LEAF_LABEL + b"\0" + client_nonce + hashes).digest())


def node(left: bytes, right: bytes) -> bytes:
    """The hash above two others."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """A tree over 1, 2, 4 up to 64 leaves."""

    def __init__(self, leaves: tuple[Leaf, ...]) -> None:
        """Hash all levels. Raises RuntimeError for a number of leaves that is no power of two up to 64."""
        if not 0 < len(leaves) <= MAX_LEAVES or len(leaves) & (len(leaves) - 1):
            raise RuntimeError(f"{len(leaves)} leaves are not a power of two up to {MAX_LEAVES}")
        levels: list[list[bytes]] = [list(leaves)]
        while len(below := levels[-1]) > 1:
            levels.append([node(below[at], below[at + 1]) for at in range(0, len(below), 2)])
        self._levels = levels

    @property
    def root(self) -> Root:
        """R of wire.md 6.3. For a single leaf it is that leaf."""
        return Root(self._levels[-1][0])

    def path(self, index: int) -> tuple[bytes, ...]:
        """The neighbours that lead from this leaf to the root, the lowest first."""
        return tuple(level[(index >> height) ^ 1] for height, level in enumerate(self._levels[:-1]))


def root_of(start: Leaf, index: int, path: tuple[bytes, ...]) -> Root:
    """The root that this path leads to from the leaf at this index.

    Raises MerkleError where no tree has such a place. Whether it is the right root the caller has to compare.
    """
    if len(path) > MAX_PATH_LENGTH or any(len(neighbour) != HASH_SIZE for neighbour in path):
        raise MerkleError(f"path is not one of up to {MAX_PATH_LENGTH} hashes of {HASH_SIZE} bytes")
    if not 0 <= index < 1 << len(path):
        raise MerkleError(f"index {index} is outside a tree of {1 << len(path)} leaves")
    value: bytes = start
    for height, neighbour in enumerate(path):
        value = node(neighbour, value) if index >> height & 1 else node(value, neighbour)
    return Root(value)
