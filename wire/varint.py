# SPDX-License-Identifier: Apache-2.0
"""QUIC's variable-length integers (RFC 9000 section 16): the top two bits of the first byte tell the size."""

MAX = 2**62 - 1
MAX_SIZE = 8


class VarintError(Exception):
    """The bytes end inside the integer."""


def encode(value: int) -> bytes:
    """Return the shortest form of a value from 0 to MAX."""
    if not 0 <= value <= MAX:
        raise RuntimeError(f"{value} is not a value from 0 to 2^62-1")
    exponent = 0
    while value >> (8 * (1 << exponent) - 2):
        exponent += 1
    size = 1 << exponent
    return (exponent << (8 * size - 2) | value).to_bytes(size, "big")


def size_of(first_byte: int) -> int:
    """Return how many bytes the integer takes that begins with this byte: 1, 2, 4 or 8."""
    return 1 << (first_byte >> 6)


def decode(data: bytes, offset: int = 0) -> tuple[int, int]:
    """Return the integer at this offset, and the offset behind it. Longer forms than needed are accepted.

    Raises VarintError when the bytes end before the integer does.
    """
    if offset >= len(data):
        raise VarintError("no byte left for an integer")
    end = offset + size_of(data[offset])
    if end > len(data):
        raise VarintError(f"integer ends at byte {end} of {len(data)}")
    mask = (1 << (8 * (end - offset) - 2)) - 1
    return int.from_bytes(data[offset:end], "big") & mask, end
