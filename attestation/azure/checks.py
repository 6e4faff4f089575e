# SPDX-License-Identifier: Apache-2.0
"""What Azure's evidence proves, as named checks (attestation.md 6).

The proof is a chain: the hardware signs for a hash of the runtime data, the runtime data name the key of the
virtual TPM, that key signs a quote over your nonce, and the quote covers the registers into which the guest's
boot was measured. The hardware itself measured only Azure's paravisor, which is why the registers matter.

The signature of the hardware is checked by `attestation.snp` or `attestation.tdx`; its checks are handed in,
and where they are missing, or are about another report, a check here says so and fails.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, TypeVar

from attestation.azure import tpm
from attestation.azure.hcl import Hardware, HclBlob, HclError, parse_hcl
from attestation.azure.runtime import RuntimeData, RuntimeDataError, decode_runtime_data
from attestation.azure.tdreport import TdReport, TdReportError, check_hashes, differences, parse_tdreport
from attestation.azure.tpm import TpmError
from attestation.case import Finding, NotEvaluatedError, Part, Rule, Unreadable, WaivedError, make_check
from attestation.snp.case import NotCompared
from attestation.snp.report import Report, ReportError, parse_report
from attestation.tdx.quote import QuoteError, parse_quote
from attestation.verdict import Check, Decision

DEFECTS: Final = (HclError, QuoteError, ReportError, RuntimeDataError, TdReportError, TpmError)


@dataclass(frozen=True, slots=True)
class AzureEvidence:
    """What a machine on Azure hands out. `registers` are PCRs of the SHA-256 bank; SNP has no `td_quote`."""

    hcl_blob: bytes = field(repr=False)
    quote: bytes = field(repr=False)
    signature: tpm.Signature = field(repr=False)
    registers: Mapping[int, bytes]
    td_quote: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HardwareChecks:
    """The checks made of `evidence`: the SNP report in the blob, or the TD quote beside it."""

    evidence: bytes = field(repr=False)
    checks: tuple[Check, ...]


UNCHECKED: Final = HardwareChecks(b"", ())
"""Nobody checked the hardware's signature: one check fails for it."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the verifier asked for and accepts. Without `registers`, nothing is known about the guest."""

    nonce: bytes | NotCompared
    user_data: bytes | NotCompared
    registers: Mapping[int, bytes]
    hardware: HardwareChecks


@dataclass(frozen=True, slots=True)
class AzureCase:
    """One appraisal's material, every part parsed once."""

    evidence: AzureEvidence
    expected: Expected
    blob: Part[HclBlob]
    report: Part[Report | TdReport]
    runtime: Part[RuntimeData]
    quote: Part[tpm.Quote]


def appraise_azure(evidence: AzureEvidence, expected: Expected) -> tuple[Check, ...]:
    """Make every check; bad evidence raises nothing. Believe nothing unless all were made and passed."""
    case = _open(evidence, expected)
    blob = case.blob.outcome
    is_tdx = isinstance(blob, HclBlob) and blob.hardware is Hardware.TDX
    return tuple(make_check(rule, case) for rule in RULES + (TDX_RULES if is_tdx else ()))


def _open(evidence: AzureEvidence, expected: Expected) -> AzureCase:
    blob = Part("HCL blob", _attempt(parse_hcl, evidence.hcl_blob))
    return AzureCase(
        evidence,
        expected,
        blob,
        Part("hardware report", _attempt(_hardware_report, blob)),
        Part("runtime data", _attempt(_runtime_data, blob)),
        Part("TPM quote", _attempt(tpm.parse_quote, evidence.quote)),
    )


Input = TypeVar("Input")
Value = TypeVar("Value")


def _attempt(parse: Callable[[Input], Value], encoded: Input) -> Value | Unreadable:
    try:
        return parse(encoded)
    except (*DEFECTS, NotEvaluatedError) as error:
        return Unreadable(error)


def _hardware_report(blob: Part[HclBlob]) -> Report | TdReport:
    parsed = blob.need()
    return (parse_tdreport if parsed.hardware is Hardware.TDX else parse_report)(parsed.report)


def _runtime_data(blob: Part[HclBlob]) -> RuntimeData:
    return decode_runtime_data(blob.need().runtime_data)


def _blob_form(case: AzureCase) -> Finding:
    blob = case.blob.examine()
    return Finding(ok=True, found=f"a blob of version {blob.version} with a report of {blob.hardware.name}")


def _report_form(case: AzureCase) -> Finding:
    report = case.report.examine()
    kind = f"an SNP report of version {report.version}" if isinstance(report, Report) else "a TDREPORT"
    return Finding(ok=True, found=kind)


def _hardware_signature(case: AzureCase) -> Finding:
    hardware, blob = case.expected.hardware, case.blob.need()
    if not hardware.checks:
        raise NotEvaluatedError("nobody checked the hardware's signature and its certificates")
    own = case.evidence.td_quote if blob.hardware is Hardware.TDX else blob.report
    if not hmac.compare_digest(hardware.evidence, own):
        return Finding(ok=False, found="checks of another report")
    failed = [check.name for check in hardware.checks if not (check.ok or check.waived)]
    if not failed and any(check.waived for check in hardware.checks):
        raise WaivedError("the caller waived checks of the hardware")
    found = f"failed checks: {', '.join(failed)}" if failed else f"{len(hardware.checks)} checks passed"
    return Finding(not failed, found)


def _runtime_binding(case: AzureCase) -> Finding:
    report, data = case.report.need(), case.blob.need().runtime_data
    own = report.report_data if isinstance(report, Report) else report.body.report_data
    bound = hmac.compare_digest(own, sha256(data).digest().ljust(len(own), b"\x00"))
    return Finding(bound, f"report data {own.hex()}", f"SHA-256 {sha256(data).hexdigest()} and zeros")


def _runtime_form(case: AzureCase) -> Finding:
    return Finding(ok=True, found=f"an RSA key of {case.runtime.examine().attestation_key.key_size} bits")


def _user_data(case: AzureCase) -> Finding:
    own, expected = case.runtime.need().user_data, case.expected.user_data
    if isinstance(expected, NotCompared):
        raise WaivedError(f"the caller compares nothing with user data {own.hex()}")
    return Finding(hmac.compare_digest(own, expected), f"user data {own.hex()}", expected.hex())


def _quote_form(case: AzureCase) -> Finding:
    quote = case.quote.examine()
    return Finding(ok=True, found=f"a quote at clock {quote.clock}, after {quote.reset_count} resets")


def _quote_signature(case: AzureCase) -> Finding:
    tpm.check_signature(case.quote.need(), case.evidence.signature, case.runtime.need().attestation_key)
    return Finding(ok=True, found=f"{case.evidence.signature.scheme.name} with SHA-256 by the TPM's key")


def _quote_nonce(case: AzureCase) -> Finding:
    own, expected = case.quote.need().qualifying_data, case.expected.nonce
    if isinstance(expected, NotCompared):
        raise WaivedError(f"the caller compares nothing with nonce {own.hex()}")
    if not expected:
        raise NotEvaluatedError("an empty nonce proves nothing")
    return Finding(hmac.compare_digest(own, expected), f"nonce {own.hex()}", f"nonce {expected.hex()}")


def _register_digest(case: AzureCase) -> Finding:
    quote = case.quote.need()
    digest = tpm.register_digest(quote, case.evidence.registers)
    named = f"digest {quote.pcr_digest.hex()} over registers {_numbers(tpm.selected(quote))}"
    return Finding(hmac.compare_digest(digest, quote.pcr_digest), named, f"digest {digest.hex()}")


def _guest_measurements(case: AzureCase) -> Finding:
    wanted, quoted = case.expected.registers, tpm.selected(case.quote.need())
    if not wanted:
        raise NotEvaluatedError("the policy names no register, and the hardware measured only the paravisor")
    wrong = [
        number
        for number, value in wanted.items()
        if number not in quoted or not hmac.compare_digest(case.evidence.registers.get(number, b""), value)
    ]
    found = f"other or unquoted registers {_numbers(wrong)}" if wrong else f"registers {_numbers(wanted)}"
    return Finding(not wrong, found, f"the accepted values of registers {_numbers(wanted)}")


def _inner_hashes(case: AzureCase) -> Finding:
    check_hashes(_need_tdreport(case))
    return Finding(ok=True, found="the hashes of TEE_TCB_INFO and TD_INFO")


def _quote_agreement(case: AzureCase) -> Finding:
    report = _need_tdreport(case)
    if not case.evidence.td_quote:
        raise NotEvaluatedError("a TDREPORT's MAC proves nothing from afar, and there is no TD quote")
    unlike = differences(report, parse_quote(case.evidence.td_quote).body)
    return Finding(not unlike, f"other values of {', '.join(unlike)}" if unlike else "the TDREPORT's values")


def _need_tdreport(case: AzureCase) -> TdReport:
    report = case.report.need()
    assert isinstance(report, TdReport)  # rules of TDX are made for blobs of TDX alone
    return report


def _numbers(registers: Mapping[int, bytes] | tuple[int, ...] | list[int]) -> str:
    return ", ".join(str(number) for number in sorted(registers))


def _examined(examine: Callable[[AzureCase], Finding]) -> Callable[[AzureCase], Finding]:
    """A check that fails where the evidence it is about has a defect."""

    def examined(case: AzureCase) -> Finding:
        try:
            return examine(case)
        except DEFECTS as error:
            return Finding(ok=False, found=f"a defect ({error})")

    return examined


def _rule(
    section: str, name: str, expected: str, examine: Callable[[AzureCase], Finding], why: str
) -> Rule[AzureCase]:
    decision = Decision.WRONG_MEASUREMENT if name == GUEST_MEASUREMENTS else Decision.UNTRUSTED
    return Rule(section, name, decision, expected, _examined(examine), why)


GUEST_MEASUREMENTS: Final = "guest measurements"

RULES: Final = (
    _rule(
        "6",
        "hcl blob",
        "a blob whose bytes all have a meaning",
        _blob_form,
        "Bytes without a known meaning are where forgeries hide.",
    ),
    _rule(
        "S1 S2 S4",
        "hardware report",
        "an SNP report or a TDREPORT",
        _report_form,
        "This is the only part that the processor itself vouches for.",
    ),
    _rule(
        "S3 T2",
        "hardware signature",
        "passed checks of this very report's signature, certificates and settings",
        _hardware_signature,
        "Without the manufacturer's signature, anybody can write such a report.",
    ),
    _rule(
        "6",
        "runtime data binding",
        "report data with the hash of the runtime data",
        _runtime_binding,
        "The processor signed for exactly this description, so nobody can put in another TPM's key.",
    ),
    _rule(
        "6",
        "runtime data",
        "runtime data that name one key of the virtual TPM",
        _runtime_form,
        "The key in here signs everything about the guest.",
    ),
    _rule(
        "A1",
        "user data",
        "the user data asked for",
        _user_data,
        "The guest had these bytes put under the processor's signature, so the report was made for you.",
    ),
    _rule(
        "6",
        "tpm quote",
        "a quote that a TPM generated",
        _quote_form,
        "A TPM signs other things too, and none of them may pass for a quote.",
    ),
    _rule(
        "6",
        "tpm quote signature",
        "a signature by the key in the runtime data",
        _quote_signature,
        "Only this machine's virtual TPM can sign for what was started on it.",
    ),
    _rule(
        "X4",
        "tpm quote nonce",
        "your nonce",
        _quote_nonce,
        "An old quote would show what ran once, not what runs now.",
    ),
    _rule(
        "6",
        "register digest",
        "a digest over the registers given",
        _register_digest,
        "The registers are believed only because the quote covers their digest.",
    ),
    _rule(
        "A15",
        GUEST_MEASUREMENTS,
        "accepted values of the registers into which the guest was measured",
        _guest_measurements,
        "The processor measured Azure's own layer; which system runs above it, only these registers say.",
    ),
)

TDX_RULES: Final = (
    _rule(
        "4.3",
        "tdreport hashes",
        "both inner hashes over their parts",
        _inner_hashes,
        "A TDREPORT put together from two machines does not add up.",
    ),
    _rule(
        "4.3",
        "td quote agreement",
        "a TD quote with the TDREPORT's values",
        _quote_agreement,
        "A TDREPORT can be checked on its own machine alone; a quote over the same values, everywhere.",
    ),
)
