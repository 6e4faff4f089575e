# SPDX-License-Identifier: Apache-2.0
"""Form, signatures and certificates of an SEV-SNP report: the checks of attestation.md 7.1, in that order.

No setting turns one of them off.
"""

from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from attestation.case import Finding, Part, Rule, WaivedError
from attestation.snp.case import NoCrl, SnpCase
from attestation.snp.product import decode_tcb
from attestation.snp.report import SigningKey
from attestation.verdict import Decision, VendorRoot
from attestation.x509 import RevocationList

# FIPS 186-5 and SP 800-186 section 3.2.1.4: the order of P-384.
P384_ORDER: Final = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    16,
)

_ROOT_NAMES: Final = MappingProxyType(
    {
        VendorRoot.AMD: "AMD's root",
        VendorRoot.SIMULATED: "a SIMULATED root that the policy names,",
        VendorRoot.UNKNOWN: "the unknown root",
    }
)


def _report_structure(case: SnpCase) -> Finding:
    report = case.report.examine()
    return Finding(True, f"version {report.version}, firmware ABI {report.abi[0]}.{report.abi[1]}")


def _report_signature(case: SnpCase) -> Finding:
    report, leaf = case.report.need(), case.chain.need().leaf
    r, s = report.signature_r, report.signature_s
    if not (0 < r < P384_ORDER and 0 < s < P384_ORDER):
        return Finding(False, "signature numbers outside the range of P-384")
    try:
        leaf.key.verify(encode_dss_signature(r, s), report.signed, ec.ECDSA(SHA384()))
    except InvalidSignature:
        return Finding(False, "a signature that this key did not make over this report")
    return Finding(True, "ECDSA P-384 signature by the key of the certificate")


def _signing_key(case: SnpCase) -> Finding:
    key, leaf = case.report.need().signing_key, case.chain.need().leaf
    name = leaf.certificate.subject.common_name
    return Finding(key is leaf.kind, f"a report signed by {key.name}, with a {name} certificate")


def _certificate_chain(case: SnpCase) -> Finding:
    chain = case.links.examine()
    return Finding(True, " signed by ".join(item.subject.common_name for item in chain.certificates))


def _trust_anchor(case: SnpCase) -> Finding:
    vendor, fingerprint = case.vendor_root, case.chain.need().root.fingerprint.hex()
    return Finding(vendor is not VendorRoot.UNKNOWN, f"{_ROOT_NAMES[vendor]} {fingerprint}")


def _certificate_validity(case: SnpCase) -> Finding:
    certificates = case.chain.need().certificates
    for certificate in certificates:
        if not certificate.not_before <= case.now <= certificate.not_after:
            name, start, end = certificate.subject.common_name, certificate.not_before, certificate.not_after
            return Finding(False, f"{name}, valid from {_date(start)} to {_date(end)}", _at(case.now))
    return Finding(True, f"valid until {_date(min(certificate.not_after for certificate in certificates))}")


def _revocation(case: SnpCase) -> Finding:
    """S8. Every VCEK has serial 0, so a serial alone says nothing: the issuer counts too."""
    revocations = _list(case).examine()
    for certificate in case.chain.need().certificates:
        if revocations.names(certificate):
            return Finding(False, f"{certificate.subject.common_name} revoked")
    return Finding(
        True,
        f"no certificate of the chain among {len(revocations.serials) + len(revocations.others)} revoked",
    )


def _revocation_age(case: SnpCase) -> Finding:
    revocations = _list(case).need()
    start, end = revocations.this_update, revocations.next_update
    current = start - case.policy.clock_skew_seconds <= case.now <= end
    return Finding(current, f"a list from {_date(start)} to {_date(end)}", _at(case.now))


def _list(case: SnpCase) -> Part[RevocationList]:
    if isinstance(case.revocation_list, NoCrl):
        raise WaivedError("the caller has no revocation list and said so")
    return case.revocation_list


def _certificate_tcb(case: SnpCase) -> Finding:
    report, chain = case.report.need(), case.chain.need()
    certified = decode_tcb(chain.leaf.tcb, chain.product)
    reported = decode_tcb(report.reported_tcb, chain.product)
    return Finding(
        certified == reported, reported.describe(), f"{certified.describe()}, for which the key was certified"
    )


def _chip_identity(case: SnpCase) -> Finding:
    """S10. A VLEK certifies no chip, so there is nothing to compare; whose it is, is another check."""
    report, leaf = case.report.need(), case.chain.need().leaf
    by_chip = leaf.kind is SigningKey.VCEK
    expected = (
        f"the certified chip {leaf.chip_id.hex()}" if by_chip else "a chip that its provider vouches for"
    )
    if not any(report.chip_id):
        accepted = case.policy.snp.accept_masked_chip_id
        return Finding(accepted, "an identity masked by the host", expected, noted=accepted)
    same = report.chip_id == leaf.chip_id or not by_chip
    return Finding(same, f"chip {report.chip_id.hex()}", expected)


def _product_agreement(case: SnpCase) -> Finding:
    """S11. Version 2 does not name the processor: there the certificates have to agree with each other."""
    report, chain = case.report.need(), case.chain.need()
    certified = f"certificate for {chain.leaf.product.value}, root for {chain.product.value}"
    if report.cpu is None:
        return Finding(chain.leaf.product is chain.product, certified)
    agreed = report.cpu.product is chain.leaf.product is chain.product
    return Finding(agreed, f"{report.cpu.describe()}, {certified}")


@lru_cache(maxsize=256)
def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _at(now: int) -> str:
    return f"one valid at {_date(now)}"


STRUCTURE: Final[tuple[Rule[SnpCase], ...]] = (
    Rule(
        "S1 S2 S4",
        "report structure",
        Decision.UNTRUSTED,
        "a report of version 2 to 5 with every reserved bit zero",
        _report_structure,
        "Bytes without a known meaning are where forgeries hide.",
    ),
    Rule(
        "S3",
        "report signature",
        Decision.UNTRUSTED,
        "an ECDSA P-384 signature by the key of the certificate",
        _report_signature,
        "Only the processor's own key can sign for what runs on it.",
    ),
    Rule(
        "S5",
        "signing key",
        Decision.UNTRUSTED,
        "a report signed by the kind of key that the certificate is for",
        _signing_key,
        "The report names the kind of key that signed it, and another kind must not pass for it.",
    ),
    Rule(
        "S6 S12",
        "certificate chain",
        Decision.UNTRUSTED,
        "a certificate of the key signed by its product's authority, signed by its product's root",
        _certificate_chain,
        "The manufacturer vouches for the processor's key in two steps.",
    ),
    Rule(
        "S6",
        "trust anchor",
        Decision.UNTRUSTED,
        "AMD's root for this product, or a simulated root that the policy names",
        _trust_anchor,
        "Anyone can make a chain that is right in itself; only the known root makes it the manufacturer's.",
    ),
    Rule(
        "S7",
        "certificate validity",
        Decision.EXPIRED,
        "certificates valid now",
        _certificate_validity,
        "The manufacturer vouches for a limited time.",
    ),
    Rule(
        "S8",
        "revocation",
        Decision.UNTRUSTED,
        "a revocation list by the root with no certificate of this chain",
        _revocation,
        "The manufacturer withdraws keys that have leaked.",
    ),
    Rule(
        "S8",
        "revocation list age",
        Decision.EXPIRED,
        "a current revocation list",
        _revocation_age,
        "An old list does not know the keys withdrawn since.",
    ),
    Rule(
        "S9",
        "certificate TCB",
        Decision.UNTRUSTED,
        "the patch levels the key was certified for",
        _certificate_tcb,
        "The patch levels must be the manufacturer's statement, not the report's own.",
    ),
    Rule(
        "S10",
        "chip identity",
        Decision.UNTRUSTED,
        "the certified chip",
        _chip_identity,
        "The report must come from the one processor its certificate is for.",
    ),
    Rule(
        "S11",
        "product agreement",
        Decision.UNTRUSTED,
        "one product in report, certificate and root",
        _product_agreement,
        "Each generation of processors has its own keys and its own rules.",
    ),
)
