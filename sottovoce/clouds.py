# SPDX-License-Identifier: Apache-2.0
"""What belongs to evidence from Azure and from Google, in files, and the checks that follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from attestation.azure import tpm
from attestation.azure.checks import UNCHECKED, AzureEvidence, Expected, HardwareChecks, appraise_azure
from attestation.azure.gce import GoogleFacts, HostRecord, Instance, InstanceError, appraise_google
from attestation.azure.hcl import Hardware as Kind
from attestation.azure.hcl import HclBlob, HclError, parse_hcl
from attestation.azure.tpm import Scheme, Signature, TpmError
from attestation.details import TdxDetails
from attestation.evidence import SEV_SNP, TDX
from attestation.policy import Policy
from attestation.snp.case import NoCrl, NotCompared
from attestation.snp.report import Measurement
from attestation.tdx.quote import QuoteError, parse_quote
from attestation.tdx_case import NoCollateral
from attestation.verdict import VendorRoot, Verdict
from attestation.verify import verify_snp_report, verify_tdx_quote
from sottovoce.files import OfflineError, UsageError, read

PCR_SIZE: Final = 32
MAX_PCR: Final = 23
USER_DATA_SIZE: Final = 64
PLAIN_SIGNATURES: Final = frozenset({256, 384, 512})


@dataclass(frozen=True, slots=True)
class AzureFiles:
    """What the virtual TPM said, and what is expected of it. `accepted` are registers by their number."""

    quote: Path | None = None
    signature: Path | None = None
    registers: Path | None = None
    td_quote: Path | None = None
    accepted: tuple[tuple[int, bytes], ...] = ()
    user_data: bytes | None = None

    @property
    def options(self) -> frozenset[str]:
        """The options that were given."""
        given = {
            "--tpm-quote": self.quote is not None,
            "--tpm-signature": self.signature is not None,
            "--pcrs": self.registers is not None,
            "--td-quote": self.td_quote is not None,
            "--pcr": bool(self.accepted),
            "--user-data": self.user_data is not None,
        }
        return frozenset(option for option, is_given in given.items() if is_given)


@dataclass(frozen=True, slots=True)
class GoogleFiles:
    """What is known of a machine on Google's cloud. A record's file is named after the PPID it is about."""

    instance: Instance | None = None
    host_record: Path | None = None
    wanted: bool = False

    @property
    def options(self) -> frozenset[str]:
        """The options that were given."""
        given = {
            "--google-instance": self.instance is not None,
            "--google-host-record": self.host_record is not None,
            "--cloud": self.wanted,
        }
        return frozenset(option for option, is_given in given.items() if is_given)


@dataclass(frozen=True, slots=True)
class Hardware:
    """What belongs to the report of the processor."""

    chain: tuple[bytes, ...]
    crl: bytes | NoCrl
    collateral: bytes | NoCollateral


def judge_azure(
    content: bytes, files: AzureFiles, hardware: Hardware, policy: Policy, now: int, nonce: bytes | None
) -> Verdict:
    """Judge a machine on Azure: the processor's report first, then the chain from it to the registers."""
    if files.quote is None or files.signature is None or files.registers is None:
        raise UsageError(
            "an Azure HCL report proves nothing of the guest without its TPM's quote: --tpm-quote FILE "
            "--tpm-signature FILE --pcrs FILE, as tpm2_quote -m -s -o with -F values writes them"
        )
    quote = read(files.quote)
    evidence = AzureEvidence(
        content,
        quote,
        _signature(files.signature),
        _registers(files.registers, quote),
        b"" if files.td_quote is None else read(files.td_quote),
    )
    own = _judge_hardware(evidence, hardware, policy, now)
    expected = Expected(
        nonce=NotCompared.NOT_COMPARED if nonce is None else nonce,
        user_data=_user_data(files),
        registers=dict(files.accepted),
        hardware=UNCHECKED if own is None else own[0],
    )
    checks = appraise_azure(evidence, expected)
    if own is None:
        return Verdict(checks, _tee(content), VendorRoot.UNKNOWN, False, Measurement(b""), None)
    return replace(own[1], checks=own[1].checks + checks)


def registers(texts: list[str]) -> tuple[tuple[int, bytes], ...]:
    """Registers of the form NUMBER=HEX, each once."""
    found: dict[int, bytes] = {}
    for text in texts:
        number, _, value = text.partition("=")
        try:
            index, digest = int(number), bytes.fromhex(value)
        except ValueError:
            index, digest = -1, b""
        if not 0 <= index <= MAX_PCR or len(digest) != PCR_SIZE or index in found:
            raise UsageError(
                f"expected a register such as 4=HEX, with 64 hexadecimal digits and each once, found {text!r}"
            )
        found[index] = digest
    return tuple(found.items())


def instance(text: str) -> Instance:
    """An instance of the form PROJECT/ZONE/NUMBER, both numbers in digits."""
    parts = text.split("/")
    try:
        project, zone, number = parts
        return Instance(int(project), zone, int(number))
    except (ValueError, InstanceError) as error:
        raise UsageError(
            f"expected PROJECT/ZONE/INSTANCE such as 123456/europe-west4-a/987654, found {text!r}: {error}"
        ) from None


def with_google(verdict: Verdict, quote: bytes, files: GoogleFiles) -> Verdict:
    """The verdict with Google's checks, where anything about Google was said."""
    if not files.options:
        return verdict
    ppid = verdict.details.ppid if isinstance(verdict.details, TdxDetails) else b""
    facts = GoogleFacts(_mrowner(quote), ppid, files.instance, _record(files.host_record))
    return replace(verdict, checks=verdict.checks + appraise_google(facts))


def _mrowner(quote: bytes) -> bytes:
    """Empty where the quote cannot be read, which is a failed check already, and makes another."""
    try:
        return parse_quote(quote).body.mrowner
    except QuoteError:
        return b""


def _record(path: Path | None) -> HostRecord | None:
    if path is None:
        return None
    try:
        ppid = bytes.fromhex(path.stem)
    except ValueError:
        raise UsageError(
            f"expected a record in a file named after the PPID that it was fetched for, found {path}"
        ) from None
    return HostRecord(ppid, read(path))


def _judge_hardware(
    evidence: AzureEvidence, hardware: Hardware, policy: Policy, now: int
) -> tuple[HardwareChecks, Verdict] | None:
    """None where there is nothing to judge: a blob without form, or a TDREPORT without a quote."""
    blob = _blob(evidence.hcl_blob)
    if blob is None:
        return None
    bound = sha256(blob.runtime_data).digest().ljust(64, b"\x00")
    if blob.hardware is Kind.SEV_SNP:
        if not hardware.chain:
            raise UsageError("the SEV-SNP report in it needs its certificates: --certs VCEK ASK ARK")
        verdict = verify_snp_report(blob.report, hardware.chain, hardware.crl, policy, now, bound)
        return HardwareChecks(blob.report, verdict.checks), verdict
    if not evidence.td_quote:
        return None
    verdict = verify_tdx_quote(evidence.td_quote, hardware.collateral, policy, now, bound)
    return HardwareChecks(evidence.td_quote, verdict.checks), verdict


def _blob(content: bytes) -> HclBlob | None:
    try:
        return parse_hcl(content)
    except HclError:
        return None


def _tee(content: bytes) -> str:
    blob = _blob(content)
    return TDX if blob is not None and blob.hardware is Kind.TDX else SEV_SNP


def _signature(path: Path) -> Signature:
    """TPMT_SIGNATURE, or RSASSA with SHA-256 alone, as `tpm2_quote -f plain` writes it."""
    content = read(path)
    if len(content) in PLAIN_SIGNATURES:
        return Signature(Scheme.RSASSA, content)
    try:
        return tpm.parse_signature(content)
    except TpmError as error:
        raise OfflineError(f"{path}: {error}; expected what tpm2_quote -s writes") from None


def _registers(path: Path, quote: bytes) -> Mapping[int, bytes]:
    """The values by their numbers, which the quote says. Without a quote that can be read there are none."""
    content = read(path)
    try:
        numbers = tpm.selected(tpm.parse_quote(quote))
    except TpmError:
        return {}
    if len(content) != PCR_SIZE * len(numbers):
        raise OfflineError(
            f"{path}: expected {PCR_SIZE} bytes for each of the {len(numbers)} registers in the quote, "
            f"found {len(content)}; tpm2_quote writes them with -F values"
        )
    values = (content[start : start + PCR_SIZE] for start in range(0, len(content), PCR_SIZE))
    return dict(zip(numbers, values, strict=True))


def _user_data(files: AzureFiles) -> bytes | NotCompared:
    if files.user_data is None:
        return NotCompared.NOT_COMPARED
    return files.user_data.ljust(USER_DATA_SIZE, b"\x00")
