# SPDX-License-Identifier: Apache-2.0
"""A TDX quote within an appraisal: whose root it leads to, what its report data has to be, and the verdict.

The checks are those of `attestation.tdx`; simulated roots and the settings for both vendors are added here.
"""

from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Final

from attestation import binding
from attestation.binding import TeeOctet
from attestation.evidence import TDX
from attestation.policy import INTEL_ROOT, Measurement, Policy
from attestation.snp.case import Commitment, ExpectedReportData, NotCompared
from attestation.tdx import p256
from attestation.tdx.collateral import Collateral, CollateralError, decode_collateral
from attestation.tdx.details import tdx_details
from attestation.tdx.platform import VerifiedPlatforms
from attestation.tdx.policy import ReportDataExpectation
from attestation.tdx.quote import Quote, QuoteError, parse_quote
from attestation.tdx.rules import check_quote_case, open_quote_case
from attestation.verdict import Check, Decision, VendorRoot, Verdict
from attestation.x509 import CertificateError

TEE_OCTETS: Final = MappingProxyType(
    {VendorRoot.INTEL: TeeOctet.TDX, VendorRoot.SIMULATED: TeeOctet.SIMULATED}
)


class NoCollateral(Enum):
    """Say that there is no collateral: what needs it is not evaluated, and the verdict not verified."""

    NO_COLLATERAL = "no collateral"


@dataclass(frozen=True, slots=True)
class TdxEvidence:
    """A quote, which brings its certificates, with Intel's statements about the platform."""

    quote: bytes
    collateral: bytes | NoCollateral
    report_data: ExpectedReportData


def appraise_tdx(evidence: TdxEvidence, policy: Policy, now: int, platforms: VerifiedPlatforms) -> Verdict:
    """Make every check of the quote and of what comes with it."""
    quote = _read(evidence.quote)
    named = _named_root(quote, policy)
    form, collateral = _open_collateral(evidence.collateral)
    case = open_quote_case(
        evidence.quote,
        collateral,
        replace(
            policy.tdx,
            clock_skew_seconds=policy.clock_skew_seconds,
            unsafe_allow_debug=policy.unsafe_allow_debug,
        ),
        frozenset({INTEL_ROOT}) | policy.simulated_roots.fingerprints,
        _expected(evidence.report_data, named),
        now,
        platforms=platforms,
    )
    checks = check_quote_case(case)
    if isinstance(evidence.collateral, NoCollateral):
        checks = tuple(_without_collateral(check) for check in checks)
    passed = {check.name for check in checks if check.ok}
    proven = "certificate chain" in passed and "trust anchor" in passed
    vendor_root = named if proven else VendorRoot.UNKNOWN
    return Verdict(
        checks=(form, *checks),
        tee=TDX,
        vendor_root=vendor_root,
        simulated=vendor_root is VendorRoot.SIMULATED,
        measurement=Measurement(b"" if quote is None else quote.body.mrtd),
        claims=None,
        details=tdx_details(case),
    )


def _read(encoded: bytes) -> Quote | None:
    """The quote, for what is not a check; the check of its structure says what is wrong with it."""
    try:
        return parse_quote(encoded)
    except QuoteError:
        return None


def _named_root(quote: Quote | None, policy: Policy) -> VendorRoot:
    """Whose root the quote's chain names by its public key. Whether it leads there is another check."""
    if quote is None or not quote.certificates:
        return VendorRoot.UNKNOWN
    try:
        fingerprint = p256.parse_certificate(quote.certificates[-1]).fingerprint
    except CertificateError:
        return VendorRoot.UNKNOWN
    known = dict.fromkeys(policy.simulated_roots.fingerprints, VendorRoot.SIMULATED)
    return {**known, INTEL_ROOT: VendorRoot.INTEL}.get(fingerprint, VendorRoot.UNKNOWN)


def _expected(wanted: ExpectedReportData, root: VendorRoot) -> bytes | ReportDataExpectation:
    """The report data to compare with. Under an unknown root there is none that could be right."""
    if isinstance(wanted, NotCompared):
        return ReportDataExpectation.NOT_COMPARED
    if not isinstance(wanted, Commitment):
        return wanted
    octet = TEE_OCTETS.get(root, TeeOctet.TDX)
    return binding.report_data(octet, wanted.mode, wanted.configuration, wanted.freshness)


def _open_collateral(encoded: bytes | NoCollateral) -> tuple[Check, Collateral | None]:
    """Intel's statements, and whether they have their form."""
    ok, waived, collateral = True, False, None
    if isinstance(encoded, NoCollateral):
        ok, waived, found = False, True, "not evaluated: the caller has no collateral and said so"
    else:
        found = f"{len(encoded)} bytes of collateral"
        try:
            collateral = decode_collateral(encoded)
        except CollateralError as error:
            ok, found = False, f"a defect ({error})"
    check = Check(
        name="collateral",
        ok=ok,
        expected="TCB info, quoting enclave identity and revocation lists in their form",
        found=found,
        why="Intel's statements say what is known about this platform.",
        section="T7 T8",
        decision=Decision.UNTRUSTED,
        evaluated=not waived,
        waived=waived,
    )
    return check, collateral


def _without_collateral(check: Check) -> Check:
    """What is not evaluated for want of collateral is waived. A defect of the quote fails by itself."""
    return check if check.evaluated else check._replace(waived=True)
