# SPDX-License-Identifier: Apache-2.0
"""The known values of wire.md 6.3."""

from attestation import binding
from attestation.binding import (
    CACHED,
    ConfigurationHash,
    TeeOctet,
    configuration_hash,
    gpu_nonce,
    report_data,
)

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
    assert report_data(
        TeeOctet.SEV_SNP, CACHED, configuration_hash(b"keys", b"{}"), binding.NO_FRESHNESS
    ).hex() == (
        "d26e10a3f0820cb78e32fcd08e1a047a7bb241b26694ae7623625cedc37f4db8"
        "8e76cd9d1da9050c31288986db8fdd581b44475536ecdb6cb136262acb772deb"
    )


def test_nonce_of_a_gpu() -> None:
    assert gpu_nonce(T).hex() == "90e2ded0d0cfd20d2031a5f445607cfd803e06b1ebfa360d88963438236012ec"


def test_report_data_in_fresh_mode() -> None:
    leaf = bytes.fromhex("febf557d6dc01d585eb18301d34f814dc58d41b3b052ce33c9eeb752b1984bd1")
    assert report_data(TeeOctet.SEV_SNP, 1, configuration_hash(b"keys", b"{}"), leaf).hex() == (
        "3102db9435da18403ceb6d8e5571914bbf04ff307b386dd4f1b1c22f71c5d7d3"
        "ce8e0309fd4a9cb04bbdd4b5e161513c18fbb9629b137a57819be6e9129a1e13"
    )


def test_report_data_names_the_kind_of_hardware() -> None:
    configuration = configuration_hash(b"keys", b"{}")
    assert len(
        {report_data(octet, CACHED, configuration, binding.NO_FRESHNESS) for octet in TeeOctet}
    ) == len(TeeOctet)
