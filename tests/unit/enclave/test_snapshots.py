# SPDX-License-Identifier: Apache-2.0
"""What is remembered of a session can be had by that session alone, and only as it was sealed."""

import numpy as np
import pytest

from enclave.engine.llama import Tokens
from enclave.engine.snapshots import IDLE_SECONDS, SessionMemory, Snapshot, SnapshotError

ANNA, BERT = bytes([1]) * 16, bytes([2]) * 16
FIRST, SECOND = bytes([3]) * 16, bytes([4]) * 16
MIB = 1 << 20


def tokens(*numbers: int) -> Tokens:
    return np.array(numbers, np.int32)


def memory(most_bytes: int = MIB) -> SessionMemory:
    return SessionMemory(b"model, library, context", most_bytes)


def kept(made: SessionMemory, identity: bytes = ANNA, session: bytes = FIRST) -> Snapshot:
    """The snapshot itself, for a test to spoil."""
    return made.snapshots[identity, session]


def recalled(made: SessionMemory, identity: bytes, session: bytes, now: float = 0.0) -> bytes | None:
    found = made.recall(identity, session, now)
    return None if found is None else bytes(found.open_state())


def test_a_session_gets_back_what_it_had() -> None:
    made, state = memory(), bytearray(b"keys and values")
    made.keep(ANNA, FIRST, tokens(5, 6, 7), state, 0.0)
    found = made.recall(ANNA, FIRST, 1.0)
    assert found is not None
    assert found.tokens.tolist() == [5, 6, 7]
    assert (found.tokens.dtype, bytes(found.open_state())) == (np.dtype(np.int32), b"keys and values")
    found.tokens[:] = 0  # whoever is done with them can overwrite them


def test_nobody_else_gets_it_and_no_other_session() -> None:
    made = memory()
    made.keep(ANNA, FIRST, tokens(5), bytearray(b"a secret"), 0.0)
    assert [recalled(made, *who) for who in ((BERT, FIRST), (ANNA, SECOND), (BERT, SECOND))] == [None] * 3


def test_what_is_kept_is_sealed() -> None:
    made = memory()
    made.keep(ANNA, FIRST, tokens(*b"token by token"), bytearray(b"keys and values" * 9), 0.0)
    assert b"keys" not in kept(made).state
    assert tokens(*b"oken").tobytes() not in kept(made).tokens
    assert repr(kept(made)) == "Snapshot(used=0.0)"


@pytest.mark.parametrize("place", [0, 7, -17, -1])
def test_changed_tokens_are_refused(place: int) -> None:
    made = memory()
    made.keep(ANNA, FIRST, tokens(5, 6), bytearray(b"keys and values"), 0.0)
    kept(made).tokens[place] ^= 1
    with pytest.raises(SnapshotError):
        made.recall(ANNA, FIRST, 0.0)


@pytest.mark.parametrize("place", [0, 9, -17, -1])
def test_a_changed_state_is_refused_and_nothing_of_it_is_given(place: int) -> None:
    made = memory()
    made.keep(ANNA, FIRST, tokens(5, 6), bytearray(b"keys and values"), 0.0)
    kept(made).state[place] ^= 1
    found = made.recall(ANNA, FIRST, 0.0)
    assert found is not None
    with pytest.raises(SnapshotError):
        found.open_state()


def test_tokens_and_state_cannot_take_each_others_place() -> None:
    made = memory()
    made.keep(ANNA, FIRST, tokens(5, 6), bytearray(8), 0.0)
    snapshot = kept(made)
    snapshot.tokens, snapshot.state = snapshot.state, snapshot.tokens
    with pytest.raises(SnapshotError):
        made.recall(ANNA, FIRST, 0.0)


def test_a_snapshot_is_bound_to_its_place_its_length_and_what_made_it() -> None:
    made, other = memory(), SessionMemory(b"another model", MIB)
    made.keep(ANNA, FIRST, tokens(5, 6), bytearray(b"keys and values"), 0.0)
    snapshot = kept(made)
    for target, place in ((made, (BERT, FIRST)), (made, (ANNA, SECOND)), (other, (ANNA, FIRST))):
        target.snapshots[place] = snapshot
        with pytest.raises(SnapshotError):
            target.recall(*place, 0.0)
    del snapshot.tokens[:4]
    with pytest.raises(SnapshotError):
        made.recall(ANNA, FIRST, 0.0)


def test_the_newest_snapshot_replaces_the_one_before_whose_key_is_overwritten() -> None:
    made = memory()
    made.keep(ANNA, FIRST, tokens(5), bytearray(b"old"), 0.0)
    old = kept(made)
    made.keep(ANNA, FIRST, tokens(5, 6), bytearray(b"new"), 0.0)
    assert recalled(made, ANNA, FIRST) == b"new"
    assert old.key == bytearray(32)
    assert kept(made).key != bytearray(32)


def test_there_is_a_limit_and_who_was_not_seen_for_longest_gives_way() -> None:
    made = memory(300)
    for session in (FIRST, SECOND):
        made.keep(ANNA, session, tokens(1), bytearray(100), 0.0)
    assert recalled(made, ANNA, FIRST) is not None
    displaced = kept(made, ANNA, SECOND)
    made.keep(BERT, FIRST, tokens(1), bytearray(100), 0.0)
    assert recalled(made, ANNA, SECOND) is None
    assert displaced.key == bytearray(32)
    assert recalled(made, ANNA, FIRST) is not None
    assert made.size_bytes == 272
    made.keep(BERT, SECOND, tokens(1), bytearray(300), 0.0)
    assert recalled(made, BERT, SECOND) is None
    assert made.size_bytes == 272


def test_what_nobody_uses_is_erased() -> None:
    made = memory()
    made.keep(ANNA, FIRST, tokens(1), bytearray(9), 0.0)
    made.keep(ANNA, SECOND, tokens(1), bytearray(9), 10.0)
    old = kept(made)
    assert recalled(made, ANNA, FIRST, IDLE_SECONDS) is None
    assert old.key == bytearray(32)
    assert recalled(made, ANNA, SECOND, IDLE_SECONDS) is not None
    made.forget(ANNA, SECOND)
    made.forget(ANNA, SECOND)
    assert made.size_bytes == 0
