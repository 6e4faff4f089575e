# SPDX-License-Identifier: Apache-2.0
"""HPKE against the published vectors of RFC 9180 and of the hpke-pq draft."""

import json
from importlib import resources
from typing import TypedDict

import pytest

from wire.hpke import (
    Aead,
    Kdf,
    Kem,
    SenderContext,
    Suite,
    derive_context_keys,
    encapsulation_for_vectors,
    private_key_from_bytes,
    setup_recipient,
    setup_sender,
)


class Encryption(TypedDict):
    aad: str
    ct: str
    nonce: str
    pt: str


class Export(TypedDict):
    exporter_context: str
    L: int
    exported_value: str


class Vector(TypedDict):
    mode: int
    kem_id: int
    kdf_id: int
    aead_id: int
    info: str
    skRm: str
    skEm: str
    pkRm: str
    enc: str
    shared_secret: str
    key: str
    base_nonce: str
    exporter_secret: str
    encryptions: list[Encryption]
    exports: list[Export]


def load(name: str) -> list[Vector]:
    vectors: list[Vector] = json.loads((resources.files("cryptography_vectors") / "HPKE" / name).read_text())
    return vectors


BASE_MODE = [
    vector for vector in load("test-vectors.json") + load("hpke-pq-test-vectors.json") if vector["mode"] == 0
]
OURS = [
    vector
    for vector in BASE_MODE
    if vector["kem_id"] in list(Kem) and vector["kdf_id"] in list(Kdf) and vector["aead_id"] in list(Aead)
]
X_WING = [vector for vector in BASE_MODE if vector["kem_id"] == Kem.X_WING]


def name(vector: Vector) -> str:
    return f"{vector['kem_id']:04x}-{vector['kdf_id']}-{vector['aead_id']}"


def suite_of(vector: Vector) -> Suite:
    return Suite(Kem(vector["kem_id"]), Kdf(vector["kdf_id"]), Aead(vector["aead_id"]))


def test_no_vector_is_missing() -> None:
    assert sorted(map(name, OURS)) == ["0020-1-1", "0020-1-2", "0020-1-3", "647a-1-3"]
    assert sorted(map(name, X_WING)) == ["647a-1-3", "647a-17-3"]
    assert sum(len(vector["encryptions"]) for vector in OURS) == 3 * 257 + 10
    assert sum(len(vector["exports"]) for vector in OURS) == 3 * 3 + 5


@pytest.mark.parametrize("vector", OURS, ids=name)
def test_recipient_opens_and_exports_as_published(vector: Vector) -> None:
    suite = suite_of(vector)
    private_key = private_key_from_bytes(suite.kem, bytes.fromhex(vector["skRm"]))
    assert private_key.public_key.hex() == vector["pkRm"]
    context = setup_recipient(suite, private_key, bytes.fromhex(vector["enc"]), bytes.fromhex(vector["info"]))
    for encryption in vector["encryptions"]:
        opened = context.open(bytes.fromhex(encryption["ct"]), bytes.fromhex(encryption["aad"]))
        assert opened.hex() == encryption["pt"]
    for export in vector["exports"]:
        exported = context.export(bytes.fromhex(export["exporter_context"]), export["L"])
        assert exported.hex() == export["exported_value"]


@pytest.mark.parametrize("vector", OURS, ids=name)
def test_sender_seals_and_exports_as_published(vector: Vector) -> None:
    suite = suite_of(vector)
    keys = derive_context_keys(suite, bytes.fromhex(vector["shared_secret"]), bytes.fromhex(vector["info"]))
    assert keys.key.hex() == vector["key"]
    assert keys.base_nonce.hex() == vector["base_nonce"] == vector["encryptions"][0]["nonce"]
    assert keys.exporter_secret.hex() == vector["exporter_secret"]
    context = SenderContext(suite, keys)
    for encryption in vector["encryptions"]:
        sealed = context.seal(bytes.fromhex(encryption["pt"]), bytes.fromhex(encryption["aad"]))
        assert sealed.hex() == encryption["ct"]
    for export in vector["exports"]:
        exported = context.export(bytes.fromhex(export["exporter_context"]), export["L"])
        assert exported.hex() == export["exported_value"]


@pytest.mark.parametrize("vector", [vector for vector in OURS if vector["kem_id"] == Kem.X25519], ids=name)
def test_sender_encapsulates_as_published(vector: Vector) -> None:
    encapsulate = encapsulation_for_vectors(bytes.fromhex(vector["skEm"]))
    public_key = bytes.fromhex(vector["pkRm"])
    shared_secret, _ = encapsulate(Kem.X25519, public_key)
    assert shared_secret.hex() == vector["shared_secret"]
    enc, context = setup_sender(
        suite_of(vector), public_key, bytes.fromhex(vector["info"]), encapsulate=encapsulate
    )
    assert enc.hex() == vector["enc"]
    first = vector["encryptions"][0]
    assert context.seal(bytes.fromhex(first["pt"]), bytes.fromhex(first["aad"])).hex() == first["ct"]


@pytest.mark.parametrize("vector", X_WING, ids=name)
def test_x_wing_shared_secret_as_published(vector: Vector) -> None:
    # Also for the vector whose KDF we do not have: the encapsulation does not depend on it.
    private_key = private_key_from_bytes(Kem.X_WING, bytes.fromhex(vector["skRm"]))
    assert private_key.public_key.hex() == vector["pkRm"]
    assert private_key.decapsulate(bytes.fromhex(vector["enc"])).hex() == vector["shared_secret"]
