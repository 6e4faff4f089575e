# SPDX-License-Identifier: Apache-2.0
"""The chip's certificate carries exactly the extensions of its product (attestation.md 3.2)."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from attestation import x509
from attestation.simulated.snp import TCB
from attestation.snp.certificates import (
    AMD_ARC,
    HARDWARE_ID,
    PRODUCT_NAME,
    PROVIDER,
    STRUCTURE_VERSION,
    check_chain,
    parse_chain,
    parse_leaf,
)
from attestation.snp.product import Product
from attestation.snp.report import SigningKey
from attestation.x509 import Certificate, CertificateError, Extension
from tests.fakes.hardware import MEASUREMENT, NOW, guest, vendor

LEAF, INTERMEDIATE, ROOT = guest().chain


def leaf(changes: dict[str, bytes | None]) -> Certificate:
    """The simulated leaf with extensions changed, or left out for None."""
    certificate = x509.parse_certificate(LEAF)
    extensions = dict(certificate.extensions)
    for identifier, value in changes.items():
        if value is None:
            del extensions[identifier]
        else:
            extensions[identifier] = Extension(False, value)
    return replace(certificate, extensions=extensions)


def test_leaf_says_chip_product_and_patch_levels() -> None:
    parsed = parse_leaf(leaf({}))
    assert (parsed.product, parsed.tcb, parsed.chip_id) == (Product.GENOA, TCB, guest().chip_id)


@pytest.mark.parametrize("name", [b"Genoa", b"Genoa-B1"])
def test_product_may_have_a_stepping(name: bytes) -> None:
    assert parse_leaf(leaf({PRODUCT_NAME: b"\x16" + bytes((len(name),)) + name})).product is Product.GENOA


def test_hardware_id_may_be_wrapped() -> None:
    assert parse_leaf(leaf({HARDWARE_ID: b"\x04\x40" + guest().chip_id})).chip_id == guest().chip_id


def test_turin_has_its_own_layout() -> None:
    levels: dict[str, bytes | None] = {f"{AMD_ARC}.3.4": None, f"{AMD_ARC}.3.9": b"\x02\x01\x05"}
    identity: dict[str, bytes | None] = {PRODUCT_NAME: b"\x16\x05Turin", STRUCTURE_VERSION: b"\x02\x01\x01"}
    parsed = parse_leaf(leaf({**levels, **identity, HARDWARE_ID: bytes([3]) * 8}))
    assert parsed.product is Product.TURIN
    assert parsed.tcb == bytes.fromhex("050a001900000054")
    assert parsed.chip_id == bytes([3]) * 8 + bytes(56)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({PRODUCT_NAME: None}, "product name"),
        ({PRODUCT_NAME: b"\x16\x04Rome"}, "known product"),
        ({PRODUCT_NAME: b"\x16\x06Genoa2"}, "known product"),
        ({PRODUCT_NAME: b"\x0c\x05Genoa"}, "DER tag"),
        ({STRUCTURE_VERSION: b"\x02\x01\x01"}, "structure version"),
        ({f"{AMD_ARC}.3.8": None}, "missing or unexpected"),
        ({f"{AMD_ARC}.3.9": b"\x02\x01\x00"}, "missing or unexpected"),
        ({f"{AMD_ARC}.5": b"\x16\x01x"}, "missing or unexpected"),
        ({f"{AMD_ARC}.3.8": b"\x02\x02\x01\x00"}, "one byte"),
        ({f"{AMD_ARC}.3.8": b"\x02\x02\x00\x01"}, "canonical"),
        ({f"{AMD_ARC}.3.8": b"\x02\x01\x01\x00"}, "more bytes"),
        ({HARDWARE_ID: bytes(8)}, "DER tag"),
        ({HARDWARE_ID: b"\x04\x08" + bytes(8)}, "64 bytes"),
    ],
)
def test_other_extensions_are_refused(changes: dict[str, bytes | None], complaint: str) -> None:
    with pytest.raises(CertificateError, match=complaint):
        parse_leaf(leaf(changes))


def test_leaf_has_a_p384_key() -> None:
    small = ec.generate_private_key(ec.SECP256R1()).public_key()
    for key, complaint in (
        (small.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), "P-384"),
        (x509.parse_certificate(ROOT).public_key_der, "P-384"),
        (b"", "unreadable"),
    ):
        with pytest.raises(CertificateError, match=complaint):
            parse_leaf(replace(leaf({}), public_key_der=key))


@pytest.mark.parametrize(
    "chain",
    [
        (LEAF, ROOT, INTERMEDIATE),
        (INTERMEDIATE, INTERMEDIATE, ROOT),
        (LEAF, ROOT, ROOT),
        (LEAF, INTERMEDIATE, ROOT.replace(b"ARK-Genoa", b"ARK-Milan")),
        (LEAF, INTERMEDIATE, ROOT.replace(b"ARK-Genoa", b"ARK-Sorts")),
    ],
)
def test_names_have_an_order(chain: tuple[bytes, ...]) -> None:
    with pytest.raises(CertificateError, match="expected"):
        parse_chain(chain)


def test_issuer_is_the_name_above() -> None:
    other = INTERMEDIATE.replace(b"Simulation", b"simulation")
    with pytest.raises(CertificateError, match="expected the issuer"):
        check_chain(parse_chain((LEAF, other, ROOT)))
    check_chain(parse_chain(guest().chain))


def test_leaf_is_of_one_of_two_kinds() -> None:
    with pytest.raises(CertificateError, match="SEV-VCEK or SEV-VLEK"):
        parse_leaf(x509.parse_certificate(INTERMEDIATE))


@pytest.mark.parametrize(
    "value",
    [b"\x16\x00", b"\x16\x01\x1b", b"\x16\x02\xc3\xa9", b"\x0c\x01x", b"x", b"\x16\x82\x01\x00" + b"x" * 256],
)
def test_provider_is_a_short_printable_text(value: bytes) -> None:
    setting = vendor().setting(MEASUREMENT, at=NOW, signing_key=SigningKey.VLEK)
    leaf = x509.parse_certificate(vendor().start(setting).chain[0])
    assert parse_leaf(leaf).provider
    assert not parse_leaf(leaf).chip_id
    extensions = {**leaf.extensions, PROVIDER: x509.Extension(critical=False, value=value)}
    with pytest.raises(CertificateError):
        parse_leaf(replace(leaf, extensions=extensions))
