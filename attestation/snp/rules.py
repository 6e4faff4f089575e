# SPDX-License-Identifier: Apache-2.0
"""The checks of an SEV-SNP report and its certificates, in the order of attestation.md 7.1 and 7.2."""

import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from attestation import binding, x509
from attestation.binding import TeeOctet
from attestation.case import Case, Finding, NotEvaluatedError, Rule
from attestation.policy import AnyMachine
from attestation.snp.certificates import LEAF_NAME, Chain, check_chain
from attestation.snp.product import decode_tcb
from attestation.snp.report import GuestPolicy, PlatformInfo, Report, SigningKey
from attestation.verdict import Decision, VendorRoot
from attestation.x509 import CertificateError, RevocationList

# FIPS 186-5 and SP 800-186 section 3.2.1.4: the order of P-384.
P384_ORDER: Final = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    16,
)

TEE_OCTETS: Final = MappingProxyType(
    {VendorRoot.AMD: TeeOctet.SEV_SNP, VendorRoot.SIMULATED: TeeOctet.SIMULATED}
)
_ROOT_NAMES: Final = MappingProxyType(
    {
        VendorRoot.AMD: "AMD's root",
        VendorRoot.SIMULATED: "a SIMULATED root that the policy names,",
        VendorRoot.UNKNOWN: "the unknown root",
    }
)


def _report_structure(case: Case) -> Finding:
    report = case.report.examine()
    return Finding(True, f"version {report.version}, firmware ABI {report.abi[0]}.{report.abi[1]}")


def _report_signature(case: Case) -> Finding:
    report, leaf = case.report.need(), case.chain.need().leaf
    r, s = report.signature_r, report.signature_s
    if not (0 < r < P384_ORDER and 0 < s < P384_ORDER):
        return Finding(False, "signature numbers outside the range of P-384")
    try:
        leaf.key.verify(encode_dss_signature(r, s), report.signed, ec.ECDSA(SHA384()))
    except InvalidSignature:
        return Finding(False, "a signature that this key did not make over this report")
    return Finding(True, "ECDSA P-384 signature by the key of the certificate")


def _signing_key(case: Case) -> Finding:
    key = case.report.need().signing_key
    if key is SigningKey.VLEK:
        raise NotEvaluatedError("reports signed by a cloud provider's VLEK are not supported yet")
    name = case.chain.need().leaf.certificate.subject.common_name
    return Finding(key is SigningKey.VCEK, f"a report signed by {key.name}, with a {name} certificate")


def _certificate_chain(case: Case) -> Finding:
    chain = case.chain.examine()
    check_chain(chain)
    return Finding(True, " signed by ".join(item.subject.common_name for item in chain.certificates))


def _trust_anchor(case: Case) -> Finding:
    vendor, fingerprint = case.vendor_root, case.chain.need().root.fingerprint.hex()
    return Finding(vendor is not VendorRoot.UNKNOWN, f"{_ROOT_NAMES[vendor]} {fingerprint}")


def _certificate_validity(case: Case) -> Finding:
    certificates = case.chain.need().certificates
    for certificate in certificates:
        if not certificate.not_before <= case.now <= certificate.not_after:
            name, start, end = certificate.subject.common_name, certificate.not_before, certificate.not_after
            return Finding(False, f"{name}, valid from {_date(start)} to {_date(end)}", _at(case.now))
    return Finding(True, f"valid until {_date(min(certificate.not_after for certificate in certificates))}")


def _revocation(case: Case) -> Finding:
    """S8. A list speaks only of what its signer issued; every VCEK has serial 0, so issuers count too."""
    revocations = case.revocation_list.examine()
    chain = case.chain.need()
    _check_list_signer(revocations, chain)
    for certificate in chain.certificates:
        if (
            certificate.issuer.encoded == revocations.issuer.encoded
            and certificate.serial in revocations.serials
        ):
            return Finding(False, f"{certificate.subject.common_name} revoked")
    return Finding(True, f"no certificate of the chain among {len(revocations.serials)} revoked")


def _check_list_signer(revocations: RevocationList, chain: Chain) -> None:
    if revocations.issuer.encoded != chain.root.subject.encoded:
        raise CertificateError(f"expected a list of {chain.root.subject.common_name}")
    x509.check_authority(chain.root, x509.CRL_SIGN)
    x509.check_signed_by(revocations.signed, chain.root)


def _revocation_age(case: Case) -> Finding:
    revocations = case.revocation_list.need()
    start, end = revocations.this_update, revocations.next_update
    current = start - case.policy.clock_skew_seconds <= case.now <= end
    return Finding(current, f"a list from {_date(start)} to {_date(end)}", _at(case.now))


def _certificate_tcb(case: Case) -> Finding:
    report, chain = case.report.need(), case.chain.need()
    certified = decode_tcb(chain.leaf.tcb, chain.product)
    reported = decode_tcb(report.reported_tcb, chain.product)
    return Finding(
        certified == reported, reported.describe(), f"{certified.describe()}, for which the key was certified"
    )


def _chip_identity(case: Case) -> Finding:
    report, leaf = case.report.need(), case.chain.need().leaf
    expected = f"the certified chip {leaf.chip_id.hex()}"
    if not any(report.chip_id):
        return Finding(False, "an identity masked by the host", expected)
    return Finding(report.chip_id == leaf.chip_id, f"chip {report.chip_id.hex()}", expected)


def _product_agreement(case: Case) -> Finding:
    """S11. Version 2 does not name the processor: there the certificates have to agree with each other."""
    report, chain = case.report.need(), case.chain.need()
    certified = f"certificate for {chain.leaf.product.value}, root for {chain.product.value}"
    if report.cpu is None:
        return Finding(chain.leaf.product is chain.product, certified)
    agreed = report.cpu.product is chain.leaf.product is chain.product
    return Finding(agreed, f"{report.cpu.describe()}, {certified}")


def _report_data(case: Case) -> Finding:
    report, vendor = case.report.need(), case.vendor_root
    if vendor is VendorRoot.UNKNOWN:
        raise NotEvaluatedError("the chain ends in no accepted root")
    configuration = binding.configuration_hash(case.evidence.keys, case.evidence.claims)
    octet, mode = TEE_OCTETS[vendor], binding.CACHED
    expected = binding.report_data(octet, mode, configuration, binding.NO_FRESHNESS)
    bound = hmac.compare_digest(expected, report.report_data)
    return Finding(
        bound, report.report_data.hex(), f"{expected.hex()}, which commits to these keys and claims"
    )


def _measurement(case: Case) -> Finding:
    measurement, accepted = case.report.need().measurement, case.policy.measurements
    expected = (
        ", ".join(sorted(known.hex() for known in accepted)) or "a measurement, but the policy names none"
    )
    return Finding(measurement in accepted, measurement.hex(), expected)


def _debug(case: Case) -> Finding:
    if GuestPolicy.DEBUG not in case.report.need().policy:
        return Finding(True, "debugging is off")
    return Finding(case.policy.unsafe_allow_debug, "debugging is on: the host can read the guest's memory")


def _migration_agent(case: Case) -> Finding:
    migratable = GuestPolicy.MIGRATION_AGENT in case.report.need().policy
    return Finding(not migratable, "a migration agent is allowed" if migratable else "no migration agent")


def _vmpl(case: Case) -> Finding:
    vmpl = case.report.need().vmpl
    return Finding(vmpl == 0, f"VMPL {vmpl}")


def _chip_key_mask(case: Case) -> Finding:
    masked = case.report.need().chip_key_masked
    return Finding(not masked, "the chip's key is masked" if masked else "the chip's key is in use")


def _tcb_floor(select: Callable[[Report], bytes], case: Case) -> Finding:
    product = case.chain.need().product
    floor = case.policy.tcb_floors.of(product)
    tcb = decode_tcb(select(case.report.need()), product)
    return Finding(tcb.covers(floor), tcb.describe(), f"at least {floor.describe()}")


def _alias_check(case: Case) -> Finding:
    checked = PlatformInfo.ALIAS_CHECK_COMPLETE in case.report.need().platform_info
    return Finding(checked, "memory checked for aliases" if checked else "memory not checked for aliases")


def _product(case: Case) -> Finding:
    product = case.chain.need().product
    expected = " or ".join(sorted(accepted.value for accepted in case.policy.products)) or "none"
    return Finding(product in case.policy.products, product.value, expected)


def _machine(case: Case) -> Finding:
    chip_id, machines = case.report.need().chip_id, case.policy.machines
    if isinstance(machines, AnyMachine):
        return Finding(True, f"chip {chip_id.hex()}; the policy accepts any machine")
    expected = ", ".join(sorted(known.hex() for known in machines)) or "a machine, but the policy names none"
    return Finding(chip_id in machines, f"chip {chip_id.hex()}", expected)


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _at(now: int) -> str:
    return f"one valid at {_date(now)}"


_UNTRUSTED: Final = Decision.UNTRUSTED
_EXPIRED: Final = Decision.EXPIRED
_PLATFORM: Final = Decision.WRONG_PLATFORM

# Every TCB the report states, and none compared with another: genuine machines order them differently (A8).
_TCBS: Final[tuple[tuple[str, Callable[[Report], bytes]], ...]] = (
    ("reported", lambda report: report.reported_tcb),
    ("committed", lambda report: report.committed_tcb),
    ("launch", lambda report: report.launch_tcb),
    ("current", lambda report: report.current_tcb),
)
_TCB_WHY: Final = "Older firmware has published holes through which the host can read or forge a guest."

STRUCTURE: Final = (
    Rule(
        "S1 S2 S4",
        "report structure",
        _UNTRUSTED,
        "a report of version 2 to 5 with every reserved bit zero",
        _report_structure,
        "Bytes without a known meaning are where forgeries hide.",
    ),
    Rule(
        "S3",
        "report signature",
        _UNTRUSTED,
        "an ECDSA P-384 signature by the key of the certificate",
        _report_signature,
        "Only the processor's own key can sign for what runs on it.",
    ),
    Rule(
        "S5",
        "signing key",
        _UNTRUSTED,
        f"a report signed by the chip's key, with a {LEAF_NAME} certificate",
        _signing_key,
        "The report names the kind of key that signed it, and another kind must not pass for it.",
    ),
    Rule(
        "S6 S12",
        "certificate chain",
        _UNTRUSTED,
        "a certificate of the chip signed by its product's authority, signed by its product's root",
        _certificate_chain,
        "The manufacturer vouches for the processor's key in two steps.",
    ),
    Rule(
        "S6",
        "trust anchor",
        _UNTRUSTED,
        "AMD's root for this product, or a simulated root that the policy names",
        _trust_anchor,
        "Anyone can make a chain that is right in itself; only the known root makes it the manufacturer's.",
    ),
    Rule(
        "S7",
        "certificate validity",
        _EXPIRED,
        "certificates valid now",
        _certificate_validity,
        "The manufacturer vouches for a limited time.",
    ),
    Rule(
        "S8",
        "revocation",
        _UNTRUSTED,
        "a revocation list by the root with no certificate of this chain",
        _revocation,
        "The manufacturer withdraws keys that have leaked.",
    ),
    Rule(
        "S8",
        "revocation list age",
        _EXPIRED,
        "a current revocation list",
        _revocation_age,
        "An old list does not know the keys withdrawn since.",
    ),
    Rule(
        "S9",
        "certificate TCB",
        _UNTRUSTED,
        "the patch levels the key was certified for",
        _certificate_tcb,
        "The patch levels must be the manufacturer's statement, not the report's own.",
    ),
    Rule(
        "S10",
        "chip identity",
        _UNTRUSTED,
        "the certified chip",
        _chip_identity,
        "The report must come from the one processor its certificate is for.",
    ),
    Rule(
        "S11",
        "product agreement",
        _UNTRUSTED,
        "one product in report, certificate and root",
        _product_agreement,
        "Each generation of processors has its own keys and its own rules.",
    ),
)

APPRAISAL: Final = (
    Rule(
        "A1",
        "report data binding",
        _UNTRUSTED,
        "a commitment to these keys and claims",
        _report_data,
        "The hardware signed for exactly these encryption keys, so nobody between can put in their own.",
    ),
    Rule(
        "A2",
        "measurement",
        Decision.WRONG_MEASUREMENT,
        "an accepted measurement",
        _measurement,
        "The code that was started is the code you accept, to the last byte.",
    ),
    Rule(
        "A3",
        "debug",
        _PLATFORM,
        "debugging off",
        _debug,
        "The host can read and change a guest that allows debugging.",
    ),
    Rule(
        "A4",
        "migration agent",
        _PLATFORM,
        "no migration agent",
        _migration_agent,
        "A migration agent can move the guest, with its memory, to another machine.",
    ),
    Rule(
        "A5",
        "vmpl",
        _PLATFORM,
        "VMPL 0",
        _vmpl,
        "Only the most privileged level of a guest speaks for all of it.",
    ),
    Rule(
        "A6",
        "chip key mask",
        _PLATFORM,
        "the chip's key in use",
        _chip_key_mask,
        "A machine that hides its key does not sign, so a signed report that says so is inconsistent.",
    ),
    *(
        Rule(
            "A7",
            f"tcb floor ({name})",
            _PLATFORM,
            "current firmware",
            partial(_tcb_floor, select),
            _TCB_WHY,
        )
        for name, select in _TCBS
    ),
    Rule(
        "A9",
        "alias check",
        _PLATFORM,
        "memory checked for aliases",
        _alias_check,
        "Memory modules that lie about their size would let the host swap the guest's memory.",
    ),
    Rule(
        "A14",
        "product",
        _PLATFORM,
        "an accepted product",
        _product,
        "The keys of some generations of processors have been extracted.",
    ),
    Rule(
        "A14",
        "machine",
        _PLATFORM,
        "an accepted machine",
        _machine,
        "The same code on a machine in an attacker's hands is not the same.",
    ),
)

RULES: Final = STRUCTURE + APPRAISAL
