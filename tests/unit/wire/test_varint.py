# SPDX-License-Identifier: Apache-2.0
"""Variable-length integers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.wire.support import few
from wire import varint

# RFC 9000 appendix A.1; the fourth is its example of a longer form than needed.
SAMPLES = [
    ("c2197c5eff14e88c", 151_288_809_941_952_652),
    ("9d7f3e7d", 494_878_333),
    ("7bbd", 15_293),
    ("25", 37),
]


@pytest.mark.parametrize(("encoded", "value"), SAMPLES)
def test_samples_of_rfc_9000(encoded: str, value: int) -> None:
    assert varint.decode(bytes.fromhex(encoded)) == (value, len(encoded) // 2)
    assert varint.encode(value).hex() == encoded


def test_longer_form_than_needed_is_accepted() -> None:
    assert varint.decode(bytes.fromhex("4025")) == (37, 2)
    assert varint.decode(b"\xff" + bytes.fromhex("c000000000000000"), 1) == (0, 9)


@pytest.mark.parametrize(
    ("value", "size"),
    [(0, 1), (63, 1), (64, 2), (16383, 2), (16384, 4), (2**30 - 1, 4), (2**30, 8), (varint.MAX, 8)],
)
def test_shortest_form_at_the_borders(value: int, size: int) -> None:
    encoded = varint.encode(value)
    assert (len(encoded), varint.size_of(encoded[0])) == (size, size)
    assert varint.decode(encoded) == (value, size)


@few
@given(st.integers(0, varint.MAX), st.binary(max_size=3), st.binary(max_size=3))
def test_round_trip_at_any_offset(value: int, before: bytes, behind: bytes) -> None:
    encoded = varint.encode(value)
    end = len(before) + len(encoded)
    assert varint.decode(before + encoded + behind, len(before)) == (value, end)


@pytest.mark.parametrize("data", [b"", b"\x40", b"\x80\0\0", b"\xc0" + bytes(6)])
def test_short_integer_is_refused(data: bytes) -> None:
    with pytest.raises(varint.VarintError):
        varint.decode(data)


@pytest.mark.parametrize("value", [-1, varint.MAX + 1])
def test_value_out_of_range_is_our_own_mistake(value: int) -> None:
    with pytest.raises(RuntimeError, match="not a value"):
        varint.encode(value)
