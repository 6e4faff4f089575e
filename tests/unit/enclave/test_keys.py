# SPDX-License-Identifier: Apache-2.0
"""Epoch keys: rotation, grace, hard life, and the memory of what was opened."""

import itertools

import pytest

from enclave import keys
from enclave.keys import Epoch, KeyRing, ReplayError, UnknownKeyError
from wire import hpke, ohttp


def installed(ring: KeyRing, now: float) -> Epoch:
    """New keys, in force."""
    epoch = ring.make_epoch(now)
    ring.install(epoch, now)
    return epoch


def opens(ring: KeyRing, key_id: int, epoch: Epoch, now: float) -> bool:
    """Whether this identifier still leads to this epoch's key."""
    return ring.find(key_id, now).claim(b"an encapsulated key") is epoch.keys[key_id]


def identifiers(epoch: Epoch) -> list[int]:
    """The key identifiers of an epoch, the post-quantum one first."""
    return [configuration.key_id for configuration in ohttp.decode_key_list(epoch.key_list)]


def test_the_list_has_the_order_that_clients_rely_on() -> None:
    epoch = KeyRing(0x185).make_epoch(0)
    hybrid, classical = ohttp.decode_key_list(epoch.key_list)
    assert (hybrid.key_id, classical.key_id) == (0x05, 0x85)
    assert (hybrid.kem, classical.kem) == (hpke.Kem.X_WING, hpke.Kem.X25519)
    assert [aead for _, aead in hybrid.suites] == [2, 1, 3]
    assert [aead for _, aead in classical.suites] == [1, 3, 2]
    assert len(epoch.key_list) == 1286


def test_old_keys_open_requests_for_a_minute_after_rotation() -> None:
    ring = KeyRing(3)
    old, new = installed(ring, 0), installed(ring, 600)
    assert all(opens(ring, key_id, old, 659.9) for key_id in identifiers(old))
    for key_id in identifiers(old):
        with pytest.raises(UnknownKeyError):
            ring.find(key_id, 660)
    assert opens(ring, identifiers(new)[0], new, 660)


def test_two_living_epochs_never_share_an_identifier() -> None:
    ring = KeyRing(126)
    epochs = [installed(ring, 0) for _ in range(5)]
    for earlier, later in itertools.pairwise(epochs):
        assert not set(identifiers(earlier)) & set(identifiers(later))


def test_keys_rotate_by_age() -> None:
    ring = KeyRing(0)
    assert ring.needs_rotation(0)
    installed(ring, 0)
    assert not ring.needs_rotation(599.9)
    assert ring.needs_rotation(600)


def test_keys_rotate_before_they_would_have_to_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_TAGS", 3)
    ring = KeyRing(0)
    epoch = installed(ring, 0)
    for number in range(3):
        assert not ring.needs_rotation(1)
        epoch.remember(bytes([number]))
    assert ring.needs_rotation(1)


def test_keys_without_a_successor_end_after_their_hard_life() -> None:
    ring = KeyRing(0)
    epoch = installed(ring, 0)
    assert ring.is_alive(1199)
    assert opens(ring, identifiers(epoch)[0], epoch, 1199)
    assert not ring.is_alive(1200)
    with pytest.raises(UnknownKeyError):
        ring.find(identifiers(epoch)[0], 1200)


def test_an_encapsulated_key_is_remembered() -> None:
    epoch = KeyRing(0).make_epoch(0)
    epoch.check_unused(b"one")
    epoch.remember(b"one")
    with pytest.raises(ReplayError):
        epoch.check_unused(b"one")
    with pytest.raises(ReplayError):
        epoch.remember(b"one")
    epoch.check_unused(b"two")


def test_a_key_does_not_show_itself() -> None:
    epoch = KeyRing(0).make_epoch(0)
    epoch.remember(b"secret tag")
    assert "PrivateKey" not in repr(epoch)
    assert "tags" not in repr(epoch)


def test_keys_rotate_after_so_many_requests_whether_they_opened_or_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keys, "MAX_REQUESTS", 3)
    ring = KeyRing(0)
    epoch = installed(ring, 0)
    for number in range(3):
        assert not ring.needs_rotation(1)
        ring.find(identifiers(epoch)[0], 1).claim(bytes([number]))
    assert ring.needs_rotation(1)
    assert epoch.remembered == 0


def test_without_the_classical_key_there_is_one_entry() -> None:
    (only,) = ohttp.decode_key_list(KeyRing(7, pq_only=True).make_epoch(0).key_list)
    assert (only.key_id, only.kem) == (7, hpke.Kem.X_WING)


def test_a_request_that_found_a_key_before_it_was_erased_does_not_get_it() -> None:
    ring = KeyRing(0)
    epoch = installed(ring, 0)
    key = ring.find(identifiers(epoch)[0], 0)
    ring.expire(1200)
    assert epoch.keys == {}
    with pytest.raises(UnknownKeyError):
        key.claim(b"")
