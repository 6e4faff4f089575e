# SPDX-License-Identifier: Apache-2.0
"""The known values of wire.md 6.3."""

import pytest

from attestation.binding import (
    CACHED,
    FOR_ANY_CLIENT,
    FRESH,
    NO_FRESHNESS,
    ConfigurationHash,
    Fresh,
    TeeOctet,
    configuration_hash,
    freshness,
    gpu_nonce,
    report_data,
)
from wire.merkle import MerkleError, leaf, node

T = ConfigurationHash(
    bytes.fromhex(
        "233be164bc150abd2b0dd8a8a981295aa713388315edbdff52b340143dcd76a9f9593ac7ac7adcd4ed889fac9a754f65"
    )
)


def test_configuration_hash() -> None:
    assert configuration_hash(b"keys", b"{}") == T


def test_configuration_hash_binds_the_lengths() -> None:
    assert configuration_hash(b"keys{", b"}") != T


def test_report_data_in_cached_mode() -> None:
    assert report_data(TeeOctet.SEV_SNP, CACHED, configuration_hash(b"keys", b"{}"), NO_FRESHNESS).hex() == (
        "d26e10a3f0820cb78e32fcd08e1a047a7bb241b26694ae7623625cedc37f4db8"
        "8e76cd9d1da9050c31288986db8fdd581b44475536ecdb6cb136262acb772deb"
    )


def test_nonce_of_a_gpu() -> None:
    assert gpu_nonce(T).hex() == "90e2ded0d0cfd20d2031a5f445607cfd803e06b1ebfa360d88963438236012ec"


def test_report_data_in_fresh_mode() -> None:
    purpose = Fresh(leaf(bytes([1]) * 32, b"session keys", b"enc"))
    root = freshness(purpose, 0, ())
    assert report_data(TeeOctet.SEV_SNP, FRESH, configuration_hash(b"keys", b"{}"), root).hex() == (
        "3102db9435da18403ceb6d8e5571914bbf04ff307b386dd4f1b1c22f71c5d7d3"
        "ce8e0309fd4a9cb04bbdd4b5e161513c18fbb9629b137a57819be6e9129a1e13"
    )
    assert freshness(purpose, 1, (bytes(32),)) == node(bytes(32), purpose.leaf)


def test_only_fresh_evidence_has_a_place_in_a_tree() -> None:
    assert freshness(FOR_ANY_CLIENT, 0, ()) == NO_FRESHNESS
    with pytest.raises(MerkleError):
        freshness(Fresh(leaf(bytes(32), b"", b"")), 1, ())


def test_report_data_names_the_kind_of_hardware() -> None:
    configuration = configuration_hash(b"keys", b"{}")
    assert len({report_data(octet, CACHED, configuration, NO_FRESHNESS) for octet in TeeOctet}) == len(
        TeeOctet
    )
