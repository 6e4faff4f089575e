# SPDX-License-Identifier: Apache-2.0
"""How llama.cpp writes a sequence down: what is read is what is written, all else is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.engine.state import Cache, Layout, StateError, read_layout

ONE = Layout((Cache(3, 2, ((1, 8), (1, 8), (1, 6), (1, 6))),))
TWO = Layout((*ONE.caches, Cache(1, 1, ((0, 4), (0, 4)))))


def state(layout: Layout, tokens: int, fill: int = 0) -> bytes:
    """A state whose keys and values are all one byte."""
    parts, size = layout.zeros(tokens)
    made = bytearray([fill]) * size
    for place, content in parts:
        made[place : place + len(content)] = content
    return bytes(made)


@pytest.mark.parametrize("layout", [ONE, TWO])
@pytest.mark.parametrize("tokens", [1, 2, 300])
def test_what_is_read_is_what_is_written(layout: Layout, tokens: int) -> None:
    written = state(layout, tokens, fill=7)
    assert read_layout(written, tokens) == layout
    assert written.count(7) >= layout.bytes_per_token * tokens
    assert len(written) == layout.size_bytes(tokens)
    assert (ONE.bytes_per_token, TWO.bytes_per_token) == (28, 36)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, 1, "another magic number"),
        (8, 0, "a cache of 0 streams"),
        (12, 3, "another length"),
        (16, 5, "a cell of another form"),
        (20, 2, "a cell of another form"),
        (40, 1, "transposed"),
        (44, 0, "a cache of 0 layers"),
        (52, 1 << 20, "ends early"),
    ],
)
def test_other_forms_are_refused(place: int, value: int, message: str) -> None:
    spoiled = bytearray(state(ONE, 2))
    spoiled[place : place + 4] = value.to_bytes(4, "little")
    with pytest.raises(StateError, match=message):
        read_layout(bytes(spoiled), 2)


def test_a_state_without_the_sequence_is_refused() -> None:
    with pytest.raises(StateError, match="holds no cache"):
        read_layout(state(ONE, 1)[:8], 1)
    with pytest.raises(StateError, match="without the sequence"):
        read_layout(state(ONE, 1)[:8] + bytes([1, 0, 0, 0]) + bytes(4), 1)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 400).filter(lambda size: size != len(state(ONE, 2))))
def test_a_state_that_is_cut_is_refused(size: int) -> None:
    """But for a cut behind a whole cache: that is the state of a model with one cache."""
    whole = state(TWO, 2)
    with pytest.raises(StateError):
        read_layout(whole[: min(size, len(whole) - 1)], 2)
