# SPDX-License-Identifier: Apache-2.0
"""Evidence in files: which kind it is, from its content alone, and the verdict on it."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Final

from attestation.evidence import decode_evidence
from attestation.policy import Policy
from attestation.snp.case import NoCrl, NotCompared
from attestation.snp.report import REPORT_SIZE, VERSIONS
from attestation.tdx.pem import CERTIFICATE, REVOCATION_LIST, PemError, decode_pem
from attestation.tdx.quote import TEE_TDX
from attestation.tdx.quote import VERSIONS as QUOTE_VERSIONS
from attestation.tdx_case import NoCollateral
from attestation.verdict import Verdict
from attestation.verify import appraise, verify_snp_report, verify_tdx_quote
from attestation.x509 import CertificateError, parse_certificate

MAX_FILE_BYTES: Final = 1 << 20
REPORT_DATA_SIZE: Final = 64
# Leaf, intermediate, root: the order in which AMD's certificates are judged, by the names they bear.
_ROLES: Final = (re.compile(r"SEV-V[CL]EK"), re.compile(r"SEV-.*"), re.compile(r"ARK-.*"))


class OfflineError(Exception):
    """The files cannot be read, are not of a known kind, or the options do not fit them."""


class Kind(Enum):
    """What a file can hold."""

    DOCUMENT = "an evidence document"
    SNP_REPORT = "an SEV-SNP report"
    TDX_QUOTE = "a TDX quote"


@dataclass(frozen=True, slots=True)
class Files:
    """The file to judge and what belongs to it. Absent ones are empty or None, as on the command line."""

    evidence: Path
    certificates: tuple[Path, ...] = ()
    crl: Path | None = None
    collateral: Path | None = None
    nonce: bytes | None = None


def judge(files: Files, policy: Policy, now: int) -> Verdict:
    """The verdict on what is in the files; raises OfflineError, and EvidenceError for a malformed document.

    What is not given is waived, visibly: a verdict without it is neither verified nor refused.
    """
    content = _read(files.evidence)
    kind = kind_of(content)
    _check_options(kind, files)
    match kind:
        case Kind.DOCUMENT:
            return appraise(decode_evidence(content), policy, now)
        case Kind.SNP_REPORT:
            crl = NoCrl.NO_CRL if files.crl is None else _der(files.crl, REVOCATION_LIST)[0]
            chain = in_order(tuple(der for path in files.certificates for der in _der(path, CERTIFICATE)))
            return verify_snp_report(content, chain, crl, policy, now, _expected(files))
        case Kind.TDX_QUOTE:
            collateral = NoCollateral.NO_COLLATERAL if files.collateral is None else _read(files.collateral)
            return verify_tdx_quote(content, collateral, policy, now, _expected(files))


def kind_of(content: bytes) -> Kind:
    """What the bytes are. Lengths and version numbers leave no bytes that could be two of these."""
    if content[:1] == b"{":
        return Kind.DOCUMENT
    if len(content) == REPORT_SIZE and int.from_bytes(content[:4], "little") in VERSIONS:
        return Kind.SNP_REPORT
    version, tee = int.from_bytes(content[:2], "little"), int.from_bytes(content[4:8], "little")
    if version in QUOTE_VERSIONS and tee == TEE_TDX:
        return Kind.TDX_QUOTE
    raise OfflineError(
        "expected an evidence document, an SEV-SNP report of version 2 to 5 or a TDX quote of version 4 or "
        f"5, found {len(content)} bytes that are none of these"
    )


def in_order(certificates: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """AMD's certificates by their names, leaf first: files come in any order, and the verifier wants one."""
    return tuple(sorted(certificates, key=_role))


def unix_time(text: str) -> int:
    """Unix seconds, or a time with its offset as in 2026-06-18T01:05:04Z."""
    if text.isascii() and text.isdecimal():
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


def _role(certificate: bytes) -> int:
    try:
        name = parse_certificate(certificate).subject.common_name
    except CertificateError:
        return len(_ROLES)
    return next((place for place, role in enumerate(_ROLES) if role.fullmatch(name)), len(_ROLES))


def _expected(files: Files) -> bytes | NotCompared:
    """Zeros fill up: were the rest free, whoever made the report could put in what they liked."""
    if files.nonce is None:
        return NotCompared.NOT_COMPARED
    return files.nonce.ljust(REPORT_DATA_SIZE, b"\x00")


def _check_options(kind: Kind, files: Files) -> None:
    given = {
        "--certs": bool(files.certificates),
        "--crl": files.crl is not None,
        "--collateral": files.collateral is not None,
        "--nonce": files.nonce is not None,
    }
    fitting = {
        Kind.DOCUMENT: frozenset[str](),
        Kind.SNP_REPORT: frozenset({"--certs", "--crl", "--nonce"}),
        Kind.TDX_QUOTE: frozenset({"--collateral", "--nonce"}),
    }
    for option, is_given in given.items():
        if is_given and option not in fitting[kind]:
            raise OfflineError(f"{option} does not belong to {kind.value}, which {files.evidence} is")
    if kind is Kind.SNP_REPORT and not files.certificates:
        raise OfflineError("an SEV-SNP report needs the certificates of its key: --certs VCEK ASK ARK")


def _der(path: Path, label: bytes) -> tuple[bytes, ...]:
    """The DER in a file that holds one value in DER, or several in PEM."""
    content = _read(path)
    if not content.startswith(b"-----BEGIN "):
        return (content,)
    try:
        return decode_pem(content, label)
    except PemError as error:
        raise OfflineError(f"{path}: {error}") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise OfflineError(f"{path}: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise OfflineError(f"{path} has more than {MAX_FILE_BYTES} bytes")
    return content
