# SPDX-License-Identifier: Apache-2.0
"""Evidence in files: which kind it is, from its content alone, and the verdict on it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from attestation.azure.hcl import SIGNATURE as HCL_SIGNATURE
from attestation.evidence import decode_evidence
from attestation.nvidia.measurements import REQUEST_HEAD
from attestation.policy import Policy
from attestation.results import cmw
from attestation.results.cmw import Record
from attestation.snp.case import NoCrl, NotCompared
from attestation.snp.report import REPORT_SIZE, VERSIONS
from attestation.tdx.event_log import Explanation
from attestation.tdx.log_checks import appraise_event_log
from attestation.tdx.pem import CERTIFICATE, REVOCATION_LIST
from attestation.tdx.quote import TEE_TDX
from attestation.tdx.quote import VERSIONS as QUOTE_VERSIONS
from attestation.tdx_case import NoCollateral
from attestation.verdict import Verdict
from attestation.verify import appraise, verify_snp_report, verify_tdx_quote
from attestation.x509 import CertificateError, parse_certificate
from sottovoce import clouds, gpu
from sottovoce.clouds import AzureFiles, GoogleFiles
from sottovoce.files import MAX_FILE_BYTES, OfflineError, UsageError, read, read_der

__all__ = ["MAX_FILE_BYTES", "Files", "Judgement", "Kind", "OfflineError", "UsageError", "judge", "kind_of"]

REPORT_DATA_SIZE: Final = 64
# Leaf, intermediate, root: the order in which AMD's certificates are judged, by the names they bear.
_ROLES: Final = (re.compile(r"SEV-V[CL]EK"), re.compile(r"SEV-.*"), re.compile(r"ARK-.*"))


class Kind(Enum):
    """What a file can hold."""

    DOCUMENT = "an evidence document"
    SNP_REPORT = "an SEV-SNP report"
    TDX_QUOTE = "a TDX quote"
    AZURE_BLOB = "an Azure HCL report"
    GPU_REPORT = "a report of an NVIDIA GPU"
    GPU_PAYLOAD = "a request to NVIDIA's remote service"


# Which options belong to which kind. What is not here does not fit, and is said to.
_SNP_OPTIONS: Final = frozenset({"--certs", "--crl", "--nonce"})
_TDX_OPTIONS: Final = frozenset({"--collateral", "--nonce"})
_AZURE_OPTIONS: Final = frozenset(
    {"--tpm-quote", "--tpm-signature", "--pcrs", "--pcr", "--user-data", "--td-quote"}
)
_GOOGLE_OPTIONS: Final = frozenset({"--cloud", "--google-instance", "--google-host-record"})
FITTING: Final[Mapping[Kind, frozenset[str]]] = MappingProxyType(
    {
        Kind.DOCUMENT: frozenset({"--event-log", "--cmw"}),
        Kind.SNP_REPORT: _SNP_OPTIONS | {"--cmw"},
        Kind.TDX_QUOTE: _TDX_OPTIONS | _GOOGLE_OPTIONS | {"--event-log", "--cmw"},
        Kind.AZURE_BLOB: _SNP_OPTIONS | _TDX_OPTIONS | _AZURE_OPTIONS,
        Kind.GPU_REPORT: frozenset({"--certs", "--nonce"}),
        Kind.GPU_PAYLOAD: frozenset({"--nonce"}),
    }
)


@dataclass(frozen=True, slots=True)
class Files:
    """The file to judge and what belongs to it. Absent ones are empty or None, as on the command line."""

    evidence: Path
    certificates: tuple[Path, ...] = ()
    crl: Path | None = None
    collateral: Path | None = None
    nonce: bytes | None = None
    event_log: Path | None = None
    azure: AzureFiles = field(default_factory=AzureFiles)
    google: GoogleFiles = field(default_factory=GoogleFiles)
    wraps: bool = False

    @property
    def options(self) -> frozenset[str]:
        """The options that were given."""
        given = {
            "--certs": bool(self.certificates),
            "--crl": self.crl is not None,
            "--collateral": self.collateral is not None,
            "--nonce": self.nonce is not None,
            "--event-log": self.event_log is not None,
            "--cmw": self.wraps,
        }
        own = frozenset(option for option, is_given in given.items() if is_given)
        return own | self.azure.options | self.google.options


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, the evidence in its wrapper where it has one, and what an event log explained."""

    verdict: Verdict
    record: Record | None
    registers: tuple[Explanation, ...] = ()


def judge(files: Files, policy: Policy, now: int) -> Judgement:
    """The verdict on what is in the files; raises OfflineError, UsageError, and EvidenceError for a document.

    What is not given is waived, visibly: a verdict without it is neither verified nor refused.
    """
    content = read(files.evidence)
    kind = kind_of(content)
    _check_options(kind, files)
    match kind:
        case Kind.DOCUMENT:
            return _document(content, files, policy, now)
        case Kind.SNP_REPORT:
            verdict = verify_snp_report(content, _chain(files), _crl(files), policy, now, _expected(files))
            return Judgement(verdict, cmw.raw_evidence("sev-snp", content))
        case Kind.TDX_QUOTE:
            verdict = verify_tdx_quote(content, _collateral(files), policy, now, _expected(files))
            verdict = clouds.with_google(verdict, content, files.google)
            return _explained(Judgement(verdict, cmw.raw_evidence("tdx", content)), content, files)
        case Kind.AZURE_BLOB:
            hardware = clouds.Hardware(_chain(files), _crl(files), _collateral(files))
            return Judgement(
                clouds.judge_azure(content, files.azure, hardware, policy, now, files.nonce), None
            )
        case Kind.GPU_REPORT:
            chain = tuple(der for path in files.certificates for der in read_der(path, CERTIFICATE))
            return Judgement(gpu.judge_report(content, chain, policy, now, files.nonce), None)
        case Kind.GPU_PAYLOAD:
            return Judgement(gpu.judge_payload(content, policy, now, files.nonce), None)


def kind_of(content: bytes) -> Kind:
    """What the bytes are. Lengths, version numbers and names leave no bytes that could be two of these."""
    if content[:1] == b"{":
        return Kind.GPU_PAYLOAD if b'"evidence_list"' in content else Kind.DOCUMENT
    if content.startswith(HCL_SIGNATURE):
        return Kind.AZURE_BLOB
    if content.startswith((REQUEST_HEAD, REQUEST_HEAD.hex().encode())):
        return Kind.GPU_REPORT
    if len(content) == REPORT_SIZE and int.from_bytes(content[:4], "little") in VERSIONS:
        return Kind.SNP_REPORT
    version, tee = int.from_bytes(content[:2], "little"), int.from_bytes(content[4:8], "little")
    if version in QUOTE_VERSIONS and tee == TEE_TDX:
        return Kind.TDX_QUOTE
    raise OfflineError(
        "expected an evidence document, an SEV-SNP report of version 2 to 5, a TDX quote of version 4 or 5, "
        f"an Azure HCL report or a GPU report, found {len(content)} bytes that are none of these; "
        "is the file whole?"
    )


def in_order(certificates: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """AMD's certificates by their names, leaf first: files come in any order, and the verifier wants one."""
    return tuple(sorted(certificates, key=_role))


def unix_time(text: str) -> int:
    """Unix seconds, or a time with its offset as in 2026-06-18T01:05:04Z."""
    if text.isascii() and text.isdecimal() and len(text) < 12:
        return int(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise OfflineError(
            f"expected unix seconds or a time such as 2026-06-18T01:05:04Z, found {text!r}"
        ) from None
    if time.tzinfo is None:
        raise OfflineError(f"expected a time with its offset, such as {text}Z")
    return int(time.timestamp())


def nonce(text: str) -> bytes:
    """1 to 64 bytes in hexadecimal: the beginning of the report data, the rest of which has to be zero."""
    try:
        value = bytes.fromhex(text)
    except ValueError:
        raise OfflineError(f"expected hexadecimal digits as nonce, found {text!r}") from None
    if not 0 < len(value) <= REPORT_DATA_SIZE:
        raise OfflineError(f"expected a nonce of 1 to {REPORT_DATA_SIZE} bytes, found {len(value)}")
    return value


def _document(content: bytes, files: Files, policy: Policy, now: int) -> Judgement:
    evidence = decode_evidence(content)
    if files.event_log is not None and evidence.tee != "tdx":
        raise UsageError(f"--event-log explains registers of TDX, and {files.evidence} is of SEV-SNP")
    judgement = Judgement(appraise(evidence, policy, now), cmw.evidence_document(content))
    return _explained(judgement, evidence.report, files)


def _explained(judgement: Judgement, quote: bytes, files: Files) -> Judgement:
    """With the checks of the event log, where one was given."""
    if files.event_log is None:
        return judgement
    checks, registers = appraise_event_log(read(files.event_log), quote)
    verdict = replace(judgement.verdict, checks=judgement.verdict.checks + checks)
    return replace(judgement, verdict=verdict, registers=registers)


def _role(certificate: bytes) -> int:
    try:
        name = parse_certificate(certificate).subject.common_name
    except CertificateError:
        return len(_ROLES)
    return next((place for place, role in enumerate(_ROLES) if role.fullmatch(name)), len(_ROLES))


def _chain(files: Files) -> tuple[bytes, ...]:
    return in_order(tuple(der for path in files.certificates for der in read_der(path, CERTIFICATE)))


def _crl(files: Files) -> bytes | NoCrl:
    return NoCrl.NO_CRL if files.crl is None else read_der(files.crl, REVOCATION_LIST)[0]


def _collateral(files: Files) -> bytes | NoCollateral:
    return NoCollateral.NO_COLLATERAL if files.collateral is None else read(files.collateral)


def _expected(files: Files) -> bytes | NotCompared:
    """Zeros fill up: were the rest free, whoever made the report could put in what they liked."""
    if files.nonce is None:
        return NotCompared.NOT_COMPARED
    return files.nonce.ljust(REPORT_DATA_SIZE, b"\x00")


def _check_options(kind: Kind, files: Files) -> None:
    if misfits := sorted(files.options - FITTING[kind]):
        raise UsageError(
            f"{files.evidence} is {kind.value}, to which {', '.join(misfits)} does not belong; "
            f"what belongs to it: {', '.join(sorted(FITTING[kind]))}"
        )
    if kind is Kind.SNP_REPORT and not files.certificates:
        raise UsageError("an SEV-SNP report needs the certificates of its key: --certs VCEK ASK ARK")
    if kind is Kind.GPU_REPORT and not files.certificates:
        raise UsageError("a GPU report needs the chain of its key, leaf first: --certs CHAIN.pem")
