# SPDX-License-Identifier: Apache-2.0
"""How long a message may be seen to be (wire.md 6.7)."""

# Short messages all look alike; longer ones show their size to within a few steps per power of two.
SMALLEST_BYTES = 1024


def padme(size: int) -> int:
    """Return the size rounded up so that only the highest bits of its length's mantissa remain.

    With E = floor(log2 size) and S = floor(log2 E) + 1, the last E - S bits become zero.
    """
    exponent = max(size.bit_length() - 1, 0)
    step = 1 << (exponent - exponent.bit_length())
    return (size + step - 1) // step * step


def padded_size(size: int) -> int:
    """Return the size that a message of this size is padded to: at least 1024, then Padmé."""
    return SMALLEST_BYTES if size <= SMALLEST_BYTES else padme(size)
