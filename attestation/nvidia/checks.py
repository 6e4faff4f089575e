# SPDX-License-Identifier: Apache-2.0
"""What a GPU's report proves, as named checks.

Its chain leads to NVIDIA's root, the key of the running firmware signed the report, and the report answers
your nonce. Two things cannot be checked with the report and its chain, and are waived by name: revocation,
which NVIDIA answers online only (OCSP), and the measurements, whose right values NVIDIA publishes for each
driver and VBIOS. So a verdict on a GPU is never `verified` here, and never speaks for the CPU beside it: that
takes a nonce which the CPU's evidence fixes (`binding.gpu_nonce`, X6).
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

from attestation.case import Finding, Part, Rule, Unreadable, WaivedError, make_check
from attestation.nvidia import p384
from attestation.nvidia.certificates import NVIDIA_ROOT, GpuChain, check_chain, parse_chain
from attestation.nvidia.measurements import (
    DRIVER_VERSION,
    FIRMWARE_ID,
    VBIOS_VERSION,
    GpuReport,
    GpuReportError,
    parse_report,
)
from attestation.snp.case import NotCompared
from attestation.snp.report import Measurement
from attestation.verdict import Decision, VendorRoot, Verdict
from attestation.x509 import CertificateError

NVIDIA_GPU: Final = "nvidia-gpu"
DEFECTS: Final = (CertificateError, GpuReportError)
Value = TypeVar("Value")
Encoded = TypeVar("Encoded")


@dataclass(frozen=True, slots=True)
class GpuCase:
    """One appraisal's material, every part parsed once. `simulated` are roots besides NVIDIA's."""

    report: Part[GpuReport]
    chain: Part[GpuChain]
    nonce: bytes | NotCompared
    simulated: frozenset[bytes]
    now: int

    @property
    def vendor_root(self) -> VendorRoot:
        """Whose root the chain names. Whether it leads there is another check."""
        fingerprint = self.chain.need().root.fingerprint
        if fingerprint == NVIDIA_ROOT:
            return VendorRoot.NVIDIA
        return VendorRoot.SIMULATED if fingerprint in self.simulated else VendorRoot.UNKNOWN


def verify_gpu_report(
    report: bytes,
    chain: tuple[bytes, ...],
    simulated: frozenset[bytes],
    now: int,
    nonce: bytes | NotCompared,
) -> Verdict:
    """Judge a report with its chain, leaf first; bad evidence raises nothing."""
    case = GpuCase(
        Part("report", _attempt(parse_report, report)),
        Part("certificate chain", _attempt(parse_chain, chain)),
        nonce,
        simulated,
        now,
    )
    checks = tuple(make_check(rule, case) for rule in RULES)
    proven = {check.name for check in checks if check.ok} >= {"certificate chain", "trust anchor"}
    root = case.vendor_root if proven else VendorRoot.UNKNOWN
    return Verdict(
        checks=checks,
        tee=NVIDIA_GPU,
        vendor_root=root,
        simulated=root is VendorRoot.SIMULATED,
        measurement=Measurement(b""),
        claims=None,
    )


def _attempt(parse: Callable[[Encoded], Value], encoded: Encoded) -> Value | Unreadable:
    try:
        return parse(encoded)
    except DEFECTS as error:
        return Unreadable(error)


def _structure(case: GpuCase) -> Finding:
    report = case.report.examine()
    vbios = report.opaque.get(VBIOS_VERSION, b"").hex()
    padding = f", then {report.padding} zero bytes" if report.padding else ""
    return Finding(
        True,
        f"{len(report.measurements)} measurements, driver {report.text(DRIVER_VERSION)}, VBIOS {vbios}"
        f"{padding}",
        noted=bool(report.padding),
    )


def _chain(case: GpuCase) -> Finding:
    chain = case.chain.examine()
    check_chain(chain)
    return Finding(True, " <- ".join(each.subject.common_name for each in chain.certificates))


def _trust_anchor(case: GpuCase) -> Finding:
    fingerprint = case.chain.need().root.fingerprint
    return Finding(case.vendor_root is not VendorRoot.UNKNOWN, f"root with key {fingerprint.hex()}")


def _validity(case: GpuCase) -> Finding:
    for certificate in case.chain.need().certificates:
        if not certificate.not_before <= case.now <= certificate.not_after:
            name, start, end = certificate.subject.common_name, certificate.not_before, certificate.not_after
            return Finding(
                False, f"{name}, valid from {_date(start)} to {_date(end)}", f"one valid at {_date(case.now)}"
            )
    return Finding(True, "every certificate is valid now")


def _signature(case: GpuCase) -> Finding:
    report, leaf = case.report.need(), case.chain.need().leaf
    p384.verify_raw(leaf, report.signature, report.signed)
    return Finding(True, f"ECDSA P-384 signature by {leaf.subject.common_name}")


def _firmware(case: GpuCase) -> Finding:
    stated, certified = case.report.need().opaque.get(FIRMWARE_ID, b""), case.chain.need().firmware_id
    return Finding(hmac.compare_digest(stated, certified), f"firmware {stated.hex()}", certified.hex())


def _nonce(case: GpuCase) -> Finding:
    own, expected = case.report.need().nonce, case.nonce
    if isinstance(expected, NotCompared):
        raise WaivedError(f"the caller compares nothing with nonce {own.hex()}")
    return Finding(hmac.compare_digest(own, expected), f"nonce {own.hex()}", f"nonce {expected.hex()}")


def _revocation(case: GpuCase) -> Finding:
    case.chain.need()
    raise WaivedError("NVIDIA answers questions about revocation online only, and nobody was asked")


def _measurements(case: GpuCase) -> Finding:
    case.report.need()
    raise WaivedError("the right values depend on driver and VBIOS, and no reference values were given")


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _examined(examine: Callable[[GpuCase], Finding], case: GpuCase) -> Finding:
    try:
        return examine(case)
    except DEFECTS as error:
        return Finding(False, f"a defect ({error})")


def _rule(
    section: str,
    name: str,
    decision: Decision,
    expected: str,
    examine: Callable[[GpuCase], Finding],
    why: str,
) -> Rule[GpuCase]:
    return Rule(section, name, decision, expected, partial(_examined, examine), why)


RULES: Final = (
    _rule(
        "N1",
        "gpu report structure",
        Decision.UNTRUSTED,
        "signed measurements of SPDM 1.1 with nothing but zeros after them",
        _structure,
        "Bytes without a known meaning are where forgeries hide.",
    ),
    _rule(
        "N2",
        "certificate chain",
        Decision.UNTRUSTED,
        "a chain from the key of the GPU's firmware, each step certified by the next",
        _chain,
        "The manufacturer vouches for the GPU's key in several steps.",
    ),
    _rule(
        "N2",
        "trust anchor",
        Decision.UNTRUSTED,
        "NVIDIA's root, or a simulated root that the policy names",
        _trust_anchor,
        "Anyone can make a chain that is right in itself; only the known root makes it the manufacturer's.",
    ),
    _rule(
        "N3",
        "certificate validity",
        Decision.EXPIRED,
        "certificates valid now",
        _validity,
        "The manufacturer vouches for a limited time.",
    ),
    _rule(
        "N4",
        "gpu report signature",
        Decision.UNTRUSTED,
        "a signature by the key of the GPU's firmware",
        _signature,
        "Nothing in a report can be changed after it was signed.",
    ),
    _rule(
        "N5",
        "gpu firmware",
        Decision.UNTRUSTED,
        "the firmware that the certificate is for",
        _firmware,
        "Report and certificate have to be about the same firmware.",
    ),
    _rule(
        "X6 N6",
        "gpu nonce",
        Decision.UNTRUSTED,
        "your nonce",
        _nonce,
        "An old report, or one of another machine, does not answer your question.",
    ),
    _rule(
        "N7",
        "revocation",
        Decision.UNTRUSTED,
        "an answer that no certificate is withdrawn",
        _revocation,
        "The manufacturer withdraws keys that have leaked.",
    ),
    _rule(
        "N8",
        "gpu measurements",
        Decision.WRONG_MEASUREMENT,
        "the values that NVIDIA publishes for this driver and VBIOS",
        _measurements,
        "Which firmware and settings the GPU runs with, only these values say.",
    ),
)
