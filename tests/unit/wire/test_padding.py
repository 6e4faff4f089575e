# SPDX-License-Identifier: Apache-2.0
"""Padded sizes."""

import pytest

from wire.padding import padded_size, padme

TABLE = [
    (1, 1024),
    (1024, 1024),
    (1025, 1088),
    (2000, 2048),
    (4097, 4352),
    (10_000, 10_240),
    (20_000, 20_480),
    (100_000, 100_352),
]


@pytest.mark.parametrize(("size", "padded"), TABLE)
def test_table_of_the_specification(size: int, padded: int) -> None:
    assert padded_size(size) == padded


def test_smallest_sizes() -> None:
    assert [padme(size) for size in range(10)] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10]


def test_padding_grows_never_shrinks_and_stays_within_its_bounds() -> None:
    sizes = range(1, 70_000)
    padded = [padded_size(size) for size in sizes]
    assert padded == sorted(padded)
    assert all(before <= after for before, after in zip(sizes, padded, strict=True))
    assert all(padme(size) <= size * 1.12 for size in sizes)
    assert all(padme(size) <= size * 1.063 for size in sizes if size > 1024)
    # Few sizes remain to be told apart: that is the point.
    assert len(set(padded)) <= 100


def test_padding_a_padded_size_changes_nothing() -> None:
    assert all(padded_size(padded_size(size)) == padded_size(size) for size in range(5000))
