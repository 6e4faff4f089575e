# SPDX-License-Identifier: Apache-2.0
"""Every link between Intel's root and a statement or a platform is needed: each is broken by itself."""

from dataclasses import replace

import pytest
from cryptography import x509 as cryptography_x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from attestation import x509
from attestation.case import Part, Unreadable
from attestation.simulated import seed as seeds
from attestation.simulated.collateral import Collateral as Given
from attestation.simulated.intel import ATTACKER, GENUINE
from attestation.simulated.intel_certificates import ROOT as ROOT_NAME
from attestation.simulated.intel_certificates import to_pem
from attestation.tdx import certificates, p256
from attestation.tdx.certificates import PckChain, check_chain, check_list, parse_chain, parse_issuer_chain
from attestation.tdx.collateral import decode_collateral
from attestation.tdx.platform import Platform, examine_platform
from attestation.tdx.quote import parse_quote
from attestation.x509 import Certificate, CertificateError
from tests.unit.attestation.tdx.simulated import GOOD, INTEL, collateral_of, quote_of

QUOTE = parse_quote(quote_of(GOOD))
GIVEN = INTEL.power_on(GOOD).collateral
OTHERS = INTEL.power_on(replace(GOOD, collateral_authority=ATTACKER)).collateral
CHAIN = parse_chain(QUOTE.certificates)
SIGNER, ROOT = collateral_of(GOOD).tcb_info_chain
OTHER_ROOT = decode_collateral(OTHERS.encode()).tcb_info_chain[1]


def unsigned(certificate: Certificate) -> Certificate:
    """The certificate with the signature of something else."""
    other = CHAIN.root if certificate is not CHAIN.root else CHAIN.intermediate
    return replace(certificate, signed=replace(certificate.signed, signature=other.signed.signature))


def broken(encoded: bytes) -> bytes:
    """The certificate with one bit of its signature changed."""
    return encoded[:-1] + bytes((encoded[-1] ^ 1,))


def examine(given: Given) -> Platform:
    return examine_platform(QUOTE, decode_collateral(given.encode()))


def complaint(part: Part[str]) -> str:
    """Why it is not proven."""
    assert isinstance(part.outcome, Unreadable)
    return str(part.outcome.error)


@pytest.mark.parametrize(
    "chain",
    [
        replace(CHAIN, pck=replace(CHAIN.pck, certificate=unsigned(CHAIN.pck.certificate))),
        replace(CHAIN, intermediate=unsigned(CHAIN.intermediate)),
        replace(CHAIN, root=unsigned(CHAIN.root)),
    ],
    ids=["leaf", "intermediate", "root"],
)
def test_every_certificate_is_signed_by_the_next(chain: PckChain) -> None:
    check_chain(CHAIN)
    with pytest.raises(CertificateError, match="signature is not by"):
        check_chain(chain)


def test_leaf_is_for_signatures() -> None:
    authority = replace(CHAIN.pck.certificate, extensions=CHAIN.intermediate.extensions)
    with pytest.raises(CertificateError, match="for signatures, and no authority"):
        check_chain(replace(CHAIN, pck=replace(CHAIN.pck, certificate=authority)))


def test_lists_are_signed_by_an_authority_for_lists() -> None:
    revocations = p256.parse_revocation_list(collateral_of(GOOD).pck_crl)
    check_list(revocations, CHAIN.intermediate)
    usage = x509.Extension(critical=True, value=bytes.fromhex("03020204"))
    for_certificates = {**CHAIN.intermediate.extensions, x509.KEY_USAGE: usage}
    with pytest.raises(CertificateError, match="expected key usage 0x02"):
        check_list(revocations, replace(CHAIN.intermediate, extensions=for_certificates))


def test_names_of_issuers_are_checked() -> None:
    name = certificates.TCB_SIGNING_NAME
    assert parse_issuer_chain((SIGNER, ROOT), name).root == CHAIN.root
    with pytest.raises(CertificateError, match=f"expected {name}, found Intel SGX Root CA"):
        parse_issuer_chain((ROOT, ROOT), name)
    with pytest.raises(CertificateError, match=f"expected Intel SGX Root CA, found {name}"):
        parse_issuer_chain((SIGNER, SIGNER), name)


def test_lists_of_another_authority_prove_nothing() -> None:
    good = examine(GIVEN)
    assert good.proven
    for spoiled in (
        replace(GIVEN, root_ca_crl=OTHERS.root_ca_crl),
        replace(GIVEN, pck_crl=OTHERS.pck_crl),
    ):
        assert "signature is not by" in complaint(examine(spoiled).not_revoked)


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        ((SIGNER, OTHER_ROOT), "ends in another root"),
        ((SIGNER, broken(ROOT)), "signature is not by"),
        ((broken(SIGNER), ROOT), "signature is not by"),
    ],
    ids=["root", "root's signature", "signer's signature"],
)
@pytest.mark.parametrize("statement", ["tcb info", "qe identity"])
def test_statements_come_with_the_chain_of_the_platforms_root(
    chain: tuple[bytes, bytes], words: str, statement: str
) -> None:
    pem = to_pem(*chain)
    given = (
        replace(GIVEN, tcb_info_issuer_chain=pem)
        if statement == "tcb info"
        else replace(GIVEN, qe_identity_issuer_chain=pem)
    )
    assert words in complaint(examine(given).one_root)


def signer_that_is_an_authority() -> bytes:
    """The root says of the key that signs statements that it may certify others."""
    key = seeds.derive_key(INTEL.seed, f"{GENUINE} {ROOT_NAME}".encode(), ec.SECP256R1())
    own = cryptography_x509.load_der_x509_certificate(SIGNER)
    dates = own.not_valid_before_utc, own.not_valid_after_utc
    usage = own.extensions.get_extension_for_class(cryptography_x509.KeyUsage)
    builder = (
        cryptography_x509.CertificateBuilder(own.issuer, own.subject, own.public_key(), 7, *dates)
        .add_extension(usage.value, critical=True)
        .add_extension(cryptography_x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


def test_statements_are_not_signed_by_an_authority() -> None:
    pem = to_pem(signer_that_is_an_authority(), ROOT)
    found = examine(replace(GIVEN, tcb_info_issuer_chain=pem, qe_identity_issuer_chain=pem))
    for part in (found.tcb_info_signed, found.qe_identity_signed):
        assert "for signatures, and no authority" in complaint(part)
