# SPDX-License-Identifier: Apache-2.0
"""How llama.cpp writes down the keys and values of one sequence. Pure (llama-kv-cache.cpp, state_write).

    magic u32, sequence i32
    for each cache (one, or two where some layers look back a limited way):
        streams u32
        for each stream:
            cells u32; nothing more where it is 0
            for each cell: position i32, sequences u32, sequence i32
            transposed u32, layers u32
            for each layer: type i32, row size u64, rows of keys
            for each layer: type i32, row size u64, rows of values

All numbers are little-endian. Other forms belong to models whose memory this engine cannot wipe; they are
refused.
"""

import struct
from dataclasses import dataclass

import numpy as np

MAGIC = 0xAF143CD8
CELL_BYTES = 12
_ROW_HEAD = struct.Struct("<iQ")


class StateError(Exception):
    """The state is not of the form above."""


@dataclass(frozen=True, slots=True)
class Cache:
    """One cache: how many streams it has, and type and row size in bytes of each layer's keys and values."""

    streams: int
    layers: int
    rows: tuple[tuple[int, int], ...]

    @property
    def bytes_per_token(self) -> int:
        """How much the keys and values of one token take."""
        return sum(size for _, size in self.rows)


@dataclass(frozen=True, slots=True)
class Layout:
    """The form of a model's state, as read from a state with something in it."""

    caches: tuple[Cache, ...]

    @property
    def bytes_per_token(self) -> int:
        """How much the keys and values of one token take."""
        return sum(cache.bytes_per_token for cache in self.caches)

    def size_bytes(self, tokens: int) -> int:
        """The size of the state of so many tokens."""
        return self.zeros(tokens)[1]

    def zeros(self, tokens: int) -> tuple[list[tuple[int, bytes]], int]:
        """A state of so many tokens whose keys and values are zero.

        Given as the places of the bytes that are not part of keys or values, and the size of it all.
        """
        parts = [(0, struct.pack("<Ii", MAGIC, 0))]
        place = len(parts[0][1])
        for cache in self.caches:
            cells = struct.pack(f"<{3 * tokens}i", *(n for place in range(tokens) for n in (place, 1, 0)))
            head = struct.pack("<II", cache.streams, tokens) + cells + struct.pack("<II", 0, cache.layers)
            parts.append((place, head))
            place += len(head)
            for kind, size in cache.rows:
                parts.append((place, _ROW_HEAD.pack(kind, size)))
                place += _ROW_HEAD.size + size * tokens
            rest = bytes(4 * (cache.streams - 1))  # the other streams have no cell
            parts.append((place, rest))
            place += len(rest)
        return parts, place


def overwrite(state: bytearray | memoryview) -> None:
    """Fill with zeros in place, without making as many zeros first."""
    np.ndarray(len(state), np.uint8, state)[:] = 0


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    @property
    def rest(self) -> int:
        return len(self._data) - self._place

    def skip(self, size: int) -> None:
        if size > self.rest:
            raise StateError("the state ends early")
        self._place += size

    def word(self) -> int:
        start = self._place
        self.skip(4)
        return int.from_bytes(self._data[start : self._place], "little")

    def row(self) -> tuple[int, int]:
        start = self._place
        self.skip(_ROW_HEAD.size)
        kind, size = _ROW_HEAD.unpack(self._data[start : self._place])
        return int(kind), int(size)


def read_layout(state: bytes, tokens: int) -> Layout:
    """The layout of the state of a sequence of so many tokens, from position 0 on.

    Raises StateError for a form that this engine does not know.
    """
    reader = _Reader(state)
    if reader.word() != MAGIC:
        raise StateError("the state begins with another magic number")
    reader.word()
    caches: list[Cache] = []
    while reader.rest:
        caches.append(_read_cache(reader, tokens))
    if not caches:
        raise StateError("the state holds no cache")
    return Layout(tuple(caches))


def _read_cache(reader: _Reader, tokens: int) -> Cache:
    streams = reader.word()
    if not 0 < streams <= 1 << 12:
        raise StateError(f"a cache of {streams} streams")
    found: Cache | None = None
    for _ in range(streams):
        cells = reader.word()
        if cells == 0:
            continue
        if found or cells != tokens:
            raise StateError("a sequence of another length than was decoded")
        found = _read_stream(reader, streams, tokens)
    if found is None:
        raise StateError("a cache without the sequence")
    return found


def _read_stream(reader: _Reader, streams: int, tokens: int) -> Cache:
    for position in range(tokens):
        if (reader.word(), reader.word()) != (position, 1):
            raise StateError("a cell of another form")
        reader.word()
    if reader.word() != 0:
        raise StateError("values are transposed")
    layers = reader.word()
    if not 0 < layers <= 1 << 12:
        raise StateError(f"a cache of {layers} layers")
    rows: list[tuple[int, int]] = []
    for _ in range(2 * layers):
        row = reader.row()
        reader.skip(row[1] * tokens)
        rows.append(row)
    return Cache(streams, layers, tuple(rows))
