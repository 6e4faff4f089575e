# SPDX-License-Identifier: Apache-2.0
"""The tree of wire.md 6.3: its known values, and that every leaf has one way to the root."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire.merkle import MAX_LEAVES, MerkleError, Tree, leaf, node, root_of

KNOWN_LEAF = leaf(b"\1" * 32, b"session keys", b"enc")
LEAVES = tuple(leaf(bytes([number]) * 32, b"keys", b"enc") for number in range(MAX_LEAVES))
SIZES = (1, 2, 4, 8, 16, 32, 64)
PLACES = st.sampled_from(SIZES).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1)))


def test_known_values() -> None:
    assert KNOWN_LEAF.hex() == "febf557d6dc01d585eb18301d34f814dc58d41b3b052ce33c9eeb752b1984bd1"
    assert (
        node(KNOWN_LEAF, KNOWN_LEAF).hex()
        == "bafc972ebcf967af29b46a9d0ad0d85753584943e8e8433cadfaeb736578d208"
    )


def test_the_root_over_one_leaf_is_the_leaf() -> None:
    tree = Tree((KNOWN_LEAF,))
    assert bytes(tree.root) == bytes(KNOWN_LEAF)
    assert tree.path(0) == ()


@pytest.mark.parametrize("size", SIZES)
def test_every_path_leads_to_the_root(size: int) -> None:
    tree = Tree(LEAVES[:size])
    assert {root_of(LEAVES[index], index, tree.path(index)) for index in range(size)} == {tree.root}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(PLACES, st.integers(0, MAX_LEAVES - 1), st.integers(0, 5), st.integers(0, 255))
def test_no_other_leaf_index_or_path_leads_there(
    place: tuple[int, int], other: int, height: int, bit: int
) -> None:
    size, index = place
    tree = Tree(LEAVES[:size])
    path = tree.path(index)
    if other != index:
        assert root_of(LEAVES[other], index, path) != tree.root
        if other < size:
            assert root_of(LEAVES[index], other, path) != tree.root
    if path:
        at = height % len(path)
        flipped = bytearray(path[at])
        flipped[bit // 8] ^= 1 << bit % 8
        assert root_of(LEAVES[index], index, (*path[:at], bytes(flipped), *path[at + 1 :])) != tree.root


@pytest.mark.parametrize("size", [0, 3, 5, 63, 65, 128])
def test_a_number_of_leaves_that_tells_something_is_refused(size: int) -> None:
    with pytest.raises(RuntimeError, match="power of two"):
        Tree((LEAVES * 2)[:size])


def test_a_path_that_no_tree_has_is_refused() -> None:
    for index, path in ((1, ()), (-1, ()), (2, (bytes(32),)), (0, (bytes(31),)), (0, (bytes(32),) * 7)):
        with pytest.raises(MerkleError):
            root_of(KNOWN_LEAF, index, path)


def test_a_nonce_of_another_size_makes_no_leaf() -> None:
    with pytest.raises(RuntimeError, match="nonce of 31 bytes"):
        leaf(bytes(31), b"", b"")
